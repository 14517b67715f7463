/* parts.h - coding part by part, each in tiles, where an autoencoder does not fit as a whole. */
#ifndef DFX_PIPELINE_PARTS_H
#define DFX_PIPELINE_PARTS_H

#include "pipeline/coder.h"

/* Pixels that tiles of a part overlap by: twice what a part sees around one, and one to be even. */
enum { DFX__PARTS_OVERLAP = 8 };

/* Whether the coder's model can be taken apart. */
int dfx__parts_possible(const dfx__coder *c);

/* Whether it fits in tiles of at most so many pixels a side, of any part's input. *more becomes
 * what there is more to compute than for the whole, as a part of it. Errors: DFX_ERROR_MEMORY, and
 * those of preparing. */
dfx_status dfx__parts_try(const dfx__coder *c, int tile, double *more);

/* Codes one picture. The result is that of the whole, but for rounding: a tile is wider by what a
 * part sees around it, and norms take the moments of the whole, which a pass of its own finds. The
 * whole values lie on the host. */
dfx_status dfx__parts_run(dfx__coder *c, int tile, float *out);

#endif
