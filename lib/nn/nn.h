/* nn.h - building blocks: each has a load function, which names, shapes and takes its weights in
 * one pass, and a function that records it. Names are those of diffusers' and transformers'
 * modules. */
#ifndef DFX_NN_NN_H
#define DFX_NN_NN_H

#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/op.h"
#include "weights/weights.h"

/* The walk over a component's weights; the first failure sticks. */
typedef struct {
    dfx__weights *weights;
    const void *random; /* not NULL: `random_bytes` of f16 numbers that every weight is made of, in
                         * place of files, for timing */
    size_t random_bytes;
    dfx__pool *pool;   /* for structs that live as long as the model */
    char path[512];    /* "down_blocks.0.resnets.1." */
    size_t length[16]; /* of the path before each enter */
    int depth;
    dfx_status status;
} dfx__loader;

/* Goes into a module, and out of it again. */
void dfx__enter(dfx__loader *l, const char *name, ...) DFX__PRINTF(2, 3);
void dfx__leave(dfx__loader *l);

/* A weight of the module that the walk is in. Missing, or of another shape: the loader fails with
 * its name and both shapes. */
dfx_weight *dfx__load(dfx__loader *l, const char *name, int rank, const int64_t *dim);

/* Whether a weight of that name, under the walk's path, is in the files. */
int dfx__loader_has(const dfx__loader *l, const char *name);

/* A tensor that old files have and nothing needs: it counts as used. */
void dfx__ignore(dfx__loader *l, const char *name);

/* Zeroed memory of the model; when there is none, the loader fails and NULL comes back. */
void *dfx__loader_alloc(dfx__loader *l, size_t count, size_t size);

/* The value of a weight in x's sequence; NULL where either is. */
dfx_value *dfx__weight_value(dfx_value *x, dfx_weight *w);

/* Enters a block's path while it records; NULL x is allowed. */
void dfx__push_in(dfx_value *x, const char *name, ...) DFX__PRINTF(2, 3);
void dfx__pop_in(dfx_value *x);

/* Layers keep their module's name, a literal, for the paths of errors and profiles. */
typedef struct {
    const char *name;
    dfx_weight *weight, *bias;
} dfx__linear_layer;
void dfx__linear_load(dfx__linear_layer *m, dfx__loader *l, const char *name, int in, int out,
                      int bias);
dfx_value *dfx__linear_record(const dfx__linear_layer *m, dfx_value *x);
dfx_value *dfx__linear_then_record(const dfx__linear_layer *m, dfx_value *x, dfx_epilogue then);

/* dfx_silu, dfx_gelu ...; NULL: none */
typedef dfx_value *dfx__activation(dfx_value *x);
dfx_value *dfx__linear_act_record(const dfx__linear_layer *m, dfx_value *x, dfx__activation *act);

typedef struct {
    const char *name;
    dfx_weight *weight, *bias;
    dfx_conv2d_options options;
} dfx__conv;
/* A convolution with a bias, stride 1, padding that keeps the size (of an even kernel: all but one
 * pixel); change `options` for others. */
void dfx__conv_load(dfx__conv *m, dfx__loader *l, const char *name, int in, int out, int kernel);
void dfx__conv_without_bias_load(dfx__conv *m, dfx__loader *l, const char *name, int in, int out,
                                 int kernel);
dfx_value *dfx__conv_record(const dfx__conv *m, dfx_value *x);
dfx_value *dfx__conv_then_record(const dfx__conv *m, dfx_value *x, dfx_epilogue then);
/* On x resized to height x width by its nearest pixels. */
dfx_value *dfx__conv_resized_record(const dfx__conv *m, dfx_value *x, int64_t height,
                                    int64_t width);

typedef struct {
    const char *name;
    dfx_weight *scale, *shift;
    int groups;
    float eps;
} dfx__norm;
/* GroupNorm; groups 0: LayerNorm. */
void dfx__norm_load(dfx__norm *m, dfx__loader *l, const char *name, int channels, int groups,
                    float eps);
dfx_value *dfx__norm_record(const dfx__norm *m, dfx_value *x);
/* A GroupNorm and the activation that diffusers puts after it. */
dfx_value *dfx__norm_silu_record(const dfx__norm *m, dfx_value *x);

