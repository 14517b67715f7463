/* conv2d.c - convolutions; the kernels are in cl/conv2d.cl. */
#include "op/conv2d.h"

#include "device/cpu_kernels.h"
#include "op/linear.h"
#include "op/oplist.h"
#include "op/tiled.h"

enum {
    LIMIT = 1 << 20, /* of any of the integers */
    LARGEST =
        1 << 15, /* pixels across or down that x is resized from or to: the product is an int */
    LONGEST = 1 << 29 /* pixels across or down: kernels begin 2^30 above what is no pixel */
};

dfx_value *dfx_conv2d_then(dfx_value *x, dfx_value *weight, dfx_value *bias,
                           const dfx_conv2d_options *options, const dfx_epilogue *then)
{
    const dfx_conv2d_options standard = DFX_CONV2D_DEFAULT, *o = options ? options : &standard;
    const dfx_epilogue nothing = DFX_EPILOGUE_DEFAULT, *e = then ? then : &nothing;
    return dfx__record(&dfx__conv2d, DFX__IN(x, weight, bias, e->channels, e->add),
                       DFX__INTS(o->stride, o->dilation, o->groups, o->top, o->left, o->bottom,
                                 o->right, e->activation, o->height, o->width),
                       DFX__FLOATS(0));
}

dfx_value *dfx_conv2d(dfx_value *x, dfx_value *weight, dfx_value *bias,
                      const dfx_conv2d_options *options)
{
    return dfx_conv2d_then(x, weight, bias, options, NULL);
}

static int good_options(dfx_call *c)
{
    for (int k = STRIDE; k <= RIGHT; k++)
        if (c->i[k] < (k <= GROUPS) || c->i[k] > LIMIT) {
            dfx__call_fail(c,
                           "stride %lld, dilation %lld, groups %lld, padding %lld %lld %lld %lld "
                           "are no convolution",
                           (long long)c->i[STRIDE], (long long)c->i[DILATION],
                           (long long)c->i[GROUPS], (long long)c->i[TOP], (long long)c->i[LEFT],
                           (long long)c->i[BOTTOM], (long long)c->i[RIGHT]);
            return 0;
        }
    return 1;
}

/* Whether the window moves over another picture than x. */
static int is_resized(const dfx_call *c)
{
    const int64_t *dim = c->in[X]->spec.dim;
    return dfx__conv2d_height(c) != dim[1] || dfx__conv2d_width(c) != dim[2];
}

static int good_size(dfx_call *c)
{
    int64_t size[] = { c->i[HEIGHT], c->i[WIDTH], c->in[X]->spec.dim[1], c->in[X]->spec.dim[2] };
    if (size[2] > LONGEST || size[3] > LONGEST) {
        dfx__call_fail(c, "x of %lld x %lld is larger than %d pixels down or across",
                       (long long)size[2], (long long)size[3], LONGEST);
        return 0;
    }
    if (!c->i[HEIGHT] && !c->i[WIDTH])
        return 1;
    for (int k = 0; k < 4; k++)
        if (size[k] < 1 || size[k] > LARGEST) {
            dfx__call_fail(c, "x of %lld x %lld cannot be resized to %lld x %lld, only 1 to %d",
                           (long long)size[2], (long long)size[3], (long long)size[0],
                           (long long)size[1], LARGEST);
            return 0;
        }
    return 1;
}

/* Places of a window of `taps` in `size` pixels with padding; below 1 when it does not fit. */
static int64_t places(const dfx_call *c, int64_t size, int64_t padding, int64_t taps)
{
    int64_t room = size + padding - c->i[DILATION] * (taps - 1) - 1;
    return room < 0 ? 0 : room / c->i[STRIDE] + 1;
}

static void infer(dfx_call *c)
{
    char a[DFX__SHAPE_TEXT], b[DFX__SHAPE_TEXT];
    if (!dfx__need_float(c, X) || !dfx__need_weight(c, X, WEIGHT) || !good_options(c))
        return;
    const dfx_spec *x = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec;
    int64_t groups = c->i[GROUPS];
    if (x->rank != 4 || w->rank != 4 || x->dim[3] != w->dim[1] * groups || w->dim[0] % groups) {
        dfx__call_fail(c, "a weight %s in %lld groups does not fit x %s",
                       dfx__shape_text(a, w->rank, w->dim), (long long)groups,
                       dfx__shape_text(b, x->rank, x->dim));
        return;
    }
    if (!good_size(c))
        return;
    int64_t height = places(c, dfx__conv2d_height(c), c->i[TOP] + c->i[BOTTOM], w->dim[2]);
    int64_t width = places(c, dfx__conv2d_width(c), c->i[LEFT] + c->i[RIGHT], w->dim[3]);
    if (height < 1 || width < 1) {
        dfx__call_fail(c, "the window of a weight %s is larger than x %s with its padding",
                       dfx__shape_text(a, w->rank, w->dim), dfx__shape_text(b, x->rank, x->dim));
        return;
    }
    if (!dfx__need_vector(c, BIAS, "bias", w->dim[0]))
        return;
    c->rounding = x->dtype == DFX_F32 ? 0 : 1e-5f; /* by Winograd's large tiles */
    c->out->spec = (dfx_spec){ x->dtype, 4, { x->dim[0], height, width, w->dim[0] } };
    dfx__need_epilogue(c);
}

