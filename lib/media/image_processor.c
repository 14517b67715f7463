/* image_processor.c - pictures as the floats that models take. */
#include "media/image_processor.h"

#include "core/memory.h"
#include "core/status.h"

#include <string.h>

dfx__image_processor dfx__init_image_processor(int factor)
{
    return (dfx__image_processor){ .filter = DFX_FILTER_LANCZOS, .factor = factor, .normalize = 1 };
}

dfx__image_processor dfx__mask_processor(int factor)
{
    return (dfx__image_processor){
        .filter = DFX_FILTER_LANCZOS, .factor = factor, .gray = 1, .binarize = 1
    };
}

static dfx_status choose_sides(int *width, int *height, const dfx_image *image, int factor,
                               const char *name)
{
    int w = *width ? *width : image->width, h = *height ? *height : image->height;
    *width = w - w % factor;
    *height = h - h % factor;
    if (*width > 0 && *height > 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %d x %d pixels; the model needs %d x %d at least",
                     name, w, h, factor, factor);
}

/* Interleaved bytes -> planes of floats. */
static void to_floats(float *out, const dfx_image *image, const dfx__image_processor *processor)
{
    size_t n = (size_t)image->width * (size_t)image->height, channels = (size_t)image->channels;
    for (size_t i = 0; i < n * channels; i++) {
        float v = (float)image->pixels[i] / 255.0f;
        if (processor->normalize)
            v = 2 * v - 1;
        if (processor->binarize)
            v = v < 0.5f ? 0 : 1;
        out[i % channels * n + i / channels] = v;
    }
}

static dfx_status resize(dfx_image **out, const dfx_image *image, int width, int height,
                         const dfx__image_processor *processor)
{
    dfx_image *part;
    if (!processor->crop)
        return dfx_image_resize(out, image, width, height, processor->filter);
    DFX__TRY(dfx__image_crop(&part, image, processor->crop));
    dfx_status status = dfx__image_fill(out, part, width, height);
    dfx_image_free(part);
    return status;
}

dfx_status dfx__image_preprocess(float **out, int *width, int *height, const dfx_image *image,
                                 const dfx__image_processor *processor, const char *name)
{
    dfx_image *resized, *converted = NULL;
    int channels = processor->gray ? 1 : 3;
    DFX__TRY(choose_sides(width, height, image, processor->factor, name));
    DFX__TRY(resize(&resized, image, *width, *height, processor));
    dfx_status status = dfx__image_convert(&converted, resized, channels);
    dfx_image_free(resized);
    if (status == DFX_OK) {
        size_t n = (size_t)*width * (size_t)*height;
        *out = dfx__alloc(n, (size_t)channels * sizeof **out);
        status = *out ? DFX_OK : dfx__no_memory();
        if (status == DFX_OK)
            to_floats(*out, converted, processor);
    }
    dfx_image_free(converted);
    return status;
}
