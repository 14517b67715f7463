/* image.h - making pictures, for what reads or draws them. */
#ifndef DFX_MEDIA_IMAGE_H
#define DFX_MEDIA_IMAGE_H

#include "dfxcl/image.h"

/* The largest pictures, in pixels: one side, and the whole. */
enum { DFX__IMAGE_SIDE = 32768, DFX__IMAGE_PIXELS = 1 << 27 };

/* A black picture. `path` or another word for its source stands in errors. */
dfx_status dfx__image_new(dfx_image **out, int width, int height, int channels, const char *where);

#endif
