/* resample.c - filtering an image on its way to another size; its kernel is cl/resample.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { X };
enum { FILTER, UP, DOWN, BEFORE, AFTER, REFLECT };
enum { MAX_FACTOR = 64 };

dfx_value *dfx_resample(dfx_value *x, const dfx_resample_options *o)
{
    return dfx__record(&dfx__resample, DFX__IN(x),
                       DFX__INTS(o->filter, o->up, o->down, o->before, o->after, o->reflect != 0),
                       DFX__FLOATS(0));
}

static int64_t taps_of(const dfx_call *c)
{
    return c->i[FILTER] == DFX_BINOMIAL ? 4 : 2;
}

/* Of one axis, for each of the numbers that lie between the samples. */
static float tap(const dfx_call *c, int64_t t)
{
    float gain = (float)c->i[UP];
    return gain * (c->i[FILTER] == DFX_BOX ? 0.5f : t == 0 || t == 3 ? 0.125f : 0.375f);
}

static int64_t size_of(const dfx_call *c, int64_t size)
{
    int64_t room = size * c->i[UP] + c->i[BEFORE] + c->i[AFTER] - taps_of(c);
    return room < 0 ? 0 : room / c->i[DOWN] + 1;
}

/* The source of tap t of output o on an axis of `size`; -1: a zero. */
static int64_t source(const dfx_call *c, int64_t o, int64_t t, int64_t size)
{
    int64_t at = o * c->i[DOWN] + t - c->i[BEFORE];
    if (at % c->i[UP] != 0)
        return -1;
    at /= c->i[UP];
    if (at >= 0 && at < size)
        return at;
    return !c->i[REFLECT] ? -1 : at < 0 ? -at : 2 * size - 2 - at;
}

static int has_sense(const dfx_call *c)
{
    return (c->i[FILTER] == DFX_BOX || c->i[FILTER] == DFX_BINOMIAL) && c->i[UP] >= 1 &&
           c->i[UP] <= MAX_FACTOR && c->i[DOWN] >= 1 && c->i[DOWN] <= MAX_FACTOR &&
           c->i[BEFORE] >= 0 && c->i[BEFORE] <= MAX_FACTOR && c->i[AFTER] >= 0 &&
           c->i[AFTER] <= MAX_FACTOR;
}

/* What lies beyond an edge and is reflected must be there. */
static int can_reflect(const dfx_call *c, int64_t size)
{
    int64_t most = c->i[BEFORE] > c->i[AFTER] ? c->i[BEFORE] : c->i[AFTER];
    return !c->i[REFLECT] || most / c->i[UP] < size;
}

static void infer(dfx_call *c)
{
    dfx_spec *x = &c->in[X]->spec;
    char shape[DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, X))
        return;
    if (x->rank != 4 || !has_sense(c)) {
        dfx__call_fail(c, "x %s cannot be resampled: [N, H, W, C] is needed, and factors above 0",
                       dfx__shape_text(shape, x->rank, x->dim));
        return;
    }
    for (int axis = 1; axis < 3; axis++) {
        c->out->spec.dim[axis] = size_of(c, x->dim[axis]);
        if (c->out->spec.dim[axis] < 1 || !can_reflect(c, x->dim[axis])) {
            dfx__call_fail(c, "x %s is too small for the filter",
                           dfx__shape_text(shape, x->rank, x->dim));
            return;
        }
    }
}

static double flops(const dfx_call *c)
{
    return 2.0 * (double)(taps_of(c) * taps_of(c)) * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__pixels_kernel(l, "resample", &c->in[X]->spec,
                       c->i[FILTER] == DFX_BOX ? "-DTAPS=2" : "-DTAPS=4");
    dfx__arg_int(l, c->i[UP]);
    dfx__arg_int(l, c->i[DOWN]);
    dfx__arg_int(l, c->i[BEFORE]);
    dfx__arg_int(l, c->i[REFLECT]);
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run_pixel(const dfx_call *c, const dfx__host *h, int64_t row, int64_t column)
{
    const dfx_spec *x = &c->in[X]->spec, *y = &c->out->spec;
    int64_t channels = x->dim[3], first = row / y->dim[1] * x->dim[1];
    for (int64_t k = 0; k < channels; k += DFX__PIECE) {
        float sum[DFX__PIECE] = { 0 }, room[DFX__PIECE];
        size_t n = dfx__piece(channels, k);
        for (int64_t i = 0; i < taps_of(c) * taps_of(c); i++) {
            int64_t ty = i / taps_of(c), tx = i % taps_of(c);
            int64_t iy = source(c, row % y->dim[1], ty, x->dim[1]);
            int64_t ix = source(c, column, tx, x->dim[2]);
            if (iy >= 0 && ix >= 0)
                dfx__piece_add(sum, h->in[X], x->dtype,
                               ((first + iy) * x->dim[2] + ix) * channels + k, n,
                               tap(c, ty) * tap(c, tx));
        }
        int64_t at = (row * y->dim[2] + column) * channels + k;
        float *to = dfx__piece_begin(h->out, y->dtype, at, room);
        memcpy(to, sum, n * sizeof *to);
        dfx__piece_end(h->out, y->dtype, at, n, to);
    }
}

static void run(const dfx_call *c, const dfx__host *h)
{
    dfx__each_pixel(c, h, run_pixel);
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,2,2,3" }, { DFX_BOX, 1, 2, 0, 0, 0 }, { 0 } },
    { { "2,5,7,31" }, { DFX_BOX, 1, 2, 0, 0, 0 }, { 0 } },
    { { "2,9,6,17" }, { DFX_BINOMIAL, 1, 2, 1, 1, 0 }, { 0 } },
    { { "2,9,6,20" }, { DFX_BINOMIAL, 1, 2, 1, 1, 1 }, { 0 } },
    { { "1,3,5,320" }, { DFX_BINOMIAL, 2, 1, 2, 1, 0 }, { 0 } },
    { { "2,3,2,17" }, { DFX_BINOMIAL, 2, 1, 2, 1, 1 }, { 0 } },
    { { "1,6,5,33" }, { DFX_BINOMIAL, 1, 1, 2, 2, 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__resample = { "resample", infer, flops, &cpu, cl, cases, 2 };
