/* linear.c - linear layers; the kernels are in cl/linear.cl. */
#include "device/cpu_panels.h"
#include "op/linear.h"
#include "op/oplist.h"

enum { X, WEIGHT, BIAS, CHANNELS, ADD };

dfx_value *dfx_linear_then(dfx_value *x, dfx_value *weight, dfx_value *bias,
                           const dfx_epilogue *then)
{
    const dfx_epilogue nothing = DFX_EPILOGUE_DEFAULT, *e = then ? then : &nothing;
    return dfx__record(&dfx__linear, DFX__IN(x, weight, bias, e->channels, e->add),
                       DFX__INTS(e->activation), DFX__FLOATS(0));
}

dfx_value *dfx_linear(dfx_value *x, dfx_value *weight, dfx_value *bias)
{
    return dfx_linear_then(x, weight, bias, NULL);
}

int dfx__need_weight(dfx_call *c, int x, int weight)
{
    const dfx_value *w = c->in[weight];
    if (!w || !w->weight) {
        dfx__call_fail(c, "its weight is no constant");
        return 0;
    }
    if (w->spec.dtype != c->in[x]->spec.dtype) {
        dfx__call_fail(c, "x is %s and the weight %s: cast x first",
                       dfx_dtype_name(c->in[x]->spec.dtype), dfx_dtype_name(w->spec.dtype));
        return 0;
    }
    return 1;
}

static void infer(dfx_call *c)
{
    char a[DFX__SHAPE_TEXT], b[DFX__SHAPE_TEXT];
    if (!dfx__need_float(c, X) || !dfx__need_weight(c, X, WEIGHT))
        return;
    const dfx_spec *x = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec;
    if (w->rank != 2 || dfx__channels(x) != w->dim[1]) {
        dfx__call_fail(c, "a weight %s does not fit x %s", dfx__shape_text(a, w->rank, w->dim),
                       dfx__shape_text(b, x->rank, x->dim));
        return;
    }
    if (!dfx__need_vector(c, BIAS, "bias", w->dim[0]))
        return;
    c->out->spec = *x;
    c->out->spec.dim[x->rank - 1] = w->dim[0];
}

static double flops(const dfx_call *c)
{
    return 2.0 * (double)dfx__elements(&c->out->spec) * (double)dfx__channels(&c->in[X]->spec);
}

static void locate(const dfx__panels_job *job, const void **row, int64_t first, int count, int tap)
{
    size_t bytes = (size_t)job->k * dfx_dtype_size(job->dtype);
    (void)tap;
    for (int i = 0; i < count; i++)
        row[i] = (const char *)job->user + (size_t)(first + i) * bytes;
}

static void multiply(const dfx_call *c, const dfx__host *h, int pairs)
{
    dfx__cpu_panels(&(dfx__panels_job){
        .dtype = c->out->spec.dtype,
        .rows = dfx__rows(&c->out->spec),
        .columns = dfx__channels(&c->out->spec),
        .k = dfx__channels(&c->in[X]->spec),
        .taps = 1,
        .pairs = pairs,
        .panels = h->in[WEIGHT],
        .bias = h->in[BIAS],
        .out = h->out,
        .locate = locate,
        .user = h->in[X],
    });
}

static void run(const dfx_call *c, const dfx__host *h)
{
    multiply(c, h, 0);
}

static void run_pairs(const dfx_call *c, const dfx__host *h)
{
    multiply(c, h, 1);
}

static int cpu_takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return dfx__cpu_takes_pairs(c->out->spec.dtype);
}

static const dfx__variant cpu[] = {
    { "dot_bf16", cpu_takes_pairs, DFX__PANELS_PAIRS, NULL, NULL, run_pairs },
    { "cpu", NULL, DFX__PANELS, NULL, NULL, run },
};

static void common_args(const dfx_call *c, dfx__launches *l)
{
    dfx__arg_in(l, X);
    dfx__arg_in(l, WEIGHT);
    dfx__arg_in(l, BIAS);
    dfx__arg_out(l);
    dfx__arg_int(l, dfx__rows(&c->out->spec));
    dfx__arg_int(l, dfx__channels(&c->out->spec));
    dfx__arg_int(l, dfx__channels(&c->in[X]->spec));
}