static int64_t taps(const dfx_call *c)
{
    return c->in[WEIGHT]->spec.dim[2] * c->in[WEIGHT]->spec.dim[3];
}

static double flops(const dfx_call *c)
{
    return 2.0 * (double)dfx__elements(&c->out->spec) *
           (double)(c->in[WEIGHT]->spec.dim[1] * taps(c));
}

int dfx__conv2d_is_linear(const dfx_call *c)
{
    return taps(c) == 1 && c->i[STRIDE] == 1 && c->i[GROUPS] == 1 &&
           !(c->i[TOP] | c->i[LEFT] | c->i[BOTTOM] | c->i[RIGHT]) && !is_resized(c);
}

/* What a pixel of the result sees: pixels of the resized picture from (y, x) on. */
struct window {
    int64_t image, y, x;
};

static struct window window_of(const dfx_call *c, int64_t pixel)
{
    const dfx_spec *out = &c->out->spec;
    int64_t line = pixel / out->dim[2];
    return (struct window){ line / out->dim[1], line % out->dim[1] * c->i[STRIDE] - c->i[TOP],
                            pixel % out->dim[2] * c->i[STRIDE] - c->i[LEFT] };
}

/* Element number of pixel (y, x) of the resized picture, or -1 outside of it. */
static int64_t pixel_at(const dfx_call *c, int64_t image, int64_t y, int64_t x)
{
    const int64_t *dim = c->in[X]->spec.dim;
    int64_t height = dfx__conv2d_height(c), width = dfx__conv2d_width(c);
    if (y < 0 || y >= height || x < 0 || x >= width)
        return -1;
    return ((image * dim[1] + y * dim[1] / height) * dim[2] + x * dim[2] / width) * dim[3];
}

struct source {
    const dfx_call *call;
    const char *x;
};

/* The pixels of one output line follow each other at a stride: only its first is looked up. */
static void locate(const dfx__panels_job *job, const void **row, int64_t first, int count, int tap)
{
    const struct source *source = job->user;
    const dfx_call *c = source->call;
    int64_t columns = c->out->spec.dim[2], window = c->in[WEIGHT]->spec.dim[3];
    int64_t down = tap / window * c->i[DILATION], right = tap % window * c->i[DILATION];
    int64_t width = dfx__conv2d_width(c), has = c->in[X]->spec.dim[2];
    size_t size = dfx_dtype_size(job->dtype), pixel = (size_t)job->k * size;
    for (int i = 0; i < count;) {
        struct window at = window_of(c, first + i);
        int64_t left = columns - (first + i) % columns, x = at.x + right;
        int64_t begin = pixel_at(c, at.image, at.y + down, 0);
        const char *line = begin < 0 ? NULL : source->x + (size_t)begin * size;
        for (; i < count && left > 0; i++, left--, x += c->i[STRIDE])
            row[i] = line && x >= 0 && x < width
                         ? line + (size_t)(width == has ? x : x * has / width) * pixel
                         : NULL;
    }
}

/* Element i of an array as a float. */
static float element(const void *from, dfx_dtype dtype, int64_t i)
{
    float to;
    dfx__to_f32(&to, (const char *)from + (size_t)i * dfx_dtype_size(dtype), dtype, 1);
    return to;
}

/* Sum of one output over its group's channels and the window. */
static float grouped_sum(const dfx_call *c, const dfx__panels_job *job, int64_t pixel, int64_t o)
{
    const dfx_spec *w = &c->in[WEIGHT]->spec;
    const struct source *source = job->user;
    int64_t n = w->dim[1], first = o / (w->dim[0] / c->i[GROUPS]) * n;
    struct window at = window_of(c, pixel);
    float sum = job->bias ? job->bias[o] : 0.0f;
    for (int64_t tap = 0; tap < taps(c); tap++) {
        int64_t y = at.y + tap / w->dim[3] * c->i[DILATION];
        int64_t from = pixel_at(c, at.image, y, at.x + tap % w->dim[3] * c->i[DILATION]);
        int64_t line = (o / DFX__PANEL * taps(c) + tap) * n * DFX__PANEL + o % DFX__PANEL;
        for (int64_t k = 0; from >= 0 && k < n; k++)
            sum += element(source->x, job->dtype, from + first + k) *
                   element(job->panels, job->weight_dtype, line + k * DFX__PANEL);
    }
    return sum;
}

