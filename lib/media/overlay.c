/* overlay.c - repainting the part of a picture that a mask selects, and laying it back. */
#include "media/image_processor.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

/* The smallest region that holds all pixels of the mask that are not black. */
static int selected(dfx__region *out, const dfx_image *mask)
{
    *out = (dfx__region){ mask->width, mask->height, 0, 0 };
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++) {
            if (!mask->pixels[(size_t)y * (size_t)mask->width + (size_t)x])
                continue;
            out->x0 = x < out->x0 ? x : out->x0;
            out->x1 = x >= out->x1 ? x + 1 : out->x1;
            out->y0 = y < out->y0 ? y : out->y0;
            out->y1 = y + 1;
        }
    return out->x1 > 0;
}

/* Widens from..to by `more`, half on each side, moved to lie within 0..side. */
static void widen(int *from, int *to, int more, int side)
{
    *from -= more / 2;
    *to += more - more / 2;
    if (*to >= side) {
        *from -= *to - side;
        *to = side;
    }
    if (*from < 0) {
        *to -= *from;
        *from = 0;
    }
    if (*to >= side)
        *to = side;
}

static int padded(int value, int padding, int low, int high)
{
    int64_t sum = (int64_t)value + padding;
    return (int)(sum < low ? low : sum > high ? high : sum);
}

static dfx_status region_of_gray(dfx__region *out, const dfx_image *mask, int width, int height,
                                 int padding)
{
    dfx__region r;
    if (!selected(&r, mask))
        return dfx__fail(DFX_ERROR_ARGUMENT, "the mask is black: it selects nothing to repaint");
    r.x0 = padded(r.x0, -padding, 0, mask->width);
    r.y0 = padded(r.y0, -padding, 0, mask->height);
    r.x1 = padded(r.x1, padding, 0, mask->width);
    r.y1 = padded(r.y1, padding, 0, mask->height);
    double shape = (double)width / height, w = r.x1 - r.x0, h = r.y1 - r.y0;
    if (w / h > shape)
        widen(&r.y0, &r.y1, (int)(w / shape - h), mask->height);
    else
        widen(&r.x0, &r.x1, (int)(h * shape - w), mask->width);
    *out = r;
    return DFX_OK;
}

dfx_status dfx__mask_region(dfx__region *out, const dfx_image *mask, int width, int height,
                            int padding)
{
    dfx_image *gray;
    if (padding < 0 || width < 1 || height < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "padding_mask_crop: %d is negative", padding);
    DFX__TRY(dfx__image_convert(&gray, mask, 1));
    dfx_status status = region_of_gray(out, gray, width, height, padding);
    dfx_image_free(gray);
    return status;
}

/* `init` over one RGB pixel: its colour is kept as far as the mask is black. In steps of 8 bits as
 * PIL's paste, unpremultiply and alpha_composite take them. */
static void blend(uint8_t *rgb, const uint8_t *init, uint8_t mask)
{
    uint8_t alpha = (uint8_t)(255 - mask);
    uint32_t over = alpha * 128u, under = 255u * 128u - over;
    for (int c = 0; alpha && c < 3; c++) {
        uint8_t color = dfx__unpremultiply(dfx__premultiply(init[c], alpha), alpha);
        uint32_t sum = color * over + rgb[c] * under + (128u << 7);
        rgb[c] = (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
    }
}

dfx_status dfx__apply_overlay(dfx_image **out, const dfx_image *mask, const dfx_image *init,
                              const dfx_image *picture, const dfx__region *crop)
{
    dfx_image *part = NULL, *gray = NULL;
    size_t n = (size_t)init->width * (size_t)init->height;
    *out = NULL;
    if (mask->width != init->width || mask->height != init->height)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the mask has %d x %d pixels and the picture %d x %d: cropping to a mask "
                         "needs them equal",
                         mask->width, mask->height, init->width, init->height);
    DFX__TRY(dfx__image_new(out, init->width, init->height, 3, "laying a picture over"));
    dfx_status status = dfx__image_convert(&gray, mask, 1);
    if (status == DFX_OK)
        status = dfx__image_cover(&part, picture, crop->x1 - crop->x0, crop->y1 - crop->y0);
    if (status == DFX_OK) {
        dfx__image_paste(*out, part, crop->x0, crop->y0);
        for (size_t i = 0; i < n; i++)
            blend((*out)->pixels + 3 * i, init->pixels + 3 * i, gray->pixels[i]);
    } else {
        dfx_image_free(*out);
        *out = NULL;
    }
    dfx_image_free(part);
    dfx_image_free(gray);
    return status;
}
