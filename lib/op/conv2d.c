/* conv2d.c - convolutions; the kernels are in cl/conv2d.cl. */
#include "op/conv2d.h"

#include "device/cpu_panels.h"
#include "op/linear.h"
#include "op/oplist.h"

enum { LIMIT = 1 << 20 }; /* of any of the integers */

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
    int64_t height = places(c, x->dim[1], c->i[TOP] + c->i[BOTTOM], w->dim[2]);
    int64_t width = places(c, x->dim[2], c->i[LEFT] + c->i[RIGHT], w->dim[3]);
    if (height < 1 || width < 1) {
        dfx__call_fail(c, "the window of a weight %s is larger than x %s with its padding",
                       dfx__shape_text(a, w->rank, w->dim), dfx__shape_text(b, x->rank, x->dim));
        return;
    }
    if (!dfx__need_vector(c, BIAS, "bias", w->dim[0]))
        return;
    c->out->spec = (dfx_spec){ x->dtype, 4, { x->dim[0], height, width, w->dim[0] } };
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

/* A 1x1 convolution that takes every pixel is a linear layer. */
static int is_linear(const dfx_call *c)
{
    return taps(c) == 1 && c->i[STRIDE] == 1 && c->i[GROUPS] == 1 &&
           !(c->i[TOP] | c->i[LEFT] | c->i[BOTTOM] | c->i[RIGHT]);
}

/* What a pixel of the result sees: input pixels from (y, x) on. */
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

/* Element number of input pixel (y, x), or -1 outside the image. */
static int64_t pixel_at(const dfx_spec *s, int64_t image, int64_t y, int64_t x)
{
    if (y < 0 || y >= s->dim[1] || x < 0 || x >= s->dim[2])
        return -1;
    return ((image * s->dim[1] + y) * s->dim[2] + x) * s->dim[3];
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
    const dfx_spec *s = &c->in[X]->spec;
    int64_t width = c->out->spec.dim[2], window = c->in[WEIGHT]->spec.dim[3];
    int64_t down = tap / window * c->i[DILATION], right = tap % window * c->i[DILATION];
    size_t size = dfx_dtype_size(job->dtype);
    for (int i = 0; i < count;) {
        struct window at = window_of(c, first + i);
        int64_t left = width - (first + i) % width, y = at.y + down, x = at.x + right;
        const char *line = NULL;
        if (y >= 0 && y < s->dim[1])
            line = source->x + (size_t)pixel_at(s, at.image, y, 0) * size;
        for (; i < count && left > 0; i++, left--, x += c->i[STRIDE])
            row[i] = line && x >= 0 && x < s->dim[2] ? line + (size_t)(x * s->dim[3]) * size : NULL;
    }
}

/* Sum of one output over its group's channels and the window. */
static float grouped_sum(const dfx_call *c, const dfx__host *h, int64_t pixel, int64_t o)
{
    const dfx_spec *s = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec;
    size_t size = dfx_dtype_size(s->dtype);
    int64_t n = w->dim[1], first = o / (w->dim[0] / c->i[GROUPS]) * n;
    struct window at = window_of(c, pixel);
    float sum = h->in[BIAS] ? ((const float *)h->in[BIAS])[o] : 0.0f;
    for (int64_t tap = 0; tap < taps(c); tap++) {
        int64_t y = at.y + tap / w->dim[3] * c->i[DILATION];
        int64_t from = pixel_at(s, at.image, y, at.x + tap % w->dim[3] * c->i[DILATION]);
        int64_t line = (o / DFX__PANEL * taps(c) + tap) * n * DFX__PANEL + o % DFX__PANEL;
        for (int64_t k = 0; from >= 0 && k < n; k++) {
            float a, b;
            dfx__to_f32(&a, (const char *)h->in[X] + (size_t)(from + first + k) * size, s->dtype,
                        1);
            dfx__to_f32(&b, (const char *)h->in[WEIGHT] + (size_t)(line + k * DFX__PANEL) * size,
                        s->dtype, 1);
            sum += a * b;
        }
    }
    return sum;
}

