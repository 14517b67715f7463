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
    int64_t pieces = dfx__pieces(n);
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t p = 0; p < rows * pieces; p++) {
        int64_t row = p / pieces, at = p % pieces * DFX__PIECE;
        size_t count = dfx__piece(n, at);
        float gate[DFX__PIECE], room[DFX__PIECE];
        const float *x = dfx__piece_load(h->in[X], dtype, (2 * row + 1) * n + at, count, gate);
        dfx__cpu_kernels()->math->gelu(gate, x, count);
        x = dfx__piece_load(h->in[X], dtype, 2 * row * n + at, count, room);
        float *y = dfx__piece_begin(h->out, dtype, row * n + at, room);
        for (size_t i = 0; i < count; i++)
            y[i] = x[i] * gate[i];
        dfx__piece_end(h->out, dtype, row * n + at, count, y);
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