static float activate(float v, dfx_activation activation)
{
    const dfx__cpu_math *math = dfx__cpu_kernels()->math;
    if (activation != DFX_IDENTITY)
        (activation == DFX_SILU   ? math->silu
         : activation == DFX_GELU ? math->gelu
                                  : math->quick_gelu)(&v, &v, 1);
    return v;
}

static void run_grouped(const dfx_call *c, const dfx__panels_job *job)
{
    size_t size = dfx_dtype_size(job->dtype);
#pragma omp parallel for
    for (int64_t p = 0; p < job->rows; p++)
        for (int64_t o = 0; o < job->columns; o++) {
            int64_t at = p * job->columns + o;
            float v = grouped_sum(c, job, p, o);
            if (job->channels)
                v += element(job->channels, job->dtype, p / job->image * job->columns + o);
            v = activate(v, job->activation);
            if (job->add)
                v += element(job->add, job->dtype, at);
            dfx__from_f32((char *)job->out + (size_t)at * size, job->dtype, &v, 1);
        }
}

static void multiply(const dfx_call *c, const dfx__host *h, int pairs)
{
    dfx__panels_job job = dfx__panels_job_of(c, h, pairs);
    job.taps = (int)taps(c);
    job.locate = locate;
    job.user = &(struct source){ c, h->in[X] };
    if (c->i[GROUPS] > 1)
        run_grouped(c, &job);
    else
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
    return dfx__cpu_takes_pairs(c->out->spec.dtype) && c->i[GROUPS] == 1;
}

static const dfx__variant cpu[] = {
    { "winograd_pairs", dfx__winograd_accepts_native_pairs, DFX__PANELS_PAIRS,
      dfx__winograd_scratch, NULL, dfx__winograd_run_pairs },
    { "dot_bf16", cpu_takes_pairs, DFX__PANELS_PAIRS, NULL, NULL, run_pairs },
    { "winograd", dfx__winograd_accepts_native, DFX__PANELS, dfx__winograd_scratch, NULL,
      dfx__winograd_run },
    { "cpu", NULL, DFX__PANELS, NULL, NULL, run },
};

static void common_args(const dfx_call *c, dfx__launches *l)
{
    const dfx_spec *x = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec, *out = &c->out->spec;
    dfx__arg_in(l, X);
    dfx__arg_in(l, WEIGHT);
    dfx__arg_in(l, BIAS);
    dfx__arg_out(l);
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, x->dim[k]);
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, out->dim[k]);
    dfx__arg_int(l, w->dim[2]);
    dfx__arg_int(l, w->dim[3]);
    dfx__arg_int(l, c->i[STRIDE]);
    dfx__arg_int(l, c->i[DILATION]);
    dfx__arg_int(l, c->i[TOP]);
    dfx__arg_int(l, c->i[LEFT]);
    dfx__arg_int(l, dfx__rows(out));
    dfx__arg_int(l, dfx__conv2d_height(c));
    dfx__arg_int(l, dfx__conv2d_width(c));
}

static void launch_rows(const dfx_call *c, dfx__launches *l, const char *options)
{
    if (dfx__conv2d_is_linear(c)) {
        dfx__linear_vector(c, l, options);
        return;
    }
    dfx__kernel(l, "conv2d", "conv2d_vector", "-DROWS=%d%s", DFX__VECTOR_ROWS, options);
    common_args(c, l);
    dfx__vector_grid(c, l, 1, dfx__rows(&c->out->spec), c->out->spec.dim[3], 1);
    dfx__arg_epilogue(l);
}

static void launch_pairs(const dfx_call *c, dfx__launches *l)
{
    launch_rows(c, l, DFX__VECTOR_PAIRS);
}

static void launch_vector(const dfx_call *c, dfx__launches *l)
{
    launch_rows(c, l, "");
}

static void launch_direct(const dfx_call *c, dfx__launches *l)
{
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "conv2d", "conv2d_direct", "-DLANES=%d", lanes);
    common_args(c, l);
    dfx__arg_epilogue(l);
    dfx__arg_int(l, c->i[GROUPS]);
    dfx__grid(l, c->out->spec.dim[3], dfx__rows(&c->out->spec), 1, lanes, 1, 1);
}

static int takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return dfx__takes_pairs(c) && c->i[GROUPS] == 1;
}

