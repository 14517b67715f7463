/* image.c - 8-bit pictures in memory. */
#include "media/image.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>

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

static uint8_t to_byte(float value)
{
    if (!(value > 0)) /* NaN too */
        return 0;
    return value < 1 ? (uint8_t)rintf(value * 255.0f) : 255;
}

dfx_status dfx_image_from_floats(dfx_image **out, const float *data, int width, int height)
{
    dfx_image *image;
    DFX__TRY(dfx__image_new(&image, width, height, 3, "picture"));
    size_t plane = (size_t)width * (size_t)height;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++)
            image->pixels[3 * i + c] = to_byte(data[c * plane + i]);
    *out = image;
    return DFX_OK;
}
