/* depth.h - depth maps as models take them. */
#ifndef DFX_MEDIA_DEPTH_H
#define DFX_MEDIA_DEPTH_H

#include "dfxcl/base.h"

/* `in` [height, width] in any unit, near is large -> `out` [out_height, out_width] in -1..1:
 * torch's bicubic interpolation, then its smallest value becomes -1 and its largest 1. Errors: a
 * map that is the same everywhere, or not finite. */
dfx_status dfx__depth_map(float *out, int out_width, int out_height, const float *in, int width,
                          int height);

#endif
