/* unet.c - UNet2DConditionModel (Ronneberger et al. 2015; Rombach et al. 2022). */
#include "model/unet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 15, MAX_LAYERS = 64 };

/* Keys that other UNets of this class use; here they must have the value that switches them off. */
static const dfx__config_rule rules[] = {
    { "act_fn", "\"silu\"" },
    { "addition_embed_type_num_heads", "*" },
    { "addition_time_embed_dim", "*" }, /* read where addition_embed_type needs it */
    { "attention_type", "\"default\"" },
    { "class_embed_type", "null" },
    { "class_embeddings_concat", "false" },
    { "cross_attention_norm", "null" },
    { "dropout", "*" },
    { "dual_cross_attention", "false" },
    { "encoder_hid_dim", "null" },
    { "encoder_hid_dim_type", "null" },
    { "mid_block_only_cross_attention", "*" }, /* UNetMidBlock2DCrossAttn does not look at it */
    { "num_attention_heads", "null" },
    { "num_class_embeds", "null" },
    { "projection_class_embeddings_input_dim", "*" }, /* likewise */
    { "resnet_out_scale_factor", "*" }, /* only blocks with resnets as samplers look at it */
    { "resnet_skip_time_act", "false" },
    { "resnet_time_scale_shift", "\"default\"" },
    { "reverse_transformer_layers_per_block", "null" },
    { "time_cond_proj_dim", "null" },
    { "time_embedding_act_fn", "null" },
    { "time_embedding_type", "\"positional\"" },
    { "timestep_post_act", "null" },
    { "upcast_attention", "*" }, /* softmax and sums are in f32 always */
    { NULL, NULL },
};

/* sample_size: null, one number, or [height, width]. */
static void read_sample_size(dfx__unet *m, dfx__config *c)
{
    int size[2];
    if (json_object_is_type(json_object_object_get(c->json, "sample_size"), json_type_array))
        dfx__config_ints(c, "sample_size", size, 2, 64, 1, 1 << 16);
    else
        size[0] = size[1] = dfx__config_int(c, "sample_size", 64, 1, 1 << 16);
    m->facts.sample_height = size[0];
    m->facts.sample_width = size[1];
}

/* The levels' block types: which of them have cross-attention. */
static int has_attention(dfx__config *c, const char *key, int i, int levels, const char *plain,
                         const char *cross, int missing)
{
    int n = dfx__config_length(c, key, DFX__UNET_LEVELS);
    char why[160];
    if (n == 0)
        return missing;
    if (n != levels) {
        dfx__config_refuse(c, key, "it must have an entry for each of block_out_channels");
        return 0;
    }
    const char *name = dfx__config_string_at(c, key, i);
    if (strcmp(name, plain) != 0 && strcmp(name, cross) != 0) {
        snprintf(why, sizeof why, "%.60s is not supported (only %s, %s)", name, plain, cross);
        dfx__config_refuse(c, key, why);
    }
    return strcmp(name, cross) == 0;
}

static void read_levels(dfx__unet *m, dfx__config *c)
{
    int n = dfx__config_length(c, "block_out_channels", DFX__UNET_LEVELS);
    m->levels = n ? n : 4;
    dfx__config_ints(c, "block_out_channels", m->channels, m->levels, 0, 1, MAX_CHANNELS);
    if (!n)
        memcpy(m->channels, (int[]){ 320, 640, 1280, 1280 }, 4 * sizeof *m->channels);
    dfx__config_ints(c, "layers_per_block", m->layers, m->levels, 2, 1, MAX_LAYERS);
    dfx__config_ints(c, "transformer_layers_per_block", m->depth, m->levels, 1, 1, MAX_LAYERS);
    /* the number of heads, whatever the key says (diffusers issue 2011) */
    dfx__config_ints(c, "attention_head_dim", m->heads, m->levels, 8, 1, MAX_CHANNELS);
    dfx__config_ints(c, "cross_attention_dim", m->context, m->levels, 1280, 1, MAX_CHANNELS);
    for (int i = 0; i < m->levels; i++) {
        m->down[i].attention = has_attention(c, "down_block_types", i, m->levels, "DownBlock2D",
                                             "CrossAttnDownBlock2D", i + 1 < m->levels);
        m->up[i].attention = has_attention(c, "up_block_types", i, m->levels, "UpBlock2D",
                                           "CrossAttnUpBlock2D", i > 0);
        if (m->context[i] != m->context[0])
            dfx__config_refuse(c, "cross_attention_dim", "different widths are not supported");
        if (m->channels[i] % m->groups)
            dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
    }
    for (int i = 0; i < m->levels; i++)
        if (m->channels[i] % m->heads[i] &&
            (m->down[i].attention || m->up[m->levels - 1 - i].attention || i == m->levels - 1))
            dfx__config_refuse(c, "attention_head_dim",
                               "it is the number of heads and must divide block_out_channels");
}

