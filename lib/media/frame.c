/* frame.c - parts of pictures, and pictures within frames of another shape. */
#include "media/image.h"

#include "core/status.h"

#include <string.h>

static int largest(int a, int b)
{
    return a > b ? a : b;
}

static int smallest(int a, int b)
{
    return a < b ? a : b;
}

void dfx__image_paste(dfx_image *to, const dfx_image *from, int x, int y)
{
    int x0 = largest(x, 0), x1 = smallest(x + from->width, to->width);
    int y0 = largest(y, 0), y1 = smallest(y + from->height, to->height);
    size_t channels = (size_t)to->channels;
    for (int row = y0; row < y1 && x0 < x1; row++)
        memcpy(to->pixels + ((size_t)row * (size_t)to->width + (size_t)x0) * channels,
               from->pixels +
                   ((size_t)(row - y) * (size_t)from->width + (size_t)(x0 - x)) * channels,
               (size_t)(x1 - x0) * channels);
}

dfx_status dfx__image_crop(dfx_image **out, const dfx_image *image, const dfx__region *part)
{
    DFX__TRY(dfx__image_new(out, part->x1 - part->x0, part->y1 - part->y0, image->channels,
                            "cropping a picture"));
    dfx__image_paste(*out, image, -part->x0, -part->y0);
    return DFX_OK;
}

/* A side of the picture when its other one, b, becomes `to`; rounded down. */
static int scaled(int a, int b, int to)
{
    return (int)((int64_t)a * to / b);
}

/* The picture, resized to w x h, in the middle of a black frame; *inner is the resized one. */
static dfx_status in_the_middle(dfx_image **out, dfx_image **inner, const dfx_image *image, int w,
                                int h, int width, int height)
{
    DFX__TRY(dfx_image_resize(inner, image, w, h, DFX_FILTER_LANCZOS));
    dfx_status status = dfx__image_new(out, width, height, image->channels, "framing a picture");
    if (status == DFX_OK)
        dfx__image_paste(*out, *inner, width / 2 - w / 2, height / 2 - h / 2);
    return status;
}

/* A margin of the frame: one border line of the inner picture, spread over width x height. */
static dfx_status fill_margin(dfx_image *frame, const dfx_image *inner, const dfx__region *line,
                              int width, int height, int x, int y)
{
    dfx_image *margin;
    DFX__TRY(dfx__image_resize_part(&margin, inner, line, width, height, DFX_FILTER_BICUBIC));
    dfx__image_paste(frame, margin, x, y);
    dfx_image_free(margin);
    return DFX_OK;
}

/* The margins on both sides, above and below or left and right. */
static dfx_status fill_margins(dfx_image *frame, const dfx_image *inner)
{
    int w = inner->width, h = inner->height;
    int x = frame->width / 2 - w / 2, y = frame->height / 2 - h / 2;
    dfx__region top = { 0, 0, w, 0 }, bottom = { 0, h, w, h };
    dfx__region left = { 0, 0, 0, h }, right = { w, 0, w, h };
    if (y > 0) {
        DFX__TRY(fill_margin(frame, inner, &top, w, y, 0, 0));
        return fill_margin(frame, inner, &bottom, w, y, 0, y + h);
    }
    if (x > 0) {
        DFX__TRY(fill_margin(frame, inner, &left, x, h, 0, 0));
        return fill_margin(frame, inner, &right, x, h, x + w, 0);
    }
    return DFX_OK;
}

dfx_status dfx__image_fill(dfx_image **out, const dfx_image *image, int width, int height)
{
    dfx_image *inner = NULL;
    int64_t frame = (int64_t)width * image->height, own = (int64_t)image->width * height;
    int w = frame < own ? width : scaled(image->width, image->height, height);
    int h = frame < own ? scaled(image->height, image->width, width) : height;
    *out = NULL;
    dfx_status status = in_the_middle(out, &inner, image, w, h, width, height);
    if (status == DFX_OK)
        status = fill_margins(*out, inner);
    dfx_image_free(inner);
    if (status != DFX_OK) {
        dfx_image_free(*out);
        *out = NULL;
    }
    return status;
}

dfx_status dfx__image_cover(dfx_image **out, const dfx_image *image, int width, int height)
{
    dfx_image *inner = NULL;
    int64_t frame = (int64_t)width * image->height, own = (int64_t)image->width * height;
    int w = frame > own ? width : scaled(image->width, image->height, height);
    int h = frame > own ? scaled(image->height, image->width, width) : height;
    dfx_status status = in_the_middle(out, &inner, image, w, h, width, height);
    dfx_image_free(inner);
    return status;
}
