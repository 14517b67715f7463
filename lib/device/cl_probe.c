/* cl_probe.c - what a device's compiler can do beyond OpenCL C, found out by trying. */
#include "core/dtype.h"
#include "device/cl.h"
#include "device/cpu_kernels.h"

#include <string.h>

/* A kernel of three arguments that is run once; its last one is what it computes. */
typedef struct {
    const char *program, *kernel, *options;
    int items;
    const void *in[2];
    size_t in_bytes[2];
    float *out;
    size_t out_bytes;
} trial;

static dfx_status enqueue(const trial *t, dfx_device *d, dfx__buffer *const b[3])
{
    dfx__launch l = { .kind = DFX__LAUNCH_KERNEL,
                      .kernel = { .program = t->program,
                                  .name = t->kernel,
                                  .args = 3,
                                  .dims = 1,
                                  .global = { (size_t)t->items },
                                  .local = { (size_t)t->items } } };
    strcpy(l.kernel.options, t->options);
    for (int i = 0; i < 3; i++)
        l.kernel.arg[i] = (dfx__arg){ .kind = DFX__ARG_PLACE, .place = { b[i], 0, b[i]->bytes } };
    for (int i = 0; i < 2; i++)
        DFX__TRY(d->class->write(b[i], 0, t->in[i], t->in_bytes[i]));
    DFX__TRY(d->class->write(b[2], 0, t->out, t->out_bytes));
    dfx__prepared *probe;
    DFX__TRY(d->class->prepare(&probe, d, &l));
    dfx_status status = d->class->enqueue(probe);
    if (status == DFX_OK)
        status = d->class->read(b[2], 0, t->out, t->out_bytes);
    d->class->discard(probe);
    return status;
}

/* Whether it compiled and ran. */
static int run(const trial *t, dfx_device *d)
{
    dfx__buffer *b[3] = { NULL, NULL, NULL };
    int done = dfx__buffer_new(&b[0], d, t->in_bytes[0]) == DFX_OK &&
               dfx__buffer_new(&b[1], d, t->in_bytes[1]) == DFX_OK &&
               dfx__buffer_new(&b[2], d, t->out_bytes) == DFX_OK && enqueue(t, d, b) == DFX_OK;
    for (int i = 0; i < 3; i++)
        dfx__buffer_free(b[i]);
    return done;
}

enum { LANES = 16 };

/* PoCL compiles the instruction for every x86 processor, and one that lacks it would end the
 * process: so the processor is asked first, which a CPU device shares with this library. */
static int has_pairs(dfx_device *d)
{
    /* pairs of bf16 in a 32-bit word, the first in its lower half */
    const uint32_t factor = 0xc000u << 16 | 0x3fc0u; /* 1.5, -2 */
    const float first_sum = 8;
    uint32_t pair[LANES];
    float sum[LANES];
    if (d->vector_width < LANES || !dfx__cpu_has_pairs())
        return 0;
    for (int i = 0; i < LANES; i++) { /* (i, 3), which bf16 holds exactly */
        union {
            float f;
            uint32_t u;
        } number = { (float)i };
        pair[i] = 0x4040u << 16 | number.u >> 16;
        sum[i] = first_sum;
    }
    trial t = { "probe", "probe_pairs",     "-DDTYPE=2 -DROWS=8 -DPAIRS",
                1,       { &factor, pair }, { sizeof factor, sizeof pair },
                sum,     sizeof sum };
    int right = run(&t, d);
    for (int i = 0; right && i < LANES; i++)
        right = sum[i] == first_sum + 1.5f * (float)i - 2.0f * 3.0f;
    return right;
}

enum { MMA_ROWS = 16, MMA_DEPTH = 32, MMA_COLUMNS = 32, WARP = 32 };

/* Small whole numbers, which every product and sum of the probe has exactly. */
static int x_at(int row, int k)
{
    return (row * 7 + k * 3) % 5 - 2;
}

static int w_at(int k, int column)
{
    return (k * 5 + column) % 7 - 3;
}

/* What a lane adds up: its products, each times its own number. */
static float mma_sum(int lane)
{
    float sum = 0;
    for (int i = 0; i < 16; i++) {
        int row = lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2, product = 0;
        for (int k = 0; k < MMA_DEPTH; k++)
            product += x_at(row, k) * w_at(k, column);
        sum += (float)(product * (row * MMA_COLUMNS + column));
    }
    return sum;
}

/* The instructions are of compute capability 8.0; whether OpenCL's compiler takes them is tried. */
static int has_tensor_cores(dfx_device *device)
{
    enum { COMPUTE_CAPABILITY_MAJOR_NV = 0x4000 };
    cl_device_id id = ((dfx__cl_device *)device)->id;
    cl_uint major = 0;
    uint16_t x[MMA_ROWS * MMA_DEPTH], w[MMA_DEPTH * MMA_COLUMNS];
    float sum[WARP] = { 0 };
    if (!dfx__cl_has_extension(id, "cl_nv_device_attribute_query") ||
        clGetDeviceInfo(id, COMPUTE_CAPABILITY_MAJOR_NV, sizeof major, &major, NULL) !=
            CL_SUCCESS ||
        major < 8)
        return 0;
    for (int i = 0; i < MMA_ROWS * MMA_DEPTH; i++)
        x[i] = dfx__f32_to_bf16((float)x_at(i / MMA_DEPTH, i % MMA_DEPTH));
    for (int i = 0; i < MMA_DEPTH * MMA_COLUMNS; i++)
        w[i] = dfx__f32_to_bf16((float)w_at(i / MMA_COLUMNS, i % MMA_COLUMNS));
    trial t = { "probe_mma", "probe_mma", "-DDTYPE=2 -DWARPS_X=1 -DWARPS_Y=1 -DBLOCKS=1 -DSTAGES=2",
                WARP,        { x, w },    { sizeof x, sizeof w },
                sum,         sizeof sum };
    int right = run(&t, device);
    for (int i = 0; right && i < WARP; i++)
        right = sum[i] == mma_sum(i);
    return right;
}

int dfx__cl_has(dfx_device *device, dfx__feature feature)
{
    static int (*const probe[DFX__FEATURES])(dfx_device *) = {
        [DFX__PAIRS] = has_pairs,
        [DFX__TENSOR_CORES] = has_tensor_cores,
    };
    dfx__cl_device *d = (dfx__cl_device *)device;
    if (d->feature[feature] == DFX__UNTRIED)
        d->feature[feature] = probe[feature](device) ? DFX__PRESENT : DFX__ABSENT;
    return d->feature[feature] == DFX__PRESENT;
}
