/* resize.c - pictures in another size, byte for byte as PIL 13 does it.
 *
 * Each output pixel is a weighted sum of input pixels, along rows and along columns, with 8 bits
 * between the two passes and weights in fixed point; nearest is an affine transform. PIL before 13
 * always began with the rows, which changes a value by its rounding, and by more where the first
 * pass overshoots and is clipped. */
#include "media/image.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 8 bits are the pixel's, two are for sums beyond 255 and for the sign. */
enum { FRACTION = 32 - 8 - 2 };

/* The weights of one axis: pixel i sums `count` inputs from `first` on. */
struct taps {
    int size, room; /* output pixels; weights kept for each */
    int *first, *count;
    int32_t *weight;
};

struct kernel {
    double (*at)(double x);
    double support;
};

static double box_at(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double bilinear_at(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys 1981 with a = -1/2 */
static double bicubic_at(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    const double pi = 3.14159265358979323846;
    return x == 0 ? 1 : sin(x * pi) / (x * pi);
}

static double lanczos_at(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct kernel kernels[] = {
    [DFX_FILTER_BOX] = { box_at, 0.5 },
    [DFX_FILTER_BILINEAR] = { bilinear_at, 1 },
    [DFX_FILTER_BICUBIC] = { bicubic_at, 2 },
    [DFX_FILTER_LANCZOS] = { lanczos_at, 3 },
};

static void free_taps(struct taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

static int32_t fixed(double weight)
{
    return (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << FRACTION));
}

/* The taps of output pixel i, whose middle lies at `center` of the input. */
static void fill_taps(struct taps *t, int i, double center, double scale, int in,
                      const struct kernel *k, double *room)
{
    double support = k->support * scale, sum = 0;
    int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    t->first[i] = first;
    t->count[i] = end - first;
    for (int j = 0; j < t->count[i]; j++) {
        room[j] = k->at((j + first - center + 0.5) * (1 / scale));
        sum += room[j];
    }
    for (int j = 0; j < t->count[i]; j++)
        t->weight[(size_t)i * (size_t)t->room + (size_t)j] =
            fixed(sum != 0 ? room[j] / sum : room[j]);
}

/* `in` pixels, of which those from `from` to `to` become `out`. */
static dfx_status make_taps(struct taps *t, int in, int from, int to, int out,
                            const struct kernel *k)
{
    double step = (double)(to - from) / out, scale = step < 1 ? 1 : step;
    *t = (struct taps){ out, (int)ceil(k->support * scale) * 2 + 1, NULL, NULL, NULL };
    t->first = dfx__alloc((size_t)out, sizeof *t->first);
    t->count = dfx__alloc((size_t)out, sizeof *t->count);
    t->weight = dfx__alloc((size_t)out * (size_t)t->room, sizeof *t->weight);
    double *room = dfx__alloc((size_t)t->room, sizeof *room);
    dfx_status status = t->first && t->count && t->weight && room ? DFX_OK : dfx__no_memory();
    for (int i = 0; i < out && status == DFX_OK; i++)
        fill_taps(t, i, from + (i + 0.5) * step, scale, in, k, room);
    free(room);
    if (status != DFX_OK)
        free_taps(t);
    return status;
}

static uint8_t clip(int32_t sum)
{
    sum >>= FRACTION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void resize_rows(dfx_image *to, const dfx_image *from, const struct taps *t)
{
    size_t channels = (size_t)from->channels;
    uint8_t *d = to->pixels;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++) {
            size_t first = (size_t)y * (size_t)from->width + (size_t)t->first[x];
            for (size_t c = 0; c < channels; c++) {
                const int32_t *w = t->weight + (size_t)x * (size_t)t->room;
                const uint8_t *s = from->pixels + first * channels + c;
                int32_t sum = 1 << (FRACTION - 1);
                for (int j = 0; j < t->count[x]; j++, s += channels)
                    sum += *s * w[j];
                *d++ = clip(sum);
            }
        }
}

static void resize_columns(dfx_image *to, const dfx_image *from, const struct taps *t)
{
    size_t row = (size_t)to->width * (size_t)to->channels;
    uint8_t *d = to->pixels;
    for (int y = 0; y < to->height; y++)
        for (size_t x = 0; x < row; x++) {
            const int32_t *w = t->weight + (size_t)y * (size_t)t->room;
            const uint8_t *s = from->pixels + (size_t)t->first[y] * row + x;
            int32_t sum = 1 << (FRACTION - 1);
            for (int j = 0; j < t->count[y]; j++, s += row)
                sum += *s * w[j];
            *d++ = clip(sum);
        }
}

/* Columns come first where the height shrinks by more than twice as many pixels as the width. */
static dfx_status resample(dfx_image **out, const dfx_image *image, const struct taps *across,
                           const struct taps *down)
{
    dfx_image *middle = NULL, *result = NULL;
    int narrower = image->width > across->size ? image->width - across->size : 0;
    int columns_first = image->height - down->size > 2 * narrower;
    int width = columns_first ? image->width : across->size;
    int height = columns_first ? down->size : image->height;
    dfx_status status = dfx__image_new(&middle, width, height, image->channels, "resizing");
    if (status == DFX_OK)
        status = dfx__image_new(&result, across->size, down->size, image->channels, "resizing");
    if (status == DFX_OK && columns_first) {
        resize_columns(middle, image, down);
        resize_rows(result, middle, across);
    } else if (status == DFX_OK) {
        resize_rows(middle, image, across);
        resize_columns(result, middle, down);
    }
    dfx_image_free(middle);
    if (status == DFX_OK)
        *out = result;
    return status;
}

/* Positions are sums, as PIL's are: their rounding decides which neighbour is taken. */
static void nearest(dfx_image *to, const dfx_image *from, const dfx__region *part)
{
    size_t channels = (size_t)from->channels;
    double step_x = (double)(part->x1 - part->x0) / to->width;
    double step_y = (double)(part->y1 - part->y0) / to->height;
    double y_in = part->y0 + step_y * 0.5;
    uint8_t *d = to->pixels;
    for (int y = 0; y < to->height; y++, y_in += step_y) {
        double x_in = part->x0 + step_x * 0.5;
        for (int x = 0; x < to->width; x++, x_in += step_x, d += channels)
            if (x_in >= 0 && x_in < from->width && y_in >= 0 && y_in < from->height)
                memcpy(d,
                       from->pixels +
                           ((size_t)y_in * (size_t)from->width + (size_t)x_in) * channels,
                       channels);
    }
}

static dfx_status resize(dfx_image **out, const dfx_image *image, const dfx__region *part,
                         int width, int height, dfx_image_filter filter)
{
    struct taps across, down;
    if (filter == DFX_FILTER_NEAREST) {
        DFX__TRY(dfx__image_new(out, width, height, image->channels, "resizing"));
        nearest(*out, image, part);
        return DFX_OK;
    }
    DFX__TRY(make_taps(&across, image->width, part->x0, part->x1, width, &kernels[filter]));
    dfx_status status =
        make_taps(&down, image->height, part->y0, part->y1, height, &kernels[filter]);
    if (status == DFX_OK) {
        status = resample(out, image, &across, &down);
        free_taps(&down);
    }
    free_taps(&across);
    return status;
}

uint8_t dfx__premultiply(uint8_t color, uint8_t alpha)
{
    unsigned product = (unsigned)color * alpha + 128;
    return (uint8_t)((product + (product >> 8)) >> 8);
}

uint8_t dfx__unpremultiply(uint8_t color, uint8_t alpha)
{
    if (alpha == 0 || alpha == 255)
        return color;
    unsigned value = 255u * color / alpha;
    return (uint8_t)(value > 255 ? 255 : value);
}

static void change_alpha(dfx_image *to, const dfx_image *from,
                         uint8_t (*change)(uint8_t color, uint8_t alpha))
{
    size_t n = (size_t)from->width * (size_t)from->height;
    for (size_t i = 0; i < 4 * n; i++)
        to->pixels[i] = i % 4 == 3 ? from->pixels[i] : change(from->pixels[i], from->pixels[i | 3]);
}

/* RGBA: transparent pixels have no colour to give. */
static dfx_status resize_alpha(dfx_image **out, const dfx_image *image, const dfx__region *part,
                               int width, int height, dfx_image_filter filter)
{
    dfx_image *weighed;
    DFX__TRY(dfx__image_new(&weighed, image->width, image->height, 4, "resizing"));
    change_alpha(weighed, image, dfx__premultiply);
    dfx_status status = resize(out, weighed, part, width, height, filter);
    dfx_image_free(weighed);
    if (status == DFX_OK)
        change_alpha(*out, *out, dfx__unpremultiply);
    return status;
}

dfx_status dfx__image_resize_part(dfx_image **out, const dfx_image *image, const dfx__region *part,
                                  int width, int height, dfx_image_filter filter)
{
    if (width < 1 || height < 1 || width > DFX__IMAGE_SIDE || height > DFX__IMAGE_SIDE)
        return dfx__fail(DFX_ERROR_ARGUMENT, "resizing to %d x %d pixels: a side is 1 to %d", width,
                         height, DFX__IMAGE_SIDE);
    if (filter < DFX_FILTER_NEAREST || filter > DFX_FILTER_LANCZOS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "resizing: there is no filter %d", (int)filter);
    if (image->channels == 4 && filter != DFX_FILTER_NEAREST)
        return resize_alpha(out, image, part, width, height, filter);
    return resize(out, image, part, width, height, filter);
}

dfx_status dfx_image_resize(dfx_image **out, const dfx_image *image, int width, int height,
                            dfx_image_filter filter)
{
    dfx__region all = { 0, 0, image->width, image->height };
    if (width == image->width && height == image->height)
        return dfx__image_convert(out, image, image->channels);
    return dfx__image_resize_part(out, image, &all, width, height, filter);
}
