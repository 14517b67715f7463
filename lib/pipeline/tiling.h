/* tiling.h - latents cut into tiles that an autoencoder codes one by one, and their joining. */
#ifndef DFX_PIPELINE_TILING_H
#define DFX_PIPELINE_TILING_H

#include "model/autoencoder.h"

/* A side of the latents in tiles that overlap: one every `step`, the last cut off at the end; or
 * `equal` ones, spread over the side. */
typedef struct {
    int length, tile, step, count, equal;
} dfx__tiled_side;

typedef struct {
    dfx__tiled_side y, x;
    int by_mask; /* joined as AutoencoderTiny does */
} dfx__tiling;

/* In latents. */
typedef struct {
    int y, x, height, width;
} dfx__tile;

/* One tile of all. */
dfx__tiling dfx__tiling_whole(int height, int width);

/* As diffusers cuts after enable_tiling(): tiles of the config's sample_size that overlap by a
 * quarter, or an eighth of 512 pixels of AutoencoderTiny. */
dfx__tiling dfx__tiling_of_diffusers(const dfx__autoencoder_facts *f, int height, int width);

/* Tiles of one shape, spread over the sides so that they overlap by so much at least. */
dfx__tiling dfx__tiling_equal(int height, int width, int tile, int overlap);

/* As many of them, of even sides no larger than they have to be: of at most `tile`, an even one. */
dfx__tiling dfx__tiling_snug(int height, int width, int tile, int overlap);

int dfx__tiling_count(const dfx__tiling *t);
dfx__tile dfx__tiling_at(const dfx__tiling *t, int i); /* row by row */
dfx__tile dfx__tiling_largest(const dfx__tiling *t);

/* Tile i's share of the whole, which has no overlaps: up to their middles. */
dfx__tile dfx__tiling_share(const dfx__tiling *t, int i);

/* What tiles compute beyond the picture, as a part of it. */
double dfx__tiling_excess(const dfx__tiling *t);

/* Codes a tile: out [height * unit, width * unit, channels] */
typedef dfx_status dfx__code_tile(void *user, const dfx__tile *t, float *out);

/* Codes a picture's tiles, those of a shape one after the other, and joins them:
 * out [t->y.length * unit, t->x.length * unit, channels]. `unit`: elements of a latent's side in
 * what is made. */
dfx_status dfx__code_tiles(const dfx__tiling *t, int unit, int channels, dfx__code_tile *code,
                           void *user, float *out);

/* [t->height, t->width, channels] of whole [.., width, channels], in whose elements `t` is. */
void dfx__cut_tile(float *to, const float *whole, const dfx__tile *t, int width, int channels);

#endif
