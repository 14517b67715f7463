/* call.c - checks and row access that operator files share. */
#include "op/call.h"

int dfx__need_float(dfx_call *c, int input)
{
    dfx_dtype dtype = c->in[input]->spec.dtype;
    if (dfx__dtype_is_float(dtype))
        return 1;
    dfx__call_fail(c, "input %d is %s and must be a float type", input, dfx_dtype_name(dtype));
    return 0;
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

const float *dfx__load_row(const void *data, dfx_dtype dtype, int64_t r, int64_t c, float *room)
{
    if (dtype == DFX_F32)
        return (const float *)data + r * c;
    dfx__to_f32(room, (const uint16_t *)data + r * c, dtype, (size_t)c);
    return room;
}

void dfx__store_row(void *data, dfx_dtype dtype, int64_t r, int64_t c, const float *row)
{
    dfx__from_f32((char *)data + (size_t)(r * c) * dfx_dtype_size(dtype), dtype, row, (size_t)c);
}
