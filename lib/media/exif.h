/* exif.h - which way up a picture is. */
#ifndef DFX_MEDIA_EXIF_H
#define DFX_MEDIA_EXIF_H

#include "media/image.h"

#include <stddef.h>

/* The orientation, 1 (upright) to 8, that EXIF data gives; 1 where it gives none. */
int dfx__exif_orientation(const uint8_t *bytes, size_t length);

/* Turns the picture upright, as PIL's ImageOps.exif_transpose; *image becomes another one. */
dfx_status dfx__image_orient(dfx_image **image, int orientation);

#endif
