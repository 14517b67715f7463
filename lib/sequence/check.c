/* check.c - a call against the native CPU's version of it, on the inputs that it had.
 *
 * Both sides sum in f32 from the same stored inputs. What may differ is the order of the sums,
 * which an operator's tolerance bounds as a part of the result's largest magnitude, and, in f16 and
 * bf16, one rounding step of the stored result where the two sums fall on different sides. */
#include "core/dtype.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Relative size of one rounding step, and the smallest step there is. */
static double rounding_step(dfx_dtype dtype, double *smallest)
{
    *smallest = dtype == DFX_F16 ? 0x1p-24 : 0;
    return dtype == DFX_F16 ? 0x1p-10 : dtype == DFX_BF16 ? 0x1p-7 : 0;
}

static void compare(dfx__difference *d, const float *got, const float *want, size_t n,
                    const dfx_call *c)
{
    const dfx_op *op = c->op;
    dfx_dtype dtype = c->out->spec.dtype;
    double scale = 0, smallest, step = rounding_step(dtype, &smallest);
    *d = (dfx__difference){ 0, 0, n ? want[0] : 0, n ? got[0] : 0 };
    for (size_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs(want[i]) > scale)
            scale = fabs(want[i]);
    for (size_t i = 0; i < n; i++) {
        if (got[i] == want[i] || (isnan(got[i]) && isnan(want[i])))
            continue;
        double allowed = (op->tolerance * 1e-6 + c->rounding) * scale;
        if (op->tolerance > 0)
            allowed += step * fabs(want[i]) + smallest;
        double error = fabs((double)got[i] - want[i]) / allowed;
        if (!(error <= d->worst))
            *d = (dfx__difference){ isfinite(error) ? error : INFINITY, i, want[i], got[i] };
    }
}

/* Input k on the host: a constant packed in the format, or a copy of the device's memory. */
static dfx_status fetch(void **out, const dfx_call *c, int k, dfx__format matrix)
{
    const dfx_value *v = c->in[k];
    dfx_weight *w = v->root->weight;
    dfx__format format = w && w->spec.rank > 1 ? matrix : DFX__PLAIN;
    dfx_dtype dtype = w ? dfx__constant_dtype(c->sequence, w, format) : v->spec.dtype;
    size_t bytes = w ? dfx__packed_bytes(&w->spec, format, dtype) : dfx__spec_bytes(&v->spec);
    *out = dfx__alloc_aligned(bytes);
    if (!*out)
        return dfx__no_memory();
    if (w)
        return dfx__pack(*out, format, dtype, w);
    const dfx__place *p = &v->root->place;
    return c->sequence->device->class->read(p->buffer, p->offset, *out, bytes);
}

/* The device's result and the CPU's as floats, compared. */
static dfx_status compare_results(const dfx_call *c, const dfx__host *h, dfx__difference *d)
{
    const dfx_spec *spec = &c->out->spec;
    size_t n = dfx__elements(spec), bytes = dfx__spec_bytes(spec);
    void *stored = dfx__alloc_aligned(bytes);
    float *got = dfx__alloc(n, sizeof *got), *want = dfx__alloc(n, sizeof *want);
    dfx_status status = stored && got && want ? DFX_OK : dfx__no_memory();
    if (status == DFX_OK)
        status = c->sequence->device->class->read(c->out->place.buffer, c->out->place.offset,
                                                  stored, bytes);
    if (status == DFX_OK) {
        dfx__to_f32(got, stored, spec->dtype, n);
        dfx__to_f32(want, h->out, spec->dtype, n);
        compare(d, got, want, n, c);
    }
    free(stored);
    free(got);
    free(want);
    return status;
}

dfx_status dfx__check_call(const dfx_call *c, dfx__difference *d)
{
    const dfx__variant *cpu = dfx__variant_reference(c->op);
    void *in[DFX__MAX_INPUTS] = { NULL };
    size_t scratch = cpu->scratch ? cpu->scratch(c) : 0;
    dfx__host h = { { NULL },
                    dfx__alloc_aligned(dfx__spec_bytes(&c->out->spec)),
                    scratch ? dfx__alloc_aligned(scratch) : NULL };
    dfx_status status = h.out && (h.scratch || !scratch) ? DFX_OK : dfx__no_memory();
    for (int k = 0; k < DFX__MAX_INPUTS && status == DFX_OK; k++)
        if (c->in[k]) {
            status = fetch(&in[k], c, k, cpu->format);
            h.in[k] = in[k];
        }
    if (status == DFX_OK) {
        cpu->run(c, &h);
        status = compare_results(c, &h, d);
    }
    for (int k = 0; k < DFX__MAX_INPUTS; k++)
        free(in[k]);
    free(h.out);
    free(h.scratch);
    return status;
}