/* What SDXL adds to the time: a pooled text and sizes, each of these as sinusoids. */
static void read_added(dfx__unet *m, dfx__config *c)
{
    const char *type = dfx__config_string(c, "addition_embed_type", NULL);
    char why[160];
    if (!type)
        return;
    if (strcmp(type, "text_time") != 0) {
        snprintf(why, sizeof why, "%.60s is not supported (only null, text_time)", type);
        dfx__config_refuse(c, "addition_embed_type", why);
        return;
    }
    int size = dfx__config_int(c, "addition_time_embed_dim", 0, 1, MAX_CHANNELS);
    int all = dfx__config_int(c, "projection_class_embeddings_input_dim", 0, 1, MAX_CHANNELS);
    if (size < 2 || size % 2)
        dfx__config_refuse(c, "addition_time_embed_dim", "text_time needs an even number over 0");
    if (all <= size)
        dfx__config_refuse(c, "projection_class_embeddings_input_dim",
                           "text_time needs more than addition_time_embed_dim");
    m->facts.size_width = size;
    m->facts.added_width = all;
}

static void read_config(dfx__unet *m, dfx__config *c)
{
    m->facts.in_channels = dfx__config_int(c, "in_channels", 4, 1, 1024);
    m->facts.out_channels = dfx__config_int(c, "out_channels", 4, 1, 1024);
    m->center_input = dfx__config_bool(c, "center_input_sample", 0);
    m->flip = dfx__config_bool(c, "flip_sin_to_cos", 1);
    m->freq_shift = dfx__config_float(c, "freq_shift", 0);
    m->groups = dfx__config_int(c, "norm_num_groups", 32, 1, MAX_CHANNELS);
    m->eps = dfx__config_float(c, "norm_eps", 1e-5f);
    m->use_linear = dfx__config_bool(c, "use_linear_projection", 0);
    m->down_padding = dfx__config_int(c, "downsample_padding", 1, 0, 1);
    m->mid_scale = 1 / dfx__config_float(c, "mid_block_scale_factor", 1);
    m->kernel_in = dfx__config_int(c, "conv_in_kernel", 3, 1, 31);
    m->kernel_out = dfx__config_int(c, "conv_out_kernel", 3, 1, 31);
    read_sample_size(m, c);
    read_levels(m, c);
    read_added(m, c);
    dfx__config_bools(c, "only_cross_attention", m->only_cross, m->levels, 0);
    m->time_width = dfx__config_int(c, "time_embedding_dim", 4 * m->channels[0], 1, MAX_CHANNELS);
    m->facts.context = m->context[0];
    if (!isfinite(m->mid_scale))
        dfx__config_refuse(c, "mid_block_scale_factor", "it must not be 0");
    /* null has a meaning of its own here: no such block */
    const char *mid = dfx__config_string(c, "mid_block_type", "");
    if (json_object_object_get_ex(c->json, "mid_block_type", NULL) &&
        strcmp(mid, "UNetMidBlock2DCrossAttn") != 0)
        dfx__config_refuse(c, "mid_block_type", "only UNetMidBlock2DCrossAttn is supported");
}

static void load_embeddings(dfx__unet *m, dfx__loader *l)
{
    int width = m->time_width, added = m->facts.added_width;
    dfx__linear_load(&m->time1, l, "time_embedding.linear_1", m->channels[0], width, 1);
    dfx__linear_load(&m->time2, l, "time_embedding.linear_2", width, width, 1);
    if (added) {
        dfx__linear_load(&m->added1, l, "add_embedding.linear_1", added, width, 1);
        dfx__linear_load(&m->added2, l, "add_embedding.linear_2", width, width, 1);
    }
}

