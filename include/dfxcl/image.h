/* dfxcl/image.h - 8-bit pictures and PNG files. */
#ifndef DFXCL_IMAGE_H
#define DFXCL_IMAGE_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows from the top, pixels interleaved. */
typedef struct {
    int width, height, channels; /* channels: 1 gray, 3 RGB, 4 RGBA */
    uint8_t *pixels;
} dfx_image;

/* A key and its text in a PNG file (tEXt, or iTXt where the text is not Latin-1). */
typedef struct {
    const char *key, *text;
} dfx_image_text;

/* A picture from floats in 0..1, [3, height, width]: clamped, times 255, rounded half to even, as
 * diffusers does. */
DFX_API dfx_status dfx_image_from_floats(dfx_image **out, const float *data, int width, int height);

/* Reads a PNG of any kind (palette, gray, 16-bit, alpha, interlaced) as `channels` 8-bit channels:
 * 3 as PIL's convert("RGB"), 1 as its convert("L"); turned upright where EXIF data says how. Other
 * formats are refused by name. */
DFX_API dfx_status dfx_image_read(dfx_image **out, const char *path, int channels);

/* The gray values of a PNG in its own steps: *out is [height, width], to be freed. They are 0..255
 * or, of 16-bit gray without alpha, 0..65535, which dfx_image_read clips as PIL does. For depth
 * maps. */
DFX_API dfx_status dfx_image_read_levels(float **out, int *width, int *height, const char *path);

/* Writes a PNG, whole (temporary file, then rename) or not at all; "-" is standard output. */
DFX_API dfx_status dfx_image_write(const dfx_image *image, const char *path,
                                   const dfx_image_text *texts, int count);
DFX_API void dfx_image_free(dfx_image *image);

/* How pixels are weighed when a size changes: PIL's filters of these names. */
typedef enum {
    DFX_FILTER_NEAREST,
    DFX_FILTER_BOX,
    DFX_FILTER_BILINEAR,
    DFX_FILTER_BICUBIC,
    DFX_FILTER_LANCZOS
} dfx_image_filter;

/* The picture in another size, byte for byte as the Image.resize of PIL 13. The colours of RGBA are
 * weighed with their alpha. Errors: a size below 1 or too large. */
DFX_API dfx_status dfx_image_resize(dfx_image **out, const dfx_image *image, int width, int height,
                                    dfx_image_filter filter);

/* The text chunks of a PNG file, *count of them; free with dfx_image_texts_free. */
DFX_API dfx_status dfx_image_read_texts(dfx_image_text **out, int *count, const char *path);
DFX_API void dfx_image_texts_free(dfx_image_text *texts, int count);

#ifdef __cplusplus
}
#endif
#endif
