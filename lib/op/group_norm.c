/* group_norm.c - group normalisation; its kernels are cl/group_norm.cl.
 *
 * Channels-last, a group's numbers lie in pieces of C/groups all over the image. So memory is read
 * in its order: moments of every channel over ranges of pixels, which are then joined, and a second
 * time to apply them. */
#include "op/oplist.h"
#include "op/rows.h"

#include <math.h>

enum { X, SCALE, SHIFT, BY, MOMENTS };
enum { GROUPS, ACTIVATION };
enum { EPS };
enum {
    BLOCK = 8,  /* pixels that the moments take at once, as in the kernel */
    LANES = 128 /* work-items of a group, but on CPUs and small devices */
};

static dfx_value *record(dfx__inputs in, int groups, dfx_activation activation, float eps)
{
    dfx__moments_next(&in.v[MOMENTS], in.v[X], groups);
    return dfx__record(&dfx__group_norm, in, DFX__INTS(groups, activation), DFX__FLOATS(eps));
}

dfx_value *dfx_group_norm(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups, float eps)
{
    return record(DFX__IN(x, scale, shift), groups, DFX_IDENTITY, eps);
}

dfx_value *dfx_group_norm_silu(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                               float eps)
{
    return record(DFX__IN(x, scale, shift), groups, DFX_SILU, eps);
}

dfx_value *dfx_group_norm_then(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                               float eps, dfx_value *by, dfx_activation activation)
{
    return record(DFX__IN(x, scale, shift, by), groups, activation, eps);
}

/* What each image is scaled and shifted by: [N, 2C], computed. */
static void check_by(dfx_call *c, int64_t images, int64_t channels)
{
    const dfx_value *by = c->in[BY];
    char shape[DFX__SHAPE_TEXT];
    if (!by)
        return;
    const dfx_spec *s = &by->spec;
    if (by->root->weight || s->dtype != c->in[X]->spec.dtype || s->rank != 2 ||
        s->dim[0] != images || s->dim[1] != 2 * channels)
        dfx__call_fail(c, "by is %s %s and must be a computed [%lld, %lld] of x's type",
                       dfx_dtype_name(s->dtype), dfx__shape_text(shape, s->rank, s->dim),
                       (long long)images, (long long)(2 * channels));
}

/* Means and variances [N, groups, 2] that are not x's own. */
static void check_moments(dfx_call *c, int64_t images)
{
    const dfx_value *m = c->in[MOMENTS];
    if (m && (m->root->weight || m->spec.dtype != DFX_F32 || m->spec.rank != 3 ||
              m->spec.dim[0] != images || m->spec.dim[1] != c->i[GROUPS] || m->spec.dim[2] != 2))
        dfx__call_fail(c, "moments must be a computed [%lld, %lld, 2] in f32", (long long)images,
                       (long long)c->i[GROUPS]);
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    char shape[DFX__SHAPE_TEXT];
    int64_t channels = dfx__channels(x);
    if (!dfx__need_float(c, X))
        return;
    if (x->rank < 3)
        dfx__call_fail(c, "x %s is neither [N, H, W, C] nor [N, T, C]",
                       dfx__shape_text(shape, x->rank, x->dim));
    else if (c->i[ACTIVATION] != DFX_IDENTITY && c->i[ACTIVATION] != DFX_SILU)
        dfx__call_fail(c, "%d is no activation that it has", (int)c->i[ACTIVATION]);
    else if (c->i[GROUPS] < 1 || channels % c->i[GROUPS] != 0)
        dfx__call_fail(c, "%lld groups do not divide the %lld channels of x %s",
                       (long long)c->i[GROUPS], (long long)channels,
                       dfx__shape_text(shape, x->rank, x->dim));
    else if (dfx__need_vector(c, SCALE, "scale", channels) &&
             dfx__need_vector(c, SHIFT, "shift", channels)) {
        check_by(c, x->dim[0], channels);
        check_moments(c, x->dim[0]);
    }
    c->out->spec = *x;
}

static double flops(const dfx_call *c)
{
    return 8.0 * (double)dfx__elements(&c->out->spec);
}

/* How an image's pixels are cut, and where things lie in the scratch memory. */
struct cut {
    int64_t images, pixels, channels;
    int64_t range, ranges;      /* pixels of a range */
    size_t plan_at, plan_bytes; /* [images, 3, channels]: mean, factor, shift */
};

