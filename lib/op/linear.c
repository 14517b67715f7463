/* linear.c - linear layers; the kernels are in cl/linear.cl. */
#include "op/linear.h"

#include "op/conv2d.h"
#include "op/oplist.h"
#include "op/tiled.h"

static dfx_value *record(dfx_value *x, dfx_value *weight, dfx_value *bias, const dfx_epilogue *e)
{
    return dfx__record(&dfx__linear, DFX__IN(x, weight, bias, e->channels, e->add),
                       DFX__INTS(e->activation), DFX__FLOATS(0));
}

/* Values and gates are multiplied panel by panel: where they do not begin with one, dfx_geglu does
 * it. */
static dfx_value *record_geglu_apart(dfx_value *x, dfx_value *weight, dfx_value *bias,
                                     const dfx_epilogue *e)
{
    dfx_epilogue before = { e->channels, DFX_IDENTITY, NULL };
    dfx_value *y = dfx_geglu(record(x, weight, bias, &before));
    return e->add ? dfx_add(y, e->add) : y;
}

dfx_value *dfx_linear_then(dfx_value *x, dfx_value *weight, dfx_value *bias,
                           const dfx_epilogue *then)
{
    const dfx_epilogue nothing = DFX_EPILOGUE_DEFAULT, *e = then ? then : &nothing;
    if (e->activation == DFX_GEGLU && weight && weight->spec.dim[0] % (2 * DFX__PANEL) != 0)
        return record_geglu_apart(x, weight, bias, e);
    return record(x, weight, bias, e);
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
    if (w->spec.dim[0] > DFX__MAX_COUNT ||
        (int64_t)dfx__elements(&w->spec) / w->spec.dim[0] > DFX__MAX_COUNT) {
        dfx__call_fail(c, "its weight is larger than kernels count, 2^31 outputs or inputs");
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
    if (dfx__need_epilogue(c) && dfx__activation(c) == DFX_GEGLU)
        c->out->spec.dim[x->rank - 1] /= 2;
}

static double flops(const dfx_call *c)
{
    return 2.0 * (double)dfx__rows(&c->out->spec) * (double)dfx__elements(&c->in[WEIGHT]->spec);
}

static void multiply(const dfx_call *c, const dfx__host *h, int pairs)
{
    dfx__panels_job job = dfx__panels_job_of(c, h, pairs);
    job.taps = 1;
    job.locate = dfx__locate_rows;
    job.user = h->in[X];
    job.user_stride = job.k;
    dfx__cpu_panels(&job, 1);
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

/* Parts of n, at most `most` large: all of a size where that does not make them small. */
static int64_t part_size(int64_t n, int64_t most)
{
    for (int64_t size = most; size > most / 2; size--)
        if (n % size == 0)
            return size;
    int64_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

void dfx__vector_grid(const dfx_call *c, dfx__launches *l, int64_t products, int64_t rows,
                      int64_t columns, int sums_of_panel)
{
    int64_t tiles = (rows + DFX__VECTOR_ROWS - 1) / DFX__VECTOR_ROWS;
    int64_t panels = (columns + DFX__PANEL - 1) / DFX__PANEL;
    int64_t strip = part_size(tiles, DFX__VECTOR_TILES);
    int64_t group = part_size(panels, DFX__VECTOR_PANELS / sums_of_panel);
    int64_t tasks = 4 * c->sequence->device->info.units; /* that keep all units busy */
    while (group > 1 && products * (tiles / strip) * (panels / group) < tasks)
        group--;
    while (strip > 1 && products * (tiles / strip) * panels < tasks)
        strip--;
    dfx__arg_int(l, strip * DFX__VECTOR_ROWS);
    dfx__arg_int(l, group);
    dfx__grid(l, (tiles + strip - 1) / strip, (panels + group - 1) / group, products, 1, 1, 1);
}

void dfx__linear_vector(const dfx_call *c, dfx__launches *l, const char *options)
{
    dfx__kernel(l, "linear", "linear_vector", "-DROWS=%d%s", DFX__VECTOR_ROWS, options);
    common_args(c, l);
    dfx__vector_grid(c, l, 1, dfx__rows(&c->out->spec), dfx__channels(&c->out->spec),
                     dfx__activation(c) == DFX_GEGLU ? 2 : 1);
    dfx__arg_epilogue(l);
}

void dfx__linear_clblast(const dfx_call *c, dfx__launches *l)
{
    int64_t m = dfx__rows(&c->out->spec), n = dfx__channels(&c->out->spec);
    int64_t k = dfx__channels(&c->in[X]->spec);
    dfx__gemm(l, X, WEIGHT,
              (dfx__products){ .count = 1,
                               .m = (size_t)m,
                               .n = (size_t)n,
                               .k = (size_t)k,
                               .scale = 1,
                               .a.line = (size_t)k,
                               .b.line = (size_t)n,
                               .c.line = (size_t)n });
    if (!c->in[BIAS])
        return;
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "linear", "linear_bias", "-DLANES=%d", lanes);
    dfx__arg_out(l);
    dfx__arg_in(l, BIAS);
    dfx__arg_int(l, n);
    dfx__grid(l, n, m, 1, lanes, 1, 1);
}

static void launch_direct(const dfx_call *c, dfx__launches *l)
{
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "linear", "linear_direct", "-DLANES=%d", lanes);
    common_args(c, l);
    dfx__arg_epilogue(l);
    dfx__grid(l, dfx__channels(&c->out->spec), dfx__rows(&c->out->spec), 1, lanes, 1, 1);
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
    return c->out->spec.dtype == DFX_BF16 && dfx__has(c->sequence->device, DFX__PAIRS);
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

static int takes_clblast(const dfx_call *c, const dfx_device *d)
{
    if (!d->has_gemm || c->out->spec.dtype != DFX_F32 || dfx__has_epilogue(c))
        return 0;
    return d->vector_width > 1 ? DFX__LAST : 1;
}

static const dfx__variant cl[] = {
    { "dot_bf16", takes_pairs, DFX__PANELS_PAIRS, NULL, launch_pairs, NULL },
    { "vector", takes_vector, DFX__PANELS, NULL, launch_vector, NULL } DFX__THEN_TILED,
    { "direct", dfx__takes_last, DFX__PANELS, NULL, launch_direct, NULL },
    { "clblast", takes_clblast, DFX__ROWS, NULL, dfx__linear_clblast, NULL },
    { 0 },
};

static const dfx__case cases[] = {
    { { "5,17", "w3,17", "3" }, { 0 }, { 0 } },
    { { "1,1", "w1,1" }, { 0 }, { 0 } },
    { { "2,320", "w77,320", "77" }, { 0 }, { 0 } },
    { { "2,31,77", "w96,77", "96" }, { 0 }, { 0 } },
    { { "3,7,9,33", "w65,33" }, { 0 }, { 0 } },
    { { "129,300", "w130,300", "130" }, { 0 }, { 0 } },
    { { "2,9,40", "w33,40", "33", "2,33", "2,9,33" }, { DFX_IDENTITY }, { 0 } },
    { { "2,77,600", "w130,600", "130", "2,130", "2,77,130" }, { DFX_GELU }, { 0 } },
    { { "1,150,264", "w320,264", "320", NULL, "1,150,160" }, { DFX_GEGLU }, { 0 } },
    { { "3,77", "w96,77", NULL, "3,96" }, { DFX_SILU }, { 0 } },
    { { "1,31,33", "w70,33", "70", NULL, "1,31,70" }, { DFX_GELU }, { 0 } },
    { { "2,13,48", "w65,48", "65" }, { DFX_QUICK_GELU }, { 0 } },
    { { "2,37,72", "w64,72", "64", NULL, "2,37,32" }, { DFX_GEGLU }, { 0 } },
    { { "3,5,31", "w320,31", NULL, "3,320" }, { DFX_GEGLU }, { 0 } },
    { { "1,300,129", "w384,129", "384" }, { DFX_GEGLU }, { 0 } },
    { { "1,601,141", "w490,141", "490" }, { 0 }, { 0 } }, /* full strips and groups */
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__linear = { "linear", infer, flops, cpu, cl, cases, 3.0f };
