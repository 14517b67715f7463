/* upsample_nearest.c - resizing an image by its nearest pixels; its kernel is
 * cl/upsample_nearest.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { X };
enum { HEIGHT, WIDTH };

dfx_value *dfx_upsample_nearest(dfx_value *x, int64_t height, int64_t width)
{
    return dfx__record(&dfx__upsample_nearest, DFX__IN(x), DFX__INTS(height, width),
                       DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    dfx__infer_resized(c, X, c->i[HEIGHT], c->i[WIDTH]);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__pixels_kernel(l, "upsample_nearest", &c->in[X]->spec, "");
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    const dfx_spec *x = &c->in[X]->spec;
    int64_t height = c->i[HEIGHT], width = c->i[WIDTH];
    size_t pixel = (size_t)x->dim[3] * dfx_dtype_size(x->dtype);
#pragma omp parallel for
    for (int64_t row = 0; row < x->dim[0] * height; row++) {
        int64_t from = row / height * x->dim[1] + row % height * x->dim[1] / height;
        const char *in = (const char *)h->in[X] + (size_t)(from * x->dim[2]) * pixel;
        char *out = (char *)h->out + (size_t)(row * width) * pixel;
        for (int64_t column = 0; column < width; column++, out += pixel)
            memcpy(out, in + (size_t)(column * x->dim[2] / width) * pixel, pixel);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,1,1,3" }, { 1, 3 }, { 0 } },
    { { "2,3,5,17" }, { 6, 10 }, { 0 } },
    { { "1,7,9,31" }, { 13, 19 }, { 0 } },
    { { "2,5,3,320" }, { 10, 5 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__upsample_nearest = { "upsample_nearest", infer, NULL, &cpu, cl, cases, 0 };