static void load_resnet(dfx__resnet *r, const dfx__unet *m, dfx__loader *l, int i, int in, int out)
{
    dfx__enter(l, "resnets.%d", i);
    dfx__resnet_load(r, l, in, out, m->time_width, m->groups, m->eps);
    dfx__leave(l);
}

static void load_attention(dfx__transformer *t, const dfx__unet *m, dfx__loader *l, int i,
                           int level, int only_cross)
{
    dfx__transformer_config c = { m->channels[level], m->context[level], m->heads[level],
                                  m->depth[level],    m->groups,         m->use_linear,
                                  only_cross };
    dfx__enter(l, "attentions.%d", i);
    dfx__transformer_load(t, l, &c);
    dfx__leave(l);
}

static int allocate_block(struct block *b, dfx__loader *l, int layers)
{
    b->layers = layers;
    b->resnet = dfx__loader_alloc(l, (size_t)layers, sizeof *b->resnet);
    b->transformer = dfx__loader_alloc(l, (size_t)layers, sizeof *b->transformer);
    return b->resnet && b->transformer;
}

static void load_down(dfx__unet *m, dfx__loader *l, int level)
{
    struct block *b = &m->down[level];
    int in = m->channels[level ? level - 1 : 0], out = m->channels[level];
    if (!allocate_block(b, l, m->layers[level]))
        return;
    dfx__enter(l, "down_blocks.%d", level);
    for (int i = 0; i < b->layers; i++) {
        load_resnet(&b->resnet[i], m, l, i, i ? out : in, out);
        if (b->attention)
            load_attention(&b->transformer[i], m, l, i, level, m->only_cross[level]);
    }
    if (level + 1 < m->levels) {
        int pad = m->down_padding;
        dfx__conv_load(&b->sampler, l, "downsamplers.0.conv", out, out, 3);
        /* padding 0 means one row and column of zeros at the far side only */
        b->sampler.options = (dfx_conv2d_options){ 2, 1, 1, pad, pad, 1, 1, 0, 0 };
    }
    dfx__leave(l);
}

static void load_mid(dfx__unet *m, dfx__loader *l)
{
    int last = m->levels - 1, channels = m->channels[last];
    struct block *b = &m->mid;
    if (!allocate_block(b, l, 2))
        return;
    dfx__enter(l, "mid_block");
    for (int i = 0; i < 2; i++) {
        load_resnet(&b->resnet[i], m, l, i, channels, channels);
        b->resnet[i].out_scale = m->mid_scale;
    }
    load_attention(&b->transformer[0], m, l, 0, last, 0);
    dfx__leave(l);
}

/* Up block k works at level levels-1-k and takes the skips of that level's down block. */
static void load_up(dfx__unet *m, dfx__loader *l, int k)
{
    struct block *b = &m->up[k];
    int level = m->levels - 1 - k, out = m->channels[level];
    int below = m->channels[k ? level + 1 : level]; /* what comes from the block before */
    int above = m->channels[level ? level - 1 : 0]; /* the skip of the block's last layer */
    if (!allocate_block(b, l, m->layers[level] + 1))
        return;
    dfx__enter(l, "up_blocks.%d", k);
    for (int i = 0; i < b->layers; i++) {
        int skip = i + 1 < b->layers ? out : above;
        load_resnet(&b->resnet[i], m, l, i, (i ? out : below) + skip, out);
        if (b->attention)
            load_attention(&b->transformer[i], m, l, i, level, m->only_cross[level]);
    }
    if (level > 0)
        dfx__conv_load(&b->sampler, l, "upsamplers.0.conv", out, out, 3);
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    dfx__unet *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int first = m->channels[0];
    dfx__conv_load(&m->conv_in, l, "conv_in", m->facts.in_channels, first, m->kernel_in);
    load_embeddings(m, l);
    for (int i = 0; i < m->levels; i++)
        load_down(m, l, i);
    load_mid(m, l);
    for (int k = 0; k < m->levels; k++)
        load_up(m, l, k);
    dfx__norm_load(&m->norm_out, l, "conv_norm_out", first, m->groups, m->eps);
    dfx__conv_load(&m->conv_out, l, "conv_out", first, m->facts.out_channels, m->kernel_out);
    return l->status == DFX_OK ? m : NULL;
}

const dfx__model_class dfx__unet_class = { "UNet2DConditionModel", "diffusion_pytorch_model", build,
                                           dfx__unet_forward, NULL };