static void run_grouped(const dfx_call *c, const dfx__host *h)
{
    int64_t pixels = dfx__rows(&c->out->spec), outputs = dfx__channels(&c->out->spec);
    size_t size = dfx_dtype_size(c->out->spec.dtype);
#pragma omp parallel for
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t o = 0; o < outputs; o++) {
            float sum = grouped_sum(c, h, p, o);
            dfx__from_f32((char *)h->out + (size_t)(p * outputs + o) * size, c->out->spec.dtype,
                          &sum, 1);
        }
}

static void multiply(const dfx_call *c, const dfx__host *h, int pairs)
{
    dfx__cpu_panels(&(dfx__panels_job){
        .dtype = c->out->spec.dtype,
        .rows = dfx__rows(&c->out->spec),
        .columns = dfx__channels(&c->out->spec),
        .k = dfx__channels(&c->in[X]->spec),
        .taps = (int)taps(c),
        .pairs = pairs,
        .panels = h->in[WEIGHT],
        .bias = h->in[BIAS],
        .out = h->out,
        .locate = locate,
        .user = &(struct source){ c, h->in[X] },
    });
}

static void run(const dfx_call *c, const dfx__host *h)
{
    if (c->i[GROUPS] > 1)
        run_grouped(c, h);
    else
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
    { "dot_bf16", cpu_takes_pairs, DFX__PANELS_PAIRS, NULL, NULL, run_pairs },
    { "winograd", dfx__winograd_accepts_native, DFX__WINOGRAD, dfx__winograd_scratch, NULL,
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
}

static void launch_rows(const dfx_call *c, dfx__launches *l, const char *options)
{
    if (is_linear(c)) {
        dfx__linear_vector(c, l, options);
        return;
    }
    const dfx_spec *x = &c->in[X]->spec, *out = &c->out->spec;
    dfx__kernel(l, "conv2d", "conv2d_vector", "-DROWS=%d%s", DFX__VECTOR_ROWS, options);
    common_args(c, l);
    dfx__vector_grid(l, dfx__rows(out), out->dim[3], x->dim[3] * (int64_t)dfx_dtype_size(x->dtype));
}

static void launch_pairs(const dfx_call *c, dfx__launches *l)
{
    launch_rows(c, l, DFX__VECTOR_PAIRS);
}

static void launch_vector(const dfx_call *c, dfx__launches *l)
{
    launch_rows(c, l, "");
}

static void launch_tiled(const dfx_call *c, dfx__launches *l)
{
    if (is_linear(c)) {
        dfx__linear_tiled(c, l);
        return;
    }
    const dfx_spec *out = &c->out->spec;
    dfx__kernel(l, "conv2d", "conv2d_tiled", "-DTILE=%d", DFX__TILE);
    common_args(c, l);
    /* 4 outputs x 4 pixels for each work-item */
    dfx__grid(l, (out->dim[3] + 3) / 4, (dfx__rows(out) + 3) / 4, 1, 16, 16, 1);
}

static void launch_direct(const dfx_call *c, dfx__launches *l)
{
    dfx__kernel(l, "conv2d", "conv2d_direct", "-DTILE=%d", DFX__TILE);
    common_args(c, l);
    dfx__arg_int(l, c->i[GROUPS]);
    dfx__grid(l, c->out->spec.dim[3], dfx__rows(&c->out->spec), 1, 64, 1, 1);
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

static int takes_tiled(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return c->i[GROUPS] == 1;
}

static int takes_clblast(const dfx_call *c, const dfx_device *d)
{
    return d->has_gemm && c->out->spec.dtype == DFX_F32 && is_linear(c);
}

/* In groups neighbouring work-items still read neighbouring outputs of a panel. */
static const dfx__variant cl[] = {
    { "dot_bf16", takes_pairs, DFX__PANELS_PAIRS, NULL, launch_pairs, NULL },
    { "winograd", dfx__winograd_accepts, DFX__WINOGRAD, dfx__winograd_scratch, dfx__winograd_launch,
      NULL },
    { "vector", takes_vector, DFX__PANELS, NULL, launch_vector, NULL },
    { "tiled", takes_tiled, DFX__PANELS, NULL, launch_tiled, NULL },
    { "direct", NULL, DFX__PANELS, NULL, launch_direct, NULL },
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
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__conv2d = { "conv2d", infer, flops, cpu, cl, cases, 3.0f };
