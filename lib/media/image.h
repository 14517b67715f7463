/* image.h - making pictures, for what reads or draws them. */
#ifndef DFX_MEDIA_IMAGE_H
#define DFX_MEDIA_IMAGE_H

#include "dfxcl/image.h"

/* The largest pictures, in pixels: one side, and the whole. */
enum { DFX__IMAGE_SIDE = 32768, DFX__IMAGE_PIXELS = 1 << 27 };

/* A black picture. `path` or another word for its source stands in errors. */
dfx_status dfx__image_new(dfx_image **out, int width, int height, int channels, const char *where);

/* dfx_image_from_floats of 1 or 3 channels. */
dfx_status dfx__image_from_planes(dfx_image **out, const float *data, int channels, int width,
                                  int height);

/* Whole pixels of a picture: left, top, right (behind the last), bottom. */
typedef struct {
    int x0, y0, x1, y1;
} dfx__region;

/* A gray copy (PIL's luma), an RGB copy (gray repeated, alpha dropped) or an RGBA copy (opaque). */
dfx_status dfx__image_convert(dfx_image **out, const dfx_image *image, int channels);

/* ITU-R 601 luma in 16-bit fixed point, as PIL's. */
uint8_t dfx__luma(const uint8_t *rgb);

/* dfx_image_resize of a part of the picture, as PIL's resize with box=. A part without height or
 * width is the line at its place. */
dfx_status dfx__image_resize_part(dfx_image **out, const dfx_image *image, const dfx__region *part,
                                  int width, int height, dfx_image_filter filter);

/* a * b / 255, rounded: a colour times its alpha (PIL's RGBA to RGBa); and the colour again. */
uint8_t dfx__premultiply(uint8_t color, uint8_t alpha);
uint8_t dfx__unpremultiply(uint8_t color, uint8_t alpha);

/* Lays `from` over `to` with its corner at x, y, which may lie outside; both have as many channels.
 */
void dfx__image_paste(dfx_image *to, const dfx_image *from, int x, int y);

/* A part of the picture; black where it reaches beyond. */
dfx_status dfx__image_crop(dfx_image **out, const dfx_image *image, const dfx__region *part);

/* The picture in its own shape (Lanczos) in the middle of a frame: fill makes it fit and fills the
 * margins with its border's colours, cover cuts off what stands over. diffusers' resize_mode "fill"
 * and "crop". */
dfx_status dfx__image_fill(dfx_image **out, const dfx_image *image, int width, int height);
dfx_status dfx__image_cover(dfx_image **out, const dfx_image *image, int width, int height);

#endif
