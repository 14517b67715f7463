/* max_pool2d.c - the largest of a window of pixels; its kernel is cl/max_pool2d.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { X };
enum { KERNEL, STRIDE, TOP, LEFT, BOTTOM, RIGHT };
enum { MAX_SIDE = 64 };

dfx_value *dfx_max_pool2d(dfx_value *x, const dfx_max_pool2d_options *o)
{
    return dfx__record(&dfx__max_pool2d, DFX__IN(x),
                       DFX__INTS(o->kernel, o->stride, o->top, o->left, o->bottom, o->right),
                       DFX__FLOATS(0));
}

static int has_sense(const dfx_call *c)
{
    int good = c->i[KERNEL] >= 1 && c->i[KERNEL] <= MAX_SIDE && c->i[STRIDE] >= 1 &&
               c->i[STRIDE] <= MAX_SIDE;
    for (int i = TOP; i <= RIGHT; i++)
        good = good && c->i[i] >= 0 && c->i[i] <= MAX_SIDE;
    return good;
}

static int64_t size_of(const dfx_call *c, int64_t size, int before, int after)
{
    int64_t room = size + c->i[before] + c->i[after] - c->i[KERNEL];
    return room < 0 ? 0 : room / c->i[STRIDE] + 1;
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    char shape[DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, X))
        return;
    if (x->rank != 4 || !has_sense(c)) {
        dfx__call_fail(c, "x %s cannot be pooled: [N, H, W, C] is needed, a kernel and a stride",
                       dfx__shape_text(shape, x->rank, x->dim));
        return;
    }
    c->out->spec.dim[1] = size_of(c, x->dim[1], TOP, BOTTOM);
    c->out->spec.dim[2] = size_of(c, x->dim[2], LEFT, RIGHT);
    if (c->out->spec.dim[1] < 1 || c->out->spec.dim[2] < 1)
        dfx__call_fail(c, "x %s is smaller than the kernel",
                       dfx__shape_text(shape, x->rank, x->dim));
}

static double flops(const dfx_call *c)
{
    return (double)(c->i[KERNEL] * c->i[KERNEL]) * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__pixels_kernel(l, "max_pool2d", &c->in[X]->spec, "");
    dfx__arg_int(l, c->i[KERNEL]);
    dfx__arg_int(l, c->i[STRIDE]);
    dfx__arg_int(l, c->i[TOP]);
    dfx__arg_int(l, c->i[LEFT]);
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

/* Raises most to the n numbers from `at`; those of a pixel beyond the edge are zeros. */
static void take_pixel(float *most, const dfx__host *h, dfx_dtype dtype, int64_t at, size_t n,
                       int inside, int first)
{
    float room[DFX__PIECE] = { 0 };
    const float *x = inside ? dfx__piece_load(h->in[X], dtype, at, n, room) : room;
    for (size_t i = 0; i < n; i++)
        most[i] = first || x[i] > most[i] ? x[i] : most[i];
}

static void run_pixel(const dfx_call *c, const dfx__host *h, int64_t row, int64_t column)
{
    const dfx_spec *x = &c->in[X]->spec, *y = &c->out->spec;
    int64_t channels = x->dim[3], image = row / y->dim[1] * x->dim[1];
    int64_t top = row % y->dim[1] * c->i[STRIDE] - c->i[TOP];
    int64_t left = column * c->i[STRIDE] - c->i[LEFT];
    for (int64_t k = 0; k < channels; k += DFX__PIECE) {
        float room[DFX__PIECE];
        size_t n = dfx__piece(channels, k);
        int64_t at = (row * y->dim[2] + column) * channels + k;
        float *most = dfx__piece_begin(h->out, y->dtype, at, room);
        for (int64_t i = 0; i < c->i[KERNEL] * c->i[KERNEL]; i++) {
            int64_t iy = top + i / c->i[KERNEL], ix = left + i % c->i[KERNEL];
            int inside = iy >= 0 && iy < x->dim[1] && ix >= 0 && ix < x->dim[2];
            take_pixel(most, h, x->dtype, ((image + iy) * x->dim[2] + ix) * channels + k, n, inside,
                       i == 0);
        }
        dfx__piece_end(h->out, y->dtype, at, n, most);
    }
}

static void run(const dfx_call *c, const dfx__host *h)
{
    dfx__each_pixel(c, h, run_pixel);
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,2,2,3" }, { 2, 2, 0, 0, 0, 0 }, { 0 } },
    { { "2,5,7,31" }, { 3, 2, 1, 1, 1, 1 }, { 0 } },
    { { "2,6,9,64" }, { 3, 2, 0, 0, 1, 1 }, { 0 } },
    { { "1,4,5,320" }, { 3, 1, 2, 0, 0, 2 }, { 0 } },
    { { "3,9,4,1" }, { 2, 3, 0, 1, 0, 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__max_pool2d = { "max_pool2d", infer, flops, &cpu, cl, cases, 1 };