/* A GroupNorm; scaled and shifted by `by` [N, 2C] as of dfx_group_norm_then, or NULL; then `act`.
 */
dfx_value *dfx__norm_act_record(const dfx__norm *m, dfx_value *x, dfx_value *by,
                                dfx__activation *act);

/* What a resnet does with the size of its image: means of 2x2 pixels and nearest pixels, or filters
 * with [1 3 3 1]. */
typedef enum {
    DFX__KEPT,
    DFX__HALVED,
    DFX__DOUBLED,
    DFX__HALVED_FIR,
    DFX__DOUBLED_FIR
} dfx__resnet_size;

/* ResnetBlock2D: x [N, H, W, in], time [N, temb] as time_emb_proj takes it (after the activation,
 * unless diffusers' skip_time_act is set), or NULL -> [N, H, W, out], or of another size */
typedef struct {
    dfx__norm norm1, norm2;
    dfx__conv conv1, conv2, shortcut; /* shortcut without weight where it is not needed */
    dfx__linear_layer time_proj;
    dfx__activation *act;
    dfx__resnet_size size;
    int scale_shift;
    float out_scale; /* 1 / output_scale_factor */
} dfx__resnet;
typedef struct {
    int in, out, temb, groups; /* temb 0: no time */
    int groups_out;            /* of norm2; 0: groups */
    float eps;
    int scale_shift; /* time_embedding_norm "scale_shift": the time scales and shifts norm2's result
                        instead of being added before it */
    int shortcut;    /* a 1x1 convolution even where in is out */
    dfx__resnet_size size;
    float out_scale_factor; /* 0: 1 */
    dfx__activation *act;   /* NULL: silu */
} dfx__resnet_config;
void dfx__resnet_load_as(dfx__resnet *m, dfx__loader *l, const dfx__resnet_config *c);
/* The usual one: silu, the time added, of one size. */
void dfx__resnet_load(dfx__resnet *m, dfx__loader *l, int in, int out, int temb, int groups,
                      float eps);
dfx_value *dfx__resnet_record(const dfx__resnet *m, dfx_value *x, dfx_value *time);
/* One of DFX__DOUBLED to height x width instead of twice the size. */
dfx_value *dfx__resnet_resized_record(const dfx__resnet *m, dfx_value *x, dfx_value *time,
                                      int64_t height, int64_t width);

/* Attention of diffusers: x [N, T, C], context [N, S, D] or NULL for self-attention, added to
 * residual [N, T, C] */
typedef struct {
    dfx__linear_layer to_q, to_k, to_v, to_out;
    int heads;
    float scale;
} dfx__attention_layer;
/* bias: of queries, keys and values */
void dfx__attention_load(dfx__attention_layer *m, dfx__loader *l, int channels, int context,
                         int heads, int bias);
dfx_value *dfx__attention_record(const dfx__attention_layer *m, dfx_value *x, dfx_value *context,
                                 dfx_value *residual);

/* Joins a [N, S, C] and b [N, T, C] -> [N, S + T, C] */
dfx_value *dfx__concat_tokens(dfx_value *a, dfx_value *b);

/* BasicTransformerBlock: self-attention, cross-attention, GEGLU feed-forward, each on a LayerNorm
 * and added to x. only_cross: the first attention is over the context too. */
typedef struct {
    dfx__norm norm1, norm2, norm3;
    dfx__attention_layer attn1, attn2;
    dfx__linear_layer ff_in, ff_out;
    int only_cross;
} dfx__transformer_block;

/* Transformer2DModel: x [N, H, W, C], text [N, S, D] -> [N, H, W, C] */
typedef struct {
    dfx__norm norm;
    dfx__conv conv_in, conv_out; /* 1x1, unless use_linear */
    dfx__linear_layer linear_in, linear_out;
    int use_linear, layers;
    dfx__transformer_block *block;
} dfx__transformer;
typedef struct {
    int channels, context, heads, layers, groups, use_linear, only_cross;
} dfx__transformer_config;
void dfx__transformer_load(dfx__transformer *m, dfx__loader *l, const dfx__transformer_config *c);
dfx_value *dfx__transformer_record(const dfx__transformer *m, dfx_value *x, dfx_value *text);

#endif
