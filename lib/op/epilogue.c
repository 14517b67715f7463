/* epilogue.c - what linear layers and convolutions do with their sums before they store them. */
#include "op/conv2d.h"
#include "op/linear.h"
#include "op/oplist.h"

dfx_activation dfx__activation(const dfx_call *c)
{
    return (dfx_activation)c->i[c->op == &dfx__linear ? DFX__LINEAR_ACTIVATION : ACTIVATION];
}

int dfx__has_epilogue(const dfx_call *c)
{
    return c->in[CHANNELS] || c->in[ADD] || dfx__activation(c) != DFX_IDENTITY;
}

int64_t dfx__image_rows(const dfx_call *c)
{
    const dfx_spec *out = &c->out->spec;
    return out->rank > 1 ? dfx__rows(out) / out->dim[0] : 1;
}

/* Fails the call unless input k is absent, or computed, of the result's dtype and of that shape. */
static int need_shape(dfx_call *c, int k, const char *what, int rank, const int64_t *dim)
{
    char has[DFX__SHAPE_TEXT], needs[DFX__SHAPE_TEXT];
    const dfx_value *v = c->in[k];
    if (!v)
        return 1;
    if (v->root->weight) {
        dfx__call_fail(c, "%s must not be a constant", what);
        return 0;
    }
    if (v->spec.dtype != c->out->spec.dtype) {
        dfx__call_fail(c, "x is %s and %s %s: cast it first", dfx_dtype_name(c->out->spec.dtype),
                       what, dfx_dtype_name(v->spec.dtype));
        return 0;
    }
    int same = v->spec.rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = v->spec.dim[i] == dim[i];
    if (!same)
        dfx__call_fail(c, "%s is %s, %s is needed", what,
                       dfx__shape_text(has, v->spec.rank, v->spec.dim),
                       dfx__shape_text(needs, rank, dim));
    return same;
}

int dfx__need_epilogue(dfx_call *c)
{
    dfx_spec result = c->out->spec;
    dfx_activation a = dfx__activation(c);
    if (a < DFX_IDENTITY || a > DFX_GEGLU || (a == DFX_GEGLU && c->op != &dfx__linear)) {
        dfx__call_fail(c, "%d is no activation that it has", (int)a);
        return 0;
    }
    if (!need_shape(c, CHANNELS, "channels", 2,
                    (int64_t[]){ result.dim[0], result.dim[result.rank - 1] }))
        return 0;
    if (a == DFX_GEGLU)
        result.dim[result.rank - 1] /= 2;
    return need_shape(c, ADD, "add", result.rank, result.dim);
}

dfx__panels_job dfx__panels_job_of(const dfx_call *c, const dfx__host *h, int pairs)
{
    const dfx_weight *w = c->in[WEIGHT]->root->weight;
    return (dfx__panels_job){
        .dtype = c->out->spec.dtype,
        .weight_dtype =
            dfx__constant_dtype(c->sequence, w, pairs ? DFX__PANELS_PAIRS : DFX__PANELS),
        .rows = dfx__rows(&c->out->spec),
        .columns = dfx__channels(&c->out->spec),
        .k = dfx__channels(&c->in[X]->spec),
        .pairs = pairs,
        .panels = h->in[WEIGHT],
        .bias = h->in[BIAS],
        .scale = 1,
        .out = h->out,
        .stride = dfx__channels(&c->out->spec),
        .channels = h->in[CHANNELS],
        .image = dfx__image_rows(c),
        .activation = dfx__activation(c),
        .add = h->in[ADD],
    };
}

void dfx__arg_epilogue(dfx__launches *l)
{
    dfx__arg_in(l, CHANNELS);
    dfx__arg_in(l, ADD);
    dfx__arg_int(l, dfx__activation(l->call));
    dfx__arg_int(l, dfx__image_rows(l->call));
}