/* A CPU gets a few long ranges, a GPU enough groups to be filled. */
static struct cut cut(const dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    const dfx_device *d = c->sequence->device;
    struct cut s = { .images = x->dim[0], .channels = dfx__channels(x) };
    s.pixels = dfx__rows(x) / s.images;
    int cpu = d->is_native || d->info.is_cpu;
    s.range = s.pixels / (cpu ? 64 : 256);
    s.range = s.range < BLOCK ? BLOCK : s.range;
    s.range = !cpu && s.range > 128 ? 128 : s.range;
    s.range = (s.range + BLOCK - 1) / BLOCK * BLOCK;
    s.ranges = (s.pixels + s.range - 1) / s.range;
    s.plan_at = dfx__align(d, sizeof(float) * (size_t)(s.images * s.ranges * 2 * s.channels));
    s.plan_bytes = sizeof(float) * (size_t)(s.images * 3 * s.channels);
    return s;
}

static size_t scratch(const dfx_call *c)
{
    struct cut s = cut(c);
    return s.plan_at + s.plan_bytes;
}

/* Work-items of a group, and channels that one takes at once, which divide them. */
static int lanes_of(const dfx_call *c)
{
    return c->sequence->device->info.is_cpu ? 1 : dfx__group(c, LANES);
}

static int width_of(const dfx_call *c, const struct cut *s)
{
    return lanes_of(c) == 1 && s->channels % 16 == 0 ? 16 : s->channels % 4 == 0 ? 4 : 1;
}

static void add_kernel(dfx__launches *l, const struct cut *s, const char *name)
{
    const dfx_call *c = l->call;
    int width = width_of(c, s);
    dfx__kernel(l, "group_norm", name,
                width == 1
                    ? "-DWITH_SILU=%d -DLANES=%d -DWIDTH=%d -DVEC=float -DLOADV=LOAD -DSTOREV=STORE"
                    : "-DWITH_SILU=%d -DLANES=%d -DWIDTH=%d -DVEC=float%d -DLOADV=LOADV%d "
                      "-DSTOREV=STOREV%d",
                c->i[ACTIVATION] == DFX_SILU, lanes_of(c), width, width, width, width);
}

/* The work-items for `parts` of each image: one for all channels on a CPU, else for some of them.
 */
static void add_grid(dfx__launches *l, const struct cut *s, int64_t parts)
{
    int lanes = lanes_of(l->call);
    int64_t columns = lanes == 1 ? 1 : s->channels / width_of(l->call, s);
    dfx__grid(l, parts * columns, s->images, 1, lanes, 1, 1);
}

static void launch_moments(const dfx_call *c, dfx__launches *l, const struct cut *s)
{
    add_kernel(l, s, "moments");
    add_grid(l, s, s->ranges);
    dfx__arg_int(l, s->pixels);
    dfx__arg_int(l, s->channels);
    dfx__arg_int(l, s->ranges);
    dfx__arg_int(l, s->range);
    dfx__arg_int(l, c->sequence->device->info.is_cpu ? BLOCK : s->range);
    dfx__arg_in(l, X);
    dfx__arg_scratch(l, 0, s->plan_at);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    struct cut s = cut(c);
    if (!c->in[MOMENTS])
        launch_moments(c, l, &s);

    add_kernel(l, &s, "finish");
    dfx__grid(l, c->i[GROUPS] * lanes_of(c), s.images, 1, lanes_of(c), 1, 1);
    dfx__arg_int(l, s.pixels);
    dfx__arg_int(l, s.channels / c->i[GROUPS]);
    dfx__arg_int(l, s.ranges);
    dfx__arg_int(l, s.range);
    dfx__arg_float(l, c->f[EPS]);
    dfx__arg_scratch(l, 0, s.plan_at);
    dfx__arg_in(l, SCALE);
    dfx__arg_in(l, SHIFT);
    dfx__arg_in(l, BY);
    dfx__arg_in(l, MOMENTS);
    dfx__arg_scratch(l, s.plan_at, s.plan_bytes);

    add_kernel(l, &s, "apply");
    add_grid(l, &s, (s.pixels + BLOCK - 1) / BLOCK);
    dfx__arg_int(l, s.pixels);
    dfx__arg_int(l, s.channels);
    dfx__arg_in(l, X);
    dfx__arg_scratch(l, s.plan_at, s.plan_bytes);
    dfx__arg_out(l);
}

/* Number `at` of BY; 0 without it. */
static float by_at(const dfx_call *c, const dfx__host *h, int64_t at)
{
    dfx_dtype dtype = c->out->spec.dtype;
    float v = 0;
    if (h->in[BY])
        dfx__to_f32(&v, (const char *)h->in[BY] + (size_t)at * dfx_dtype_size(dtype), dtype, 1);
    return v;
}

