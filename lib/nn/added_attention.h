/* added_attention.h - attention of an image's pixels to a text and to themselves at once
 * (diffusers' AttnAddedKVProcessor; Saharia et al. 2022). */
#ifndef DFX_NN_ADDED_ATTENTION_H
#define DFX_NN_ADDED_ATTENTION_H

#include "nn/nn.h"

typedef enum { DFX__CROSS_NORM_NONE, DFX__CROSS_NORM_LAYER, DFX__CROSS_NORM_GROUP } dfx__cross_norm;
enum { DFX__CROSS_NORM_GROUPS = 32 };

typedef struct {
    dfx__norm norm, norm_cross; /* norm_cross: of the text; without scale where there is none */
    dfx__linear_layer to_q, to_k, to_v, add_k, add_v, to_out; /* to_k without weight: text only */
    int heads;
    float scale;
} dfx__added_attention;

typedef struct {
    int channels, context, head_dim, groups;
    int only_cross; /* the pixels are not attended to */
    dfx__cross_norm cross_norm;
} dfx__added_attention_config;
void dfx__added_attention_load(dfx__added_attention *m, dfx__loader *l,
                               const dfx__added_attention_config *c);

/* x [N, H, W, C], text [N, S, D] -> x + attention of its norm */
dfx_value *dfx__added_attention_record(const dfx__added_attention *m, dfx_value *x,
                                       dfx_value *text);

#endif
