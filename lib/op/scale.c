/* scale.c - factor x + offset; its kernel is cl/scale.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X };
enum { FACTOR, OFFSET };

dfx_value *dfx_scale(dfx_value *x, float factor, float offset)
{
    return dfx__record(&dfx__scale, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(factor, offset));
}

static void infer(dfx_call *c)
{
    dfx__need_float(c, X);
    c->out->spec = c->in[X]->spec;
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__flat_kernel(l, "scale", "scale", "");
    dfx__arg_float(l, c->f[FACTOR]);
    dfx__arg_float(l, c->f[OFFSET]);
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = (int64_t)dfx__elements(&c->out->spec);
    float factor = c->f[FACTOR], offset = c->f[OFFSET];
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t at = 0; at < n; at += DFX__PIECE) {
        float room[DFX__PIECE];
        size_t count = dfx__piece(n, at);
        const float *x = dfx__piece_load(h->in[X], dtype, at, count, room);
        float *y = dfx__piece_begin(h->out, dtype, at, room);
        for (size_t i = 0; i < count; i++)
            y[i] = factor * x[i] + offset;
        dfx__piece_end(h->out, dtype, at, count, y);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "flat", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,1" }, { 0 }, { 2.0f, -1.0f } },
    { { "3,17,31" }, { 0 }, { 0.5f, 0.5f } },
    { { "2,64,77,3" }, { 0 }, { -3.0f, 0.0f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__scale = { "scale", infer, NULL, &cpu, cl, cases, 1 };
