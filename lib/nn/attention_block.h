/* attention_block.h - self-attention over the pixels of an image, as in VAEs and in UNets without
 * text (diffusers' Attention with residual_connection, its AttentionBlock before). */
#ifndef DFX_NN_ATTENTION_BLOCK_H
#define DFX_NN_ATTENTION_BLOCK_H

#include "nn/nn.h"

typedef struct {
    dfx__norm norm; /* without scale where there is none */
    dfx__linear_layer to_q, to_k, to_v, to_out;
    int heads;
    float scale, out_scale; /* of scores; 1 / rescale_output_factor */
} dfx__attention_block;

typedef struct {
    int channels;
    int head_dim; /* channels / head_dim heads; 0: one */
    int groups;   /* 0: no norm */
    float eps;
    float out_scale_factor; /* 0: 1 */
} dfx__attention_block_config;

/* Takes the names of files from before 2023 as well: query, key, value, proj_attn. */
void dfx__attention_block_load(dfx__attention_block *m, dfx__loader *l,
                               const dfx__attention_block_config *c);

/* x [N, H, W, C] -> x's shape: (x + attention of its norm) / out_scale_factor */
dfx_value *dfx__attention_block_record(const dfx__attention_block *m, dfx_value *x);

#endif
