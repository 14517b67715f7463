/* image.c - 8-bit pictures in memory. */
#include "media/image.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dfx_status dfx__image_new(dfx_image **out, int width, int height, int channels, const char *where)
{
    if (width < 1 || height < 1 || width > DFX__IMAGE_SIDE || height > DFX__IMAGE_SIDE ||
        (int64_t)width * height > DFX__IMAGE_PIXELS)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: %d x %d pixels; a side is 1 to %d and a picture at most %d pixels",
                         where, width, height, DFX__IMAGE_SIDE, DFX__IMAGE_PIXELS);
    dfx_image *image = dfx__alloc(1, sizeof *image);
    if (!image)
        return dfx__no_memory();
    *image = (dfx_image){ width, height, channels, NULL };
    image->pixels = dfx__alloc((size_t)width * (size_t)height, (size_t)channels);
    if (!image->pixels) {
        free(image);
        return dfx__no_memory();
    }
    *out = image;
    return DFX_OK;
}

void dfx_image_free(dfx_image *image)
{
    if (!image)
        return;
    free(image->pixels);
    free(image);
}

uint8_t dfx__luma(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

dfx_status dfx__image_convert(dfx_image **out, const dfx_image *image, int channels)
{
    size_t n = (size_t)image->width * (size_t)image->height, from = (size_t)image->channels;
    size_t common = (size_t)(channels < image->channels ? channels : image->channels);
    DFX__TRY(dfx__image_new(out, image->width, image->height, channels, "converting a picture"));
    for (size_t i = 0; i < n; i++) {
        const uint8_t *s = image->pixels + i * from;
        uint8_t *d = (*out)->pixels + i * (size_t)channels;
        if (from == 1)
            memset(d, *s, (size_t)channels);
        else if (channels == 1)
            *d = dfx__luma(s);
        else
            memcpy(d, s, common);
        if (channels == 4 && from != 4)
            d[3] = 255;
    }
    return DFX_OK;
}

static uint8_t to_byte(float value)
{
    if (!(value > 0)) /* NaN too */
        return 0;
    return value < 1 ? (uint8_t)rintf(value * 255.0f) : 255;
}

dfx_status dfx__image_from_planes(dfx_image **out, const float *data, int channels, int width,
                                  int height)
{
    dfx_image *image;
    DFX__TRY(dfx__image_new(&image, width, height, channels, "picture"));
    size_t plane = (size_t)width * (size_t)height, n = (size_t)channels;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < n; c++)
            image->pixels[n * i + c] = to_byte(data[c * plane + i]);
    *out = image;
    return DFX_OK;
}

dfx_status dfx_image_from_floats(dfx_image **out, const float *data, int width, int height)
{
    return dfx__image_from_planes(out, data, 3, width, height);
}
