/* cl_probe.c - what a device's compiler can do beyond OpenCL C, found out by trying. */
#include "device/cl.h"
#include "device/cpu_kernels.h"

enum { LANES = 16 };

/* Pairs of bf16 in a 32-bit word, the first in its lower half. */
static const uint32_t factor = 0xc000u << 16 | 0x3fc0u; /* 1.5, -2 */
static const float first_sum = 8;

/* Pair i is (i, 3), which bf16 holds exactly. */
static void fill_pairs(uint32_t *pair)
{
    for (int i = 0; i < LANES; i++) {
        union {
            float f;
            uint32_t u;
        } number = { (float)i };
        pair[i] = 0x4040u << 16 | number.u >> 16;
    }
}

static dfx_status run_probe(float *sum, dfx_device *d, dfx__buffer *b, dfx__buffer *y)
{
    dfx__launch l = { .kind = DFX__LAUNCH_KERNEL,
                      .kernel = {
                          .program = "probe",
                          .name = "probe_pairs",
                          .options = "-DDTYPE=2 -DROWS=8 -DPAIRS",
                          .args = 3,
                          .dims = 1,
                          .arg = { { .kind = DFX__ARG_SCALAR },
                                   { .kind = DFX__ARG_PLACE, .place = { b, 0, b->bytes } },
                                   { .kind = DFX__ARG_PLACE, .place = { y, 0, y->bytes } } },
                          .global = { 1 },
                          .local = { 1 } } };
    l.kernel.arg[0].scalar.i = (int32_t)factor;
    uint32_t pair[LANES];
    fill_pairs(pair);
    for (int i = 0; i < LANES; i++)
        sum[i] = first_sum;
    DFX__TRY(d->class->write(b, 0, pair, sizeof pair));
    DFX__TRY(d->class->write(y, 0, sum, LANES * sizeof *sum));
    dfx__prepared *probe;
    DFX__TRY(d->class->prepare(&probe, d, &l));
    dfx_status status = d->class->enqueue(probe);
    if (status == DFX_OK)
        status = d->class->read(y, 0, sum, LANES * sizeof *sum);
    d->class->discard(probe);
    return status;
}

static int pairs_are_right(dfx_device *d)
{
    float sum[LANES];
    dfx__buffer *b = NULL, *y = NULL;
    int right = dfx__buffer_new(&b, d, LANES * sizeof(uint32_t)) == DFX_OK &&
                dfx__buffer_new(&y, d, sizeof sum) == DFX_OK && run_probe(sum, d, b, y) == DFX_OK;
    dfx__buffer_free(b);
    dfx__buffer_free(y);
    for (int i = 0; right && i < LANES; i++)
        right = sum[i] == first_sum + 1.5f * (float)i - 2.0f * 3.0f;
    return right;
}

/* PoCL compiles the instruction for every x86 processor, and one that lacks it would end the
 * process: so the processor is asked first, which a CPU device shares with this library. */
int dfx__cl_has_pairs(dfx_device *device)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    if (d->pairs == DFX__PAIRS_UNTRIED) {
        int right =
            device->vector_width >= LANES && dfx__cpu_has_pairs() && pairs_are_right(device);
        d->pairs = right ? DFX__PAIRS_RIGHT : DFX__PAIRS_WRONG;
    }
    return d->pairs == DFX__PAIRS_RIGHT;
}
