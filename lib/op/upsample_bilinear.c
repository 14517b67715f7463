/* upsample_bilinear.c - resizing an image between its nearest four pixels; its kernel is
 * cl/upsample_bilinear.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { X };
enum { HEIGHT, WIDTH, ALIGN };

dfx_value *dfx_upsample_bilinear(dfx_value *x, int64_t height, int64_t width, int align_corners)
{
    return dfx__record(&dfx__upsample_bilinear, DFX__IN(x),
                       DFX__INTS(height, width, align_corners != 0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    dfx__infer_resized(c, X, c->i[HEIGHT], c->i[WIDTH]);
}

static double flops(const dfx_call *c)
{
    return 8.0 * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__pixels_kernel(l, "upsample_bilinear", &c->in[X]->spec,
                       c->i[ALIGN] ? "-DALIGN_CORNERS=1" : "");
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

/* Where an output lies among the inputs of its axis: between first and second, so far along. */
struct place {
    int64_t first, second;
    float along;
};

/* As torch has it, in f32: with aligned corners the outermost pixels stay where they are, else the
 * outermost edges do. */
static struct place place_of(const dfx_call *c, int64_t o, int64_t in, int64_t out)
{
    float at;
    if (c->i[ALIGN]) {
        at = out > 1 ? (float)(in - 1) / (float)(out - 1) * (float)o : 0;
    } else {
        at = (float)in / (float)out * ((float)o + 0.5f) - 0.5f;
        at = at < 0 ? 0 : at;
    }
    int64_t first = (int64_t)at < in - 1 ? (int64_t)at : in - 1;
    return (struct place){ first, first < in - 1 ? first + 1 : first, at - (float)first };
}

static void run_pixel(const dfx_call *c, const dfx__host *h, int64_t row, int64_t column)
{
    const dfx_spec *x = &c->in[X]->spec;
    int64_t height = c->i[HEIGHT], width = c->i[WIDTH], channels = x->dim[3];
    struct place y = place_of(c, row % height, x->dim[1], height);
    struct place p = place_of(c, column, x->dim[2], width);
    int64_t image = row / height * x->dim[1];
    int64_t up = (image + y.first) * x->dim[2], down = (image + y.second) * x->dim[2];
    const struct {
        int64_t pixel;
        float factor;
    } part[4] = { { up + p.first, (1 - y.along) * (1 - p.along) },
                  { up + p.second, (1 - y.along) * p.along },
                  { down + p.first, y.along * (1 - p.along) },
                  { down + p.second, y.along * p.along } };
    for (int64_t k = 0; k < channels; k += DFX__PIECE) {
        float room[DFX__PIECE];
        size_t n = dfx__piece(channels, k);
        int64_t at = (row * width + column) * channels + k;
        float *sum = dfx__piece_begin(h->out, x->dtype, at, room);
        memset(sum, 0, n * sizeof *sum);
        for (int i = 0; i < 4; i++)
            dfx__piece_add(sum, h->in[X], x->dtype, part[i].pixel * channels + k, n,
                           part[i].factor);
        dfx__piece_end(h->out, x->dtype, at, n, sum);
    }
}

static void run(const dfx_call *c, const dfx__host *h)
{
    dfx__each_pixel(c, h, run_pixel);
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,1,1,3" }, { 1, 3, 1 }, { 0 } },
    { { "2,3,5,17" }, { 6, 10, 1 }, { 0 } },
    { { "1,7,9,31" }, { 13, 19, 0 }, { 0 } },
    { { "2,5,3,320" }, { 10, 5, 0 }, { 0 } },
    { { "1,12,9,16" }, { 5, 1, 1 }, { 0 } },
    { { "2,12,9,1" }, { 5, 4, 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__upsample_bilinear = { "upsample_bilinear", infer, flops, &cpu, cl, cases, 3 };
