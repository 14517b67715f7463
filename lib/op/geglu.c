/* geglu.c - the gated half of a feed-forward block; its kernel is cl/geglu.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X };

dfx_value *dfx_geglu(dfx_value *x)
{
    return dfx__record(&dfx__geglu, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    char shape[DFX__SHAPE_TEXT];
    if (dfx__need_float(c, X) && dfx__channels(x) % 2 != 0)
        dfx__call_fail(c, "the last dimension of x %s must be even: values, then gates",
                       dfx__shape_text(shape, x->rank, x->dim));
    c->out->spec = *x;
    c->out->spec.dim[x->rank - 1] /= 2;
}

static double flops(const dfx_call *c)
{
    return 30.0 * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__rows_kernel(l, "geglu", "geglu", dfx__rows(&c->out->spec), 1, "");
    dfx__arg_int(l, dfx__channels(&c->out->spec));
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = dfx__channels(&c->out->spec), rows = dfx__rows(&c->out->spec);
    dfx_dtype dtype = c->out->spec.dtype;
    size_t row = (size_t)n * dfx_dtype_size(dtype);
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        const char *value = (const char *)h->in[X] + 2 * (size_t)r * row;
        dfx__cpu_kernels()->math->geglu((char *)h->out + (size_t)r * row, value, value + row, dtype,
                                        (size_t)n);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "3,2" }, { 0 }, { 0 } },       { { "2,17,62" }, { 0 }, { 0 } },
    { { "1,31,2560" }, { 0 }, { 0 } }, { { "3,2150" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__geglu = { "geglu", infer, flops, &cpu, cl, cases, 2 };