void dfx__vector_grid(dfx__launches *l, int64_t rows, int64_t columns, int64_t bytes)
{
    int64_t tiles = (rows + DFX__VECTOR_ROWS - 1) / DFX__VECTOR_ROWS;
    int64_t block = DFX__VECTOR_CACHE / (bytes * DFX__VECTOR_ROWS);
    if (block < 1)
        block = 1;
    if (block > tiles)
        block = tiles;
    dfx__grid(l, block, (columns + DFX__PANEL - 1) / DFX__PANEL, (tiles + block - 1) / block, 1, 1,
              1);
}

void dfx__linear_vector(const dfx_call *c, dfx__launches *l, const char *options)
{
    int64_t k = dfx__channels(&c->in[X]->spec);
    dfx__kernel(l, "linear", "linear_vector", "-DROWS=%d%s", DFX__VECTOR_ROWS, options);
    common_args(c, l);
    dfx__vector_grid(l, dfx__rows(&c->out->spec), dfx__channels(&c->out->spec),
                     k * (int64_t)dfx_dtype_size(c->out->spec.dtype));
}

void dfx__linear_tiled(const dfx_call *c, dfx__launches *l)
{
    int64_t m = dfx__rows(&c->out->spec), n = dfx__channels(&c->out->spec);
    dfx__kernel(l, "linear", "linear_tiled", "-DTILE=%d", DFX__TILE);
    common_args(c, l);
    dfx__grid(l, (n + 3) / 4, (m + 3) / 4, 1, 16, 16, 1); /* 4 x 4 elements for each work-item */
}

void dfx__linear_clblast(const dfx_call *c, dfx__launches *l)
{
    int64_t m = dfx__rows(&c->out->spec), n = dfx__channels(&c->out->spec);
    dfx__gemm(l, X, WEIGHT, m, n, dfx__channels(&c->in[X]->spec));
    if (!c->in[BIAS])
        return;
    dfx__kernel(l, "linear", "linear_bias", "-DTILE=%d", DFX__TILE);
    dfx__arg_out(l);
    dfx__arg_in(l, BIAS);
    dfx__arg_int(l, n);
    dfx__grid(l, n, m, 1, 64, 1, 1);
}

static void launch_pairs(const dfx_call *c, dfx__launches *l)
{
    dfx__linear_vector(c, l, DFX__VECTOR_PAIRS);
}

static void launch_vector(const dfx_call *c, dfx__launches *l)
{
    dfx__linear_vector(c, l, "");
}

int dfx__takes_pairs(const dfx_call *c)
{
    return c->out->spec.dtype == DFX_BF16 && dfx__has_pairs(c->sequence->device);
}

static int takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return dfx__takes_pairs(c);
}

static int takes_vector(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    return d->vector_width > 1;
}

static int has_gemm(const dfx_call *c, const dfx_device *d)
{
    return d->has_gemm && c->out->spec.dtype == DFX_F32;
}

static const dfx__variant cl[] = {
    { "dot_bf16", takes_pairs, DFX__PANELS_PAIRS, NULL, launch_pairs, NULL },
    { "vector", takes_vector, DFX__PANELS, NULL, launch_vector, NULL },
    { "tiled", NULL, DFX__PANELS, NULL, dfx__linear_tiled, NULL },
    { "clblast", has_gemm, DFX__ROWS, NULL, dfx__linear_clblast, NULL },
    { 0 },
};

static const dfx__case cases[] = {
    { { "5,17", "w3,17", "3" }, { 0 }, { 0 } },
    { { "1,1", "w1,1" }, { 0 }, { 0 } },
    { { "2,320", "w77,320", "77" }, { 0 }, { 0 } },
    { { "2,31,77", "w96,77", "96" }, { 0 }, { 0 } },
    { { "3,7,9,33", "w65,33" }, { 0 }, { 0 } },
    { { "129,300", "w130,300", "130" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__linear = { "linear", infer, flops, cpu, cl, cases, 3.0f };
