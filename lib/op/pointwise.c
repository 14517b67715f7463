/* pointwise.c - silu, gelu, quick_gelu, mish, relu and tanh, number by number; the kernel is
 * cl/pointwise.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <math.h>

enum { X };

dfx_value *dfx_silu(dfx_value *x)
{
    return dfx__record(&dfx__silu, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_gelu(dfx_value *x)
{
    return dfx__record(&dfx__gelu, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_quick_gelu(dfx_value *x)
{
    return dfx__record(&dfx__quick_gelu, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_mish(dfx_value *x)
{
    return dfx__record(&dfx__mish, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_relu(dfx_value *x)
{
    return dfx__record(&dfx__relu, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_tanh(dfx_value *x)
{
    return dfx__record(&dfx__tanh, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    dfx__need_float(c, X);
    c->out->spec = c->in[X]->spec;
}

/* An exponential or a polynomial of that size for each number. */
static double flops(const dfx_call *c)
{
    return 20.0 * (double)dfx__elements(&c->out->spec);
}

/* `function` is a macro of common.cl. */
static void launch(dfx__launches *l, const char *function)
{
    dfx__flat_kernel(l, "pointwise", "pointwise", function);
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void launch_silu(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=SILU");
}

static void launch_gelu(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=GELU");
}

static void launch_quick_gelu(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=QUICK_GELU");
}

static void launch_mish(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=MISH");
}

static void launch_relu(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=RELU");
}

static void launch_tanh(const dfx_call *c, dfx__launches *l)
{
    (void)c;
    launch(l, "-DF=tanh");
}

static void run(const dfx_call *c, const dfx__host *h,
                void (*function)(float *to, const float *from, size_t n))
{
    int64_t n = (int64_t)dfx__elements(&c->out->spec);
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t at = 0; at < n; at += DFX__PIECE) {
        float room[DFX__PIECE];
        size_t count = dfx__piece(n, at);
        const float *x = dfx__piece_load(h->in[X], dtype, at, count, room);
        float *y = dfx__piece_begin(h->out, dtype, at, room);
        function(y, x, count);
        dfx__piece_end(h->out, dtype, at, count, y);
    }
}

static void run_silu(const dfx_call *c, const dfx__host *h)
{
    run(c, h, dfx__cpu_kernels()->math->silu);
}

static void run_gelu(const dfx_call *c, const dfx__host *h)
{
    run(c, h, dfx__cpu_kernels()->math->gelu);
}

static void run_quick_gelu(const dfx_call *c, const dfx__host *h)
{
    run(c, h, dfx__cpu_kernels()->math->quick_gelu);
}

/* tanh(ln(1 + e)) is (e^2 + 2 e) / (e^2 + 2 e + 2): no difference of numbers that are alike. Over
 * 20 it is 1 in f32. */
static void mish(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float e = expf(from[i] < 20 ? from[i] : 20), s = e * (e + 2);
        to[i] = from[i] * s / (s + 2);
    }
}

static void run_mish(const dfx_call *c, const dfx__host *h)
{
    run(c, h, mish);
}

static void relu(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] < 0 ? 0 : from[i];
}

static void run_relu(const dfx_call *c, const dfx__host *h)
{
    run(c, h, relu);
}

static void tanh_of(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = tanhf(from[i]);
}

static void run_tanh(const dfx_call *c, const dfx__host *h)
{
    run(c, h, tanh_of);
}

static const dfx__case cases[] = {
    { { "1,1" }, { 0 }, { 0 } },       { { "3,17,31" }, { 0 }, { 0 } },
    { { "2,3,77,31" }, { 0 }, { 0 } }, { { "1,64,257" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

#define POINTWISE(name)                                                                            \
    static const dfx__variant cpu_##name = { "plain", NULL, DFX__PLAIN, NULL, NULL, run_##name };  \
    static const dfx__variant cl_##name[] = {                                                      \
        { "flat", NULL, DFX__PLAIN, NULL, launch_##name, NULL }, { 0 }                             \
    };                                                                                             \
    const dfx_op dfx__##name = { #name, infer, flops, &cpu_##name, cl_##name, cases, 2 };
POINTWISE(silu)
POINTWISE(gelu)
POINTWISE(quick_gelu)
POINTWISE(mish)
POINTWISE(relu)
POINTWISE(tanh)
