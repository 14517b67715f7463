/* dpt.h - the parts of a dense prediction transformer: a BiT backbone, and the neck and head that
 * make a depth map of states. */
#ifndef DFX_MODEL_DPT_H
#define DFX_MODEL_DPT_H

#include "model/model.h"

/* ---- BiT (Kolesnikov et al. 2020): ResNetv2 with group norms and standardised weights ---- */

enum { DFX__BIT_STAGES = 3 };

typedef struct dfx__bit dfx__bit;

/* Reads backbone_config of a DPT's config, or DPT's own defaults where there is none. NULL after a
 * failure, which config or loader keep. */
dfx__bit *dfx__bit_new(dfx__config *config, dfx__loader *l);
int dfx__bit_in_channels(const dfx__bit *m);
int dfx__bit_channels(const dfx__bit *m, int stage);

/* The weights, below the walk's path. */
void dfx__bit_load(dfx__bit *m, dfx__loader *l);

/* x [N, H, W, 3] -> each stage's result, [N, H/4, W/4, channels], H/8 and H/16, rounded up */
void dfx__bit_record(const dfx__bit *m, dfx_value *x, dfx_value *stage[DFX__BIT_STAGES]);

/* ---- the neck and the head (Ranftl et al. 2021) ---- */

typedef enum { DFX__READOUT_IGNORE, DFX__READOUT_ADD, DFX__READOUT_PROJECT } dfx__readout;

enum { DFX__DPT_LEVELS = 8 };

typedef struct dfx__dpt_neck dfx__dpt_neck;

typedef struct {
    int images; /* levels from the first on that are the backbone's images, not the encoder's */
    int width;  /* of the encoder's states */
    dfx__activation *act;
} dfx__dpt_states;

/* Reads the keys of neck and head. NULL after a failure, which config or loader keep. */
dfx__dpt_neck *dfx__dpt_neck_new(dfx__config *config, dfx__loader *l,
                                 const dfx__dpt_states *states);
int dfx__dpt_neck_levels(const dfx__dpt_neck *m);
int dfx__dpt_neck_channels(const dfx__dpt_neck *m, int level);
void dfx__dpt_neck_load(dfx__dpt_neck *m, dfx__loader *l);

/* A state for each level: images [N, h, w, channels], then tokens [N, 1 + height width, C]
 * -> a depth map [N, H, W] */
dfx_value *dfx__dpt_neck_record(const dfx__dpt_neck *m, dfx_value *const *state, int64_t height,
                                int64_t width);

#endif
