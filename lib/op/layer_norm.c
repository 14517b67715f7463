/* layer_norm.c - normalisation of the last dimension; its kernel is cl/layer_norm.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X, SCALE, SHIFT };
enum { EPS };

dfx_value *dfx_layer_norm(dfx_value *x, dfx_value *scale, dfx_value *shift, float eps)
{
    return dfx__record(&dfx__layer_norm, DFX__IN(x, scale, shift), DFX__INTS(0), DFX__FLOATS(eps));
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    if (dfx__need_float(c, X) && dfx__need_vector(c, SCALE, "scale", dfx__channels(x)))
        dfx__need_vector(c, SHIFT, "shift", dfx__channels(x));
    c->out->spec = *x;
}

static double flops(const dfx_call *c)
{
    return 8.0 * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__rows_kernel(l, "layer_norm", "layer_norm", dfx__rows(&c->in[X]->spec), 1, "");
    dfx__arg_int(l, dfx__channels(&c->in[X]->spec));
    dfx__arg_float(l, c->f[EPS]);
    dfx__arg_in(l, X);
    dfx__arg_in(l, SCALE);
    dfx__arg_in(l, SHIFT);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = dfx__channels(&c->out->spec), rows = dfx__rows(&c->out->spec);
    dfx_dtype dtype = c->out->spec.dtype;
    size_t row = (size_t)n * dfx_dtype_size(dtype);
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++)
        dfx__cpu_kernels()->math->normalise_row((char *)h->out + (size_t)r * row,
                                                (const char *)h->in[X] + (size_t)r * row, dtype,
                                                c->f[EPS], h->in[SCALE], h->in[SHIFT], (size_t)n);
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "3,17,31", "w31", "w31" }, { 0 }, { 1e-5f } },
    { { "2,1", NULL, NULL }, { 0 }, { 1e-5f } },
    { { "77,768", "w768", "w768" }, { 0 }, { 1e-5f } },
    { { "2,3,1280", "w1280", NULL }, { 0 }, { 1e-6f } },
    { { "5,3077", NULL, "w3077" }, { 0 }, { 1e-6f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__layer_norm = { "layer_norm", infer, flops, &cpu, cl, cases, 20 };
