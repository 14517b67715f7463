/* key_map.h - a component's tensor names in the original layout of Stable Diffusion's checkpoints
 * (CompVis, Stability, OpenCLIP) and in Diffusers' folders, in both directions. */
#ifndef DFX_WEIGHTS_KEY_MAP_H
#define DFX_WEIGHTS_KEY_MAP_H

#include "dfxcl/base.h"

typedef enum {
    DFX__LAYOUT_UNET,     /* openaimodel.UNetModel */
    DFX__LAYOUT_VAE,      /* AutoencoderKL of latent diffusion */
    DFX__LAYOUT_CLIP,     /* transformers' CLIPTextModel */
    DFX__LAYOUT_OPEN_CLIP /* open_clip's text tower */
} dfx__layout;

/* What the numbers in names depend on. */
typedef struct {
    dfx__layout layout;
    int levels, layers; /* UNet: of block_out_channels, layers_per_block; VAE likewise; OpenCLIP:
                         * layers of the transformer */
    unsigned attention; /* UNet: bit i: up_blocks.i has attentions */
    int other;          /* Diffusers' side is in its other spelling: an autoencoder's "query" for
                         * "to_q" (before 0.18), a text encoder's names without "text_model." (as
                         * transformers writes from 5.6 on) */
} dfx__key_shape;

enum { DFX__KEY_LEVELS = 8, DFX__KEY_LAYERS = 8, DFX__KEY_DEPTH = 64 };

/* How the original's tensor becomes Diffusers'. */
typedef enum {
    DFX__KEY_SAME,
    DFX__KEY_MATRIX,     /* weights [O, I, 1, 1] become [O, I] */
    DFX__KEY_TRANSPOSED, /* [I, O] becomes [O, I] */
    DFX__KEY_THIRD       /* third `part` of its rows */
} dfx__key_how;

typedef struct {
    char name[256];
    dfx__key_how how;
    int part;
} dfx__key;

typedef struct dfx__key_map dfx__key_map;

/* Errors: DFX_ERROR_UNSUPPORTED (more levels or layers than the enum has), DFX_ERROR_MEMORY. */
dfx_status dfx__key_map_new(dfx__key_map **out, const dfx__key_shape *shape);
void dfx__key_map_free(dfx__key_map *m);

/* Diffusers' names for one of the original, which stands there without the component's prefix.
 * Returns how many there are: 1, 3 of fused projections, 0 for what Diffusers does not have. */
int dfx__key_to_diffusers(const dfx__key_map *m, const char *original, dfx__key to[3]);

/* The original's name for one of Diffusers' in either spelling.
 * Returns 0 for what the original does not have. */
int dfx__key_to_original(const dfx__key_map *m, const char *diffusers, dfx__key *to);

#endif