/* Joins the ranges of an image for the channels of group g: mean and variance. */
static void join(const dfx_call *c, const dfx__host *h, const struct cut *s, int64_t image,
                 int64_t g, double moments[2])
{
    const float *partial = (const float *)h->scratch + image * s->ranges * 2 * s->channels;
    int64_t n = s->channels / c->i[GROUPS];
    double all = (double)n * (double)s->pixels, sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t r = 0; r < s->ranges; r++) {
            const float *mean = partial + r * 2 * s->channels + g * n;
            int64_t left = s->pixels - r * s->range;
            double count = (double)(left < s->range ? left : s->range);
            for (int64_t k = 0; k < n && pass == 0; k++)
                sum += count * mean[k];
            for (int64_t k = 0; k < n && pass == 1; k++)
                squares +=
                    mean[s->channels + k] + count * (mean[k] - sum / all) * (mean[k] - sum / all);
        }
    }
    moments[0] = sum / all;
    moments[1] = squares / all;
}

/* What the channels of group g are to be moved and scaled by. */
static void finish(const dfx_call *c, const dfx__host *h, const struct cut *s, int64_t image,
                   int64_t g)
{
    const float *scale = h->in[SCALE], *shift = h->in[SHIFT], *given = h->in[MOMENTS];
    float *plan = (float *)((char *)h->scratch + s->plan_at) + image * 3 * s->channels;
    int64_t n = s->channels / c->i[GROUPS];
    double moments[2];
    if (given) {
        moments[0] = given[2 * (image * c->i[GROUPS] + g)];
        moments[1] = given[2 * (image * c->i[GROUPS] + g) + 1];
    } else {
        join(c, h, s, image, g, moments);
    }
    float factor = (float)(1 / sqrt(moments[1] + c->f[EPS]));
    for (int64_t k = g * n; k < (g + 1) * n; k++) {
        float by = 1 + by_at(c, h, 2 * image * s->channels + k);
        plan[k] = (float)moments[0];
        plan[s->channels + k] = by * (scale ? scale[k] * factor : factor);
        plan[2 * s->channels + k] =
            by * (shift ? shift[k] : 0) + by_at(c, h, (2 * image + 1) * s->channels + k);
    }
}

static void run(const dfx_call *c, const dfx__host *h)
{
    struct cut s = cut(c);
    dfx_dtype dtype = c->out->spec.dtype;
    const dfx__cpu_math *math = dfx__cpu_kernels()->math;
    const char *x = h->in[X];
    int64_t pixel = s.channels * (int64_t)dfx_dtype_size(dtype);
    float *partial = h->scratch, *plan = (float *)((char *)h->scratch + s.plan_at);
    int64_t ranges = h->in[MOMENTS] ? 0 : s.images * s.ranges;
#pragma omp parallel for
    for (int64_t r = 0; r < ranges; r++) {
        int64_t image = r / s.ranges * s.pixels, begin = r % s.ranges * s.range;
        int64_t end = begin + s.range < s.pixels ? begin + s.range : s.pixels;
        float *mean = partial + r * 2 * s.channels;
        math->column_moments(mean, mean + s.channels, x + (image + begin) * pixel, dtype,
                             (size_t)s.channels, (size_t)(end - begin), (size_t)s.channels);
    }
#pragma omp parallel for
    for (int64_t g = 0; g < s.images * c->i[GROUPS]; g++)
        finish(c, h, &s, g / c->i[GROUPS], g % c->i[GROUPS]);
#pragma omp parallel for
    for (int64_t p = 0; p < s.images * s.pixels; p++) {
        const float *mean = plan + p / s.pixels * 3 * s.channels;
        math->normalise_columns((char *)h->out + p * pixel, x + p * pixel, dtype, mean,
                                mean + s.channels, mean + 2 * s.channels,
                                c->i[ACTIVATION] == DFX_SILU, (size_t)s.channels);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, scratch, NULL, run };
static const dfx__variant cl[] = { { "ranges", NULL, DFX__PLAIN, scratch, launch, NULL },
                                   { NULL } };

static const dfx__case cases[] = {
    { { "2,3,5,12", "w12", "w12" }, { 3 }, { 1e-5f } },
    { { "1,1,1,4", "w4", "w4" }, { 1 }, { 1e-5f } },
    { { "1,77,17", "w17", NULL }, { 17 }, { 1e-6f } },
    { { "2,31,17,30", NULL, "w30" }, { 3 }, { 1e-5f } },
    { { "1,17,31,320", "w320", "w320" }, { 32 }, { 1e-5f } },
    { { "3,9,9,256", NULL, NULL }, { 32 }, { 1e-6f } },
    { { "1,3,7,20", "w20", "w20" }, { 5, 1 }, { 1e-6f } },
    { { "2,9,17,320", "w320", "w320" }, { 32, 1 }, { 1e-5f } },
    { { "3,5,7,12", "w12", "w12", "3,24" }, { 3 }, { 1e-5f } },
    { { "2,77,320", NULL, NULL, "2,640" }, { 32, 1 }, { 1e-5f } },
    { { "1,3,5,17", "w17", NULL, "1,34" }, { 1, 1 }, { 1e-5f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__group_norm = { "group_norm", infer, flops, &cpu, cl, cases, 20 };
