/* coder.h - an autoencoder's encoder or decoder at work, on a whole picture or on tiles of it. */
#ifndef DFX_PIPELINE_CODER_H
#define DFX_PIPELINE_CODER_H

#include "pipeline/pipeline.h"
#include "pipeline/tiling.h"

typedef struct dfx__coder dfx__coder;
struct dfx__coder {
    dfx_pipeline *p;
    int slot; /* of `vae`, or DFX__PREVIEW */
    const dfx_model *vae;
    dfx__kept *kept;
    dfx_dtype dtype;
    int encodes;
    int masked;                                    /* what is recorded differs by it */
    int height, width;                             /* of a picture's latents */
    int input_height, input_width, input_channels; /* of a picture, or its latents */
    const float *input;                            /* set to run */
    int unit, channels; /* makes [height * unit, width * unit, channels] of it */
    /* Records coding of a tile of so many latents, or all of them. */
    dfx_value *(*record)(const dfx__coder *c, dfx_sequence *s, int height, int width);
    /* Writes the inputs of a tile by dfx__coder_write. */
    dfx_status (*write)(const dfx__coder *c, const dfx__tile *t);
    /* Whether a value of that shape fits the size of a tile. */
    dfx_status (*check)(const dfx__coder *c, const dfx_spec *has, int height, int width);
    const void *user;
    /* Once prepared: what tiles; of a decoder that is taken apart (parts.h) those of its last part,
     * of so many pixels a side. */
    dfx__tiling tiling;
    int parts_tile; /* 0: it is not taken apart */
    int again;      /* a tile ended the run: all of them are to be coded in another dtype */
};

/* Finds out whether a picture is coded whole, by the pipeline's `tile` and the device's memory,
 * and prepares for it. */
dfx_status dfx__coder_prepare(dfx__coder *c);

/* Codes one picture, whose planes `user` has: out [height * unit, width * unit, channels] */
dfx_status dfx__coder_run(dfx__coder *c, float *out);

/* For people. */
const char *dfx__coder_name(const dfx__coder *c);

/* Writes a part of a plane [.., width, channels], in whose elements it is. */
dfx_status dfx__coder_write(const dfx__coder *c, const char *name, const float *plane,
                            const dfx__tile *part, int width, int channels);

#endif