static int takes_vector(const dfx_call *c, const dfx_device *d)
{
    return d->vector_width > 1 && c->i[GROUPS] == 1;
}

static int takes_clblast(const dfx_call *c, const dfx_device *d)
{
    if (!d->has_gemm || c->out->spec.dtype != DFX_F32 || !dfx__conv2d_is_linear(c) ||
        dfx__has_epilogue(c))
        return 0;
    return d->vector_width > 1 ? DFX__LAST : 1;
}

/* In groups neighbouring work-items still read neighbouring outputs of a panel. */
static const dfx__variant cl[] = {
    { "winograd_pairs", dfx__winograd_accepts_pairs, DFX__PANELS_PAIRS, dfx__winograd_scratch,
      dfx__winograd_launch_pairs, NULL },
    { "dot_bf16", takes_pairs, DFX__PANELS_PAIRS, NULL, launch_pairs, NULL },
    { "winograd", dfx__winograd_accepts, DFX__PANELS, dfx__winograd_scratch, dfx__winograd_launch,
      NULL },
    { "vector", takes_vector, DFX__PANELS, NULL, launch_vector, NULL } DFX__THEN_TILED,
    { "direct", dfx__takes_last, DFX__PANELS, NULL, launch_direct, NULL },
    { "clblast", takes_clblast, DFX__ROWS, NULL, dfx__linear_clblast, NULL },
    { 0 },
};

static const dfx__case cases[] = {
    { { "1,5,5,3", "w4,3,3,3", "4" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "1,1,1,1", "w1,1,1,1" }, { 1, 1, 1 }, { 0 } },
    { { "1,9,7,31", "w33,31,1,1", "33" }, { 1, 1, 1 }, { 0 } },
    { { "2,13,17,4", "w77,4,3,3", "77" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "1,16,9,67", "w32,67,3,3", "32" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "1,15,12,17", "w32,17,3,3", "32" }, { 2, 1, 1, 0, 0, 1, 1 }, { 0 } },
    { { "2,11,9,8", "w40,8,3,2" }, { 1, 2, 1, 3, 0, 1, 2 }, { 0 } },
    { { "1,7,7,16", "w16,16,1,1", "16" }, { 2, 1, 1 }, { 0 } },
    { { "1,9,8,12", "w36,4,3,3", "36" }, { 1, 1, 3, 1, 1, 1, 1 }, { 0 } },
    { { "2,9,9,31", "w31,1,5,5", "31" }, { 2, 1, 31, 2, 2, 2, 2 }, { 0 } },
    { { "1,1,1,77", "w33,77,3,3", "33" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "1,5,7,33", "w77,33,3,3" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "2,17,13,64", "w65,64,3,3", "65" }, { 1, 1, 1, 0, 2, 1, 0 }, { 0 } },
    { { "1,9,9,130", "w64,130,3,3", "64" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "2,5,7,20", "w33,20,3,3", "33", "2,33", "2,5,7,33" },
      { 1, 1, 1, 1, 1, 1, 1, DFX_IDENTITY },
      { 0 } },
    { { "1,8,6,31", "w70,31,3,3", NULL, "1,70" }, { 2, 1, 1, 1, 1, 1, 1, DFX_SILU }, { 0 } },
    { { "2,6,5,33", "w34,33,1,1", "34", NULL, "2,6,5,34" },
      { 1, 1, 1, 0, 0, 0, 0, DFX_GELU },
      { 0 } },
    { { "1,5,6,12", "w36,4,3,3", "36", "1,36", "1,11,9,36" },
      { 1, 1, 3, 1, 1, 1, 1, DFX_QUICK_GELU, 11, 9 },
      { 0 } },
    { { "2,7,5,40", "w33,40,3,3", "33" }, { 1, 1, 1, 1, 1, 1, 1, DFX_IDENTITY, 13, 10 }, { 0 } },
    { { "1,9,11,17", "w32,17,3,3", NULL, NULL, "1,3,4,32" },
      { 2, 1, 1, 1, 1, 1, 1, DFX_IDENTITY, 5, 7 },
      { 0 } },
    { { "1,4,3,64", "w40,64,1,1", "40" }, { 1, 1, 1, 0, 0, 0, 0, DFX_IDENTITY, 8, 6 }, { 0 } },
    { { "1,50,53,256", "w32,256,3,3", "32" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "1,50,53,72", "w64,72,3,3", "64" }, { 1, 1, 1, 1, 1, 1, 1 }, { 0 } },
    { { "2,9,8,200", "w100,200,3,3", "100", "2,100", "2,9,8,100" },
      { 1, 1, 1, 1, 1, 1, 1, DFX_SILU },
      { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__conv2d = { "conv2d", infer, flops, cpu, cl, cases, 3.0f };
