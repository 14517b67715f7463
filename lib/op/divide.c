/* divide.c - images by a number each; the kernel is cl/divide.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X, T };

dfx_value *dfx_divide(dfx_value *x, dfx_value *t)
{
    return dfx__record(&dfx__divide, DFX__IN(x, t), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    c->out->spec = *x;
    if (dfx__need_float(c, X))
        dfx__need_vector(c, T, "t", x->dim[0]);
}

/* Numbers of one image. */
static int64_t image_size(const dfx_call *c)
{
    const dfx_spec *x = &c->out->spec;
    return (int64_t)dfx__elements(x) / x->dim[0];
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    int64_t rows = dfx__rows(&c->out->spec);
    dfx__rows_kernel(l, "divide", "divide", rows, 1, "");
    dfx__arg_int(l, dfx__channels(&c->out->spec));
    dfx__arg_int(l, rows / c->out->spec.dim[0]);
    dfx__arg_in(l, X);
    dfx__arg_in(l, T);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = image_size(c), pieces = dfx__pieces(n);
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t p = 0; p < c->out->spec.dim[0] * pieces; p++) {
        int64_t image = p / pieces, first = p % pieces * DFX__PIECE, at = image * n + first;
        size_t count = dfx__piece(n, first);
        float room[DFX__PIECE], t = ((const float *)h->in[T])[image];
        const float *x = dfx__piece_load(h->in[X], dtype, at, count, room);
        float *y = dfx__piece_begin(h->out, dtype, at, room);
        for (size_t i = 0; i < count; i++)
            y[i] = x[i] / t;
        dfx__piece_end(h->out, dtype, at, count, y);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,1", "t1" }, { 0 }, { 0 } },
    { { "3,5,7,31", "t3" }, { 0 }, { 0 } },
    { { "2,40,64,3", "t2" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__divide = { "divide", infer, NULL, &cpu, cl, cases, 2 };
