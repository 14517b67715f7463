/* cast.c - numbers in another storage type; its kernel is cl/cast.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X };
enum { DTYPE };

dfx_value *dfx_cast(dfx_value *x, dfx_dtype dtype)
{
    if (x && !x->bad && x->spec.dtype == dtype)
        return x;
    return dfx__record(&dfx__cast, DFX__IN(x), DFX__INTS(dtype), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    dfx_dtype dtype = (dfx_dtype)c->i[DTYPE];
    if (dfx__need_float(c, X) && !dfx__dtype_is_float(dtype))
        dfx__call_fail(c, "%s is not a type that models run in", dfx_dtype_name(dtype));
    c->out->spec = c->in[X]->spec;
    c->out->spec.dtype = dtype;
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx_dtype from = c->in[X]->spec.dtype;
    dfx__flat_kernel(l, "cast", "cast",
                     from == DFX_F32   ? "-DFROM=0"
                     : from == DFX_F16 ? "-DFROM=1"
                                       : "-DFROM=2");
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = (int64_t)dfx__elements(&c->out->spec);
    dfx_dtype from = c->in[X]->spec.dtype, to = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t at = 0; at < n; at += DFX__PIECE) {
        float room[DFX__PIECE];
        size_t count = dfx__piece(n, at);
        const float *x = dfx__piece_load(h->in[X], from, at, count, room);
        dfx__cpu_kernels()->narrow((char *)h->out + (size_t)at * dfx_dtype_size(to), to, x, count);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "flat", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "3,17,31" }, { DFX_F32 }, { 0 } },
    { { "2,77,31" }, { DFX_F16 }, { 0 } },
    { { "5,1027" }, { DFX_BF16 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__cast = { "cast", infer, NULL, &cpu, cl, cases, 0 };
