/* call.c - checks that operator files share. */
#include "op/call.h"

int dfx__need_float(dfx_call *c, int input)
{
    dfx_dtype dtype = c->in[input]->spec.dtype;
    if (dfx__dtype_is_float(dtype))
        return 1;
    dfx__call_fail(c, "input %d is %s and must be a float type", input, dfx_dtype_name(dtype));
    return 0;
}

void dfx__infer_resized(dfx_call *c, int input, int64_t height, int64_t width)
{
    const dfx_spec *x = &c->in[input]->spec;
    char shape[DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, input))
        return;
    if (x->rank != 4 || height < 1 || width < 1) {
        dfx__call_fail(c, "x %s cannot be resized to %lld x %lld: [N, H, W, C] is needed",
                       dfx__shape_text(shape, x->rank, x->dim), (long long)height,
                       (long long)width);
        return;
    }
    c->out->spec.dim[1] = height;
    c->out->spec.dim[2] = width;
}

int dfx__need_vector(dfx_call *c, int k, const char *what, int64_t n)
{
    char shape[DFX__SHAPE_TEXT];
    if (!c->in[k])
        return 1;
    const dfx_spec *s = &c->in[k]->spec;
    if (s->rank == 1 && s->dim[0] == n && s->dtype == DFX_F32)
        return 1;
    dfx__call_fail(c, "%s is %s %s and must be f32 [%lld]", what, dfx_dtype_name(s->dtype),
                   dfx__shape_text(shape, s->rank, s->dim), (long long)n);
    return 0;
}
