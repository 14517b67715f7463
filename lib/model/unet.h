/* unet.h - the parts of a UNet2DConditionModel: unet_config.c reads its config, unet.c its weights,
 * unet_record.c records it; unet_embed.c, unet_block.c and unet_k.c have its embeddings and blocks.
 */
#ifndef DFX_MODEL_UNET_H
#define DFX_MODEL_UNET_H

#include "model/model.h"
#include "nn/added_attention.h"
#include "nn/attention_block.h"

enum { DFX__UNET_LEVELS = 8, DFX__UNET_LAYERS = 64 };

/* Kinds of blocks, by what follows each resnet. */
enum block_type {
    BLOCK_NONE,    /* mid_block_type null */
    BLOCK_PLAIN,   /* DownBlock2D, UpBlock2D, UNetMidBlock2D */
    BLOCK_CROSS,   /* CrossAttnDownBlock2D ...: a Transformer2DModel */
    BLOCK_SELF,    /* AttnDownBlock2D ...: attention over the pixels */
    BLOCK_RESNET,  /* ResnetDownsampleBlock2D ...: nothing; a resnet changes the size, too */
    BLOCK_SIMPLE,  /* SimpleCrossAttnDownBlock2D ...: attention over pixels and text at once,
                      likewise */
    BLOCK_K,       /* KDownBlock2D ..., of k-diffusion */
    BLOCK_K_CROSS, /* KCrossAttnDownBlock2D ... */
};

/* A block as the config wants it. */
struct block_config {
    enum block_type type;
    int layers, out, groups;
    int heads, head_dim, context; /* of transformers; of other attention; of the text */
    int only_cross, has_sampler;
    int depth[DFX__UNET_LAYERS + 1]; /* of each layer's transformer; -1: not given */
};

struct block {
    enum block_type type;
    int layers;
    int raw_time;                  /* the resnets take the time before its activation */
    dfx__resnet *resnet;           /* one for each layer; mid: one more where there is attention */
    dfx__transformer *transformer; /* these: one for each layer, as the type has it */
    dfx__attention_block *self;
    dfx__added_attention *added;
    struct k_layer *k;
    dfx__conv sampler;           /* to the next level's size; without weight where there is none */
    dfx__resnet *resnet_sampler; /* likewise, NULL */
    int k_sampler;               /* likewise, 0 */
};

/* TimestepEmbedding: two linear layers, and a condition that is added before them. */
struct time_layers {
    dfx__linear_layer linear1, linear2, cond;
    dfx__activation *act, *post; /* post: NULL for none */
};

/* TextTimeEmbedding: attention of the tokens' mean to the tokens, between norms. */
struct text_pool {
    dfx__norm norm1, norm2;
    dfx_weight *position;
    dfx__linear_layer q, k, v, proj;
    int heads;
};

/* How the time is embedded and what is added to it. */
struct embed_config {
    int width, blocks_width; /* of the time; of what blocks get */
    int fourier, flip, pooled_width,
        pool_heads; /* pooled_width: of addition_embed_type text, or 0 */
    enum {
        CLASS_NONE,
        CLASS_IDS,
        CLASS_TIMESTEP,
        CLASS_IDENTITY,
        CLASS_LAYERS,
        CLASS_LINEAR
    } class;
    float freq_shift;
    dfx__activation *act, *post, *last; /* act_fn; timestep_post_act; time_embedding_act_fn */
};

struct dfx__unet {
    dfx__unet_facts facts;
    struct embed_config embed;
    int levels, channels[DFX__UNET_LEVELS];
    struct block_config down_config[DFX__UNET_LEVELS], mid_config, up_config[DFX__UNET_LEVELS];
    int center_input, groups, use_linear, down_padding; /* groups 0: no norm at the end */
    int kernel_in, kernel_out, scale_shift, skip_time_act, text_width, projects_text;
    dfx__cross_norm cross_norm;
    float eps, resnet_scale_factor, mid_scale_factor;

    dfx__conv conv_in, conv_out;
    dfx__norm norm_out;
    dfx_weight *frequency, *class_table;   /* where there are Fourier features; CLASS_IDS */
    struct time_layers time, class, added; /* class: of two types; added: of text_time */
    dfx__linear_layer class_linear, text_proj;
    struct text_pool pool;
    struct block down[DFX__UNET_LEVELS], mid, up[DFX__UNET_LEVELS];
};

static inline int dfx__unet_is_k(enum block_type type)
{
    return type == BLOCK_K || type == BLOCK_K_CROSS;
}

/* The time as blocks take it, [N, blocks_width], before and after the activation; NULL where no
 * block takes it so. */
struct block_time {
    dfx_value *raw, *act;
};

void dfx__unet_read_config(dfx__unet *m, dfx__config *c);

void dfx__unet_embed_load(dfx__unet *m, dfx__loader *l);
struct block_time dfx__unet_embed_record(const dfx__unet *m, const dfx__unet_inputs *in);

/* The layers of a block whose first resnet takes `in` channels; then layer i takes skip[i] more.
 * Its modules are loaded from the walk's path. */
void dfx__unet_block_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                          const struct block_config *c, int in, const int *skip);
void dfx__unet_mid_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                        const struct block_config *c);
void dfx__unet_down_sampler_load(struct block *b, const dfx__unet *m, dfx__loader *l, int channels);
void dfx__unet_up_sampler_load(struct block *b, const dfx__unet *m, dfx__loader *l, int channels);

dfx_value *dfx__unet_layer_record(const struct block *b, int i, dfx_value *x,
                                  struct block_time time, dfx_value *text);
dfx_value *dfx__unet_mid_record(const struct block *b, dfx_value *x, struct block_time time,
                                dfx_value *text);
/* The result as it is where there is no sampler; up: to height x width. */
dfx_value *dfx__unet_down_sampler_record(const struct block *b, dfx_value *x,
                                         struct block_time time);
dfx_value *dfx__unet_up_sampler_record(const struct block *b, dfx_value *x, struct block_time time,
                                       int64_t height, int64_t width);

/* ---- blocks of k-diffusion ---- */

/* Whether an up block with `above` channels at the next level has no skip, but attention to itself
 * (KCrossAttnUpBlock2D's is_first_block). */
int dfx__unet_k_is_first(const struct block_config *c, int above, int blocks_width);
void dfx__unet_k_down_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                           const struct block_config *c, int in);
void dfx__unet_k_up_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                         const struct block_config *c, int above);
dfx_value *dfx__unet_k_layer_record(const struct block *b, int i, dfx_value *x, dfx_value *time,
                                    dfx_value *text);
dfx_value *dfx__unet_k_down_sampler_record(dfx_value *x);
dfx_value *dfx__unet_k_up_sampler_record(dfx_value *x);

dfx_status dfx__unet_forward(const dfx_model *m, dfx__forward *f);

#endif
