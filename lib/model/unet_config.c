/* unet_config.c - what a UNet2DConditionModel's config.json asks for. */
#include "model/unet.h"
#include "nn/activation.h"

#include <math.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 15, MAX_CLASSES = 1 << 20, K_GROUP = 32 };
enum { DOWN, UP };

static const struct {
    const char *name[2]; /* DOWN, UP */
    enum block_type type;
} block_types[] = {
    { { "DownBlock2D", "UpBlock2D" }, BLOCK_PLAIN },
    { { "CrossAttnDownBlock2D", "CrossAttnUpBlock2D" }, BLOCK_CROSS },
    { { "AttnDownBlock2D", "AttnUpBlock2D" }, BLOCK_SELF },
    { { "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D" }, BLOCK_RESNET },
    { { "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D" }, BLOCK_SIMPLE },
    { { "KDownBlock2D", "KUpBlock2D" }, BLOCK_K },
    { { "KCrossAttnDownBlock2D", "KCrossAttnUpBlock2D" }, BLOCK_K_CROSS },
};

static const char *const default_types[] = {
    "[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\","
    "\"DownBlock2D\"]",
    "[\"UpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"]",
};

/* Entry i of down_block_types or up_block_types; `missing` where the key is. */
static enum block_type read_type(dfx__config *c, int way, int i, int levels,
                                 enum block_type missing)
{
    const char *key = way == DOWN ? "down_block_types" : "up_block_types";
    int n = dfx__config_length(c, key, DFX__UNET_LEVELS);
    dfx__config_default(c, key, default_types[way]);
    if (n == 0)
        return missing;
    if (n != levels) {
        dfx__config_refuse(c, key, "it must have an entry for each of block_out_channels");
        return missing;
    }
    const char *name = dfx__config_string_at(c, key, i);
    const char *bare = strncmp(name, "UNetRes", 7) == 0 ? name + 7 : name;
    for (size_t k = 0; k < sizeof block_types / sizeof *block_types; k++)
        if (strcmp(bare, block_types[k].name[way]) == 0)
            return block_types[k].type;
    dfx__config_refuse(c, key, "%.60s is not supported", name);
    return missing;
}

static enum block_type read_mid_type(dfx__config *c)
{
    const char *name = dfx__config_is_null(c, "mid_block_type")
                           ? ""
                           : dfx__config_string(c, "mid_block_type", "UNetMidBlock2DCrossAttn");
    if (strcmp(name, "UNetMidBlock2DCrossAttn") == 0)
        return BLOCK_CROSS;
    if (strcmp(name, "UNetMidBlock2DSimpleCrossAttn") == 0)
        return BLOCK_SIMPLE;
    if (strcmp(name, "UNetMidBlock2D") == 0)
        return BLOCK_PLAIN;
    if (*name) {
        dfx__config_refuse(c, "mid_block_type", "%.60s is not supported", name);
    }
    return BLOCK_NONE;
}

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

/* Numbers of each level, and of each layer of a level. */
struct levels {
    int layers[DFX__UNET_LEVELS], context[DFX__UNET_LEVELS], only_cross[DFX__UNET_LEVELS];
    int heads[DFX__UNET_LEVELS];
    int down_depth[DFX__UNET_LEVELS][DFX__UNET_LAYERS + 1];
    int up_depth[DFX__UNET_LEVELS][DFX__UNET_LAYERS + 1]; /* by up blocks */
};

static void read_depths(struct levels *v, dfx__config *c, int n)
{
    const char *down = "transformer_layers_per_block";
    const char *up = "reverse_transformer_layers_per_block";
    enum { ROW = DFX__UNET_LAYERS + 1 };
    int nested = dfx__config_int_rows(c, down, v->down_depth[0], n, ROW, 1, 0, DFX__UNET_LAYERS);
    dfx__config_int_rows(c, up, v->up_depth[0], n, ROW, 1, 0, DFX__UNET_LAYERS);
    if (json_object_object_get(c->json, up))
        return;
    if (nested)
        dfx__config_refuse(c, down, "lists in it need reverse_transformer_layers_per_block");
    for (int i = 0; i < n; i++)
        memcpy(v->up_depth[i], v->down_depth[n - 1 - i], sizeof v->up_depth[i]);
}

static void read_levels(struct levels *v, dfx__unet *m, dfx__config *c)
{
    int n = dfx__config_length(c, "block_out_channels", DFX__UNET_LEVELS);
    m->levels = n ? n : 4;
    dfx__config_ints(c, "block_out_channels", m->channels, m->levels, 0, 1, MAX_CHANNELS);
    if (!n)
        memcpy(m->channels, (int[]){ 320, 640, 1280, 1280 }, 4 * sizeof *m->channels);
    dfx__config_default(c, "block_out_channels", "[320,640,1280,1280]");
    dfx__config_ints(c, "layers_per_block", v->layers, m->levels, 2, 1, DFX__UNET_LAYERS);
    /* of transformers the number of heads, whatever the key says (diffusers issue 2011) */
    dfx__config_ints(c, "attention_head_dim", v->heads, m->levels, 8, 1, MAX_CHANNELS);
    dfx__config_ints(c, "cross_attention_dim", v->context, m->levels, 1280, 1, MAX_CHANNELS);
    dfx__config_bools(c, "only_cross_attention", v->only_cross, m->levels, 0);
    read_depths(v, c, m->levels);
}

/* Up blocks take their transformers' heads from the level that they work at, but the size of other
 * heads in the order of the down blocks, as diffusers does. */
static void set_blocks(dfx__unet *m, dfx__config *c, const struct levels *v)
{
    int n = m->levels, last = n - 1;
    const void *only_cross = json_object_object_get(c->json, "only_cross_attention");
    int one_for_all = !json_object_is_type(only_cross, json_type_array);
    for (int i = 0; i < n; i++) {
        enum block_type down = read_type(c, DOWN, i, n, i < last ? BLOCK_CROSS : BLOCK_PLAIN);
        enum block_type up = read_type(c, UP, i, n, i > 0 ? BLOCK_CROSS : BLOCK_PLAIN);
        int level = last - i;
        m->down_config[i] = (struct block_config){
            .type = down,
            .layers = v->layers[i],
            .out = m->channels[i],
            .groups = m->groups,
            .heads = v->heads[i],
            .head_dim = v->heads[i],
            .context = v->context[i],
            .only_cross = v->only_cross[i],
            .has_sampler = i < last,
        };
        m->up_config[i] = (struct block_config){
            .type = up,
            .layers = v->layers[level] + !dfx__unet_is_k(up),
            .out = m->channels[level],
            .groups = m->groups,
            .heads = v->heads[level],
            .head_dim = v->heads[i],
            .context = v->context[level],
            .only_cross = v->only_cross[level],
            .has_sampler = i < last,
        };
        memcpy(m->down_config[i].depth, v->down_depth[i], sizeof v->down_depth[i]);
        memcpy(m->up_config[i].depth, v->up_depth[i], sizeof v->up_depth[i]);
    }
    int channels = m->channels[last], quarter = channels / 4;
    m->mid_config = m->down_config[last];
    m->mid_config.type = read_mid_type(c);
    m->mid_config.layers = m->mid_config.type == BLOCK_CROSS || m->mid_config.type == BLOCK_SIMPLE;
    m->mid_config.only_cross =
        dfx__config_bool(c, "mid_block_only_cross_attention", one_for_all && v->only_cross[0]);
    m->mid_config.groups = m->groups ? m->groups : quarter < 32 ? quarter : 32;
}

/* Blocks of k-diffusion halve and double sides as they are, and reflect one pixel at each edge. */
static void set_multiple(dfx__unet *m)
{
    int halved = m->levels - 1;
    m->facts.multiple = dfx__unet_is_k(m->down_config[0].type) ? 1 << halved : 1;
    m->facts.least = m->facts.multiple > 1 ? 2 * m->facts.multiple : 1;
}

static void check_heads(const struct block_config *b, dfx__config *c)
{
    if (b->type == BLOCK_CROSS && b->out % b->heads)
        dfx__config_refuse(c, "attention_head_dim",
                           "it is the number of heads and must divide block_out_channels");
    if ((b->type == BLOCK_SIMPLE || b->type == BLOCK_K_CROSS) && b->out % b->head_dim)
        dfx__config_refuse(c, "attention_head_dim", "it must divide block_out_channels");
    if (b->type == BLOCK_SELF && b->head_dim > b->out)
        dfx__config_refuse(c, "attention_head_dim", "it is larger than block_out_channels");
}

/* The text's width is one for all blocks; the first that attends to it sets it. */
static void check_context(const struct block_config *b, dfx__unet *m, dfx__config *c)
{
    if (b->type != BLOCK_CROSS && b->type != BLOCK_SIMPLE && b->type != BLOCK_K_CROSS)
        return;
    if (m->text_width && m->text_width != b->context)
        dfx__config_refuse(c, "cross_attention_dim", "different widths are not supported");
    m->text_width = b->context;
    if (b->type != BLOCK_SIMPLE)
        return;
    if (m->cross_norm == DFX__CROSS_NORM_GROUP && b->context % DFX__CROSS_NORM_GROUPS)
        dfx__config_refuse(c, "cross_attention_norm", "group_norm needs 32 groups of the text");
    if (m->cross_norm == DFX__CROSS_NORM_LAYER && b->context != b->out)
        dfx__config_refuse(c, "cross_attention_norm",
                           "layer_norm needs cross_attention_dim to be each of block_out_channels");
}

static void check_block(const struct block_config *b, dfx__unet *m, dfx__config *c)
{
    check_heads(b, c);
    check_context(b, m, c);
    if (b->type == BLOCK_NONE)
        return;
    if (dfx__unet_is_k(b->type)) {
        int groups = b->out / K_GROUP;
        if (!groups || b->out % groups || 2 * b->out % (2 * b->out / K_GROUP))
            dfx__config_refuse(c, "block_out_channels", "these have no groups of 32 or more");
    } else if (!b->groups) {
        dfx__config_refuse(c, "norm_num_groups", "null is for blocks of k-diffusion only");
    } else if (b->out % b->groups) {
        dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
    }
    for (int i = 0; b->type == BLOCK_CROSS && i < b->layers; i++)
        if (b->depth[i] < 0)
            dfx__config_refuse(c, "transformer_layers_per_block", "a list in it is too short");
}

/* Blocks of k-diffusion have other skips than the rest. */
static void check_mixture(const dfx__unet *m, dfx__config *c)
{
    int k = 0;
    for (int i = 0; i < m->levels; i++)
        k += dfx__unet_is_k(m->down_config[i].type) + dfx__unet_is_k(m->up_config[i].type);
    if (k && k != 2 * m->levels)
        dfx__config_refuse(c, "up_block_types", "K blocks do not fit other blocks");
}

static void check_k(const dfx__unet *m, dfx__config *c)
{
    int last = m->levels - 1;
    for (int i = 0; i < m->levels && dfx__unet_is_k(m->up_config[i].type); i++) {
        const struct block_config *b = &m->up_config[i];
        int above = m->channels[i < last ? last - i - 1 : 0];
        int has_skip = i > 0 || m->down_config[last].type == BLOCK_K;
        if (has_skip == dfx__unet_k_is_first(b, above, m->embed.blocks_width))
            dfx__config_refuse(c, "up_block_types", "these K blocks do not fit the down blocks");
        if (b->type == BLOCK_K_CROSS && above % b->head_dim)
            dfx__config_refuse(c, "attention_head_dim", "it must divide block_out_channels");
        if (above % (b->out / K_GROUP ? b->out / K_GROUP : 1))
            dfx__config_refuse(c, "block_out_channels", "these have no groups of 32 or more");
    }
}

static void read_resnets(dfx__unet *m, dfx__config *c)
{
    const char *shift = dfx__config_string(c, "resnet_time_scale_shift", "default");
    int all_k = dfx__unet_is_k(m->down_config[0].type) && m->mid_config.type == BLOCK_NONE;
    m->scale_shift = strcmp(shift, "scale_shift") == 0;
    if (!m->scale_shift && strcmp(shift, "default") != 0 && !all_k) {
        dfx__config_refuse(c, "resnet_time_scale_shift",
                           "%.60s is not supported (only default, scale_shift)", shift);
    }
    m->skip_time_act = dfx__config_bool(c, "resnet_skip_time_act", 0);
    m->resnet_scale_factor = dfx__config_float(c, "resnet_out_scale_factor", 1);
    m->mid_scale_factor = dfx__config_float(c, "mid_block_scale_factor", 1);
    if (!isfinite(1 / m->resnet_scale_factor))
        dfx__config_refuse(c, "resnet_out_scale_factor", "it must not be 0");
    if (!isfinite(1 / m->mid_scale_factor))
        dfx__config_refuse(c, "mid_block_scale_factor", "it must not be 0");
}

static void read_cross_norm(dfx__unet *m, dfx__config *c)
{
    const char *name = dfx__config_string(c, "cross_attention_norm", "");
    if (strcmp(name, "layer_norm") == 0)
        m->cross_norm = DFX__CROSS_NORM_LAYER;
    else if (strcmp(name, "group_norm") == 0)
        m->cross_norm = DFX__CROSS_NORM_GROUP;
    else if (*name)
        dfx__config_refuse(c, "cross_attention_norm", "only null, layer_norm, group_norm");
}

static void read_time(dfx__unet *m, dfx__config *c)
{
    struct embed_config *e = &m->embed;
    const char *type = dfx__config_string(c, "time_embedding_type", "positional");
    e->fourier = strcmp(type, "fourier") == 0;
    if (!e->fourier && strcmp(type, "positional") != 0)
        dfx__config_refuse(c, "time_embedding_type", "only positional, fourier");
    e->flip = dfx__config_bool(c, "flip_sin_to_cos", 1);
    e->freq_shift = dfx__config_float(c, "freq_shift", 0);
    e->width = dfx__config_int(c, "time_embedding_dim", (e->fourier ? 2 : 4) * m->channels[0], 1,
                               4 * MAX_CHANNELS);
    if (e->fourier && e->width % 2)
        dfx__config_refuse(c, "time_embedding_dim", "fourier needs an even number");
    e->act = dfx__config_activation(c, "act_fn", "silu");
    e->post = dfx__config_activation(c, "timestep_post_act", NULL);
    e->last = dfx__config_activation(c, "time_embedding_act_fn", NULL);
    m->facts.cond_width = dfx__config_int(c, "time_cond_proj_dim", 0, 1, MAX_CHANNELS);
}

static void read_class(dfx__unet *m, dfx__config *c)
{
    struct embed_config *e = &m->embed;
    const char *type = dfx__config_string(c, "class_embed_type", "");
    int count = dfx__config_int(c, "num_class_embeds", 0, 1, MAX_CLASSES);
    const char *width_key = "projection_class_embeddings_input_dim";
    e->class = !*type                                   ? (count ? CLASS_IDS : CLASS_NONE)
               : strcmp(type, "timestep") == 0          ? CLASS_TIMESTEP
               : strcmp(type, "identity") == 0          ? CLASS_IDENTITY
               : strcmp(type, "projection") == 0        ? CLASS_LAYERS
               : strcmp(type, "simple_projection") == 0 ? CLASS_LINEAR
                                                        : CLASS_NONE;
    if (*type && e->class == CLASS_NONE) {
        dfx__config_refuse(c, "class_embed_type",
                           "%.60s is not supported (only null, timestep, identity, projection, "
                           "simple_projection)",
                           type);
    }
    m->facts.class_labels = e->class == CLASS_NONE       ? DFX__NO_CLASS
                            : e->class == CLASS_IDS      ? DFX__CLASS_ID
                            : e->class == CLASS_TIMESTEP ? DFX__CLASS_NUMBER
                                                         : DFX__CLASS_VECTOR;
    m->facts.class_count = e->class == CLASS_IDS ? count : 0;
    if (e->class == CLASS_IDENTITY)
        m->facts.class_width = e->width;
    if (e->class == CLASS_LAYERS || e->class == CLASS_LINEAR) {
        m->facts.class_width = dfx__config_int(c, width_key, 0, 1, MAX_CHANNELS);
        if (!m->facts.class_width)
            dfx__config_refuse(c, width_key, "class_embed_type needs it");
    }
    int joined = dfx__config_bool(c, "class_embeddings_concat", 0);
    e->blocks_width = (1 + joined) * e->width;
    if (joined && e->class == CLASS_NONE)
        dfx__config_refuse(c, "class_embeddings_concat", "there are no class embeddings");
}

/* What SDXL adds to the time: a pooled text and sizes, each of these as sinusoids. */
static void read_text_time(dfx__unet *m, dfx__config *c)
{
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

static void read_added(dfx__unet *m, dfx__config *c)
{
    const char *type = dfx__config_string(c, "addition_embed_type", "");
    int heads = dfx__config_int(c, "addition_embed_type_num_heads", 64, 1, MAX_CHANNELS);
    if (strcmp(type, "text_time") == 0) {
        read_text_time(m, c);
    } else if (strcmp(type, "text") == 0) {
        m->embed.pooled_width = m->facts.context;
        m->embed.pool_heads = heads;
        if (m->facts.context % heads)
            dfx__config_refuse(c, "addition_embed_type_num_heads",
                               "it must divide the text's width");
    } else if (*type) {
        dfx__config_refuse(c, "addition_embed_type",
                           "%.60s is not supported (only null, text, text_time)", type);
    }
    if (*type && m->embed.blocks_width != m->embed.width)
        dfx__config_refuse(c, "class_embeddings_concat", "it does not fit addition_embed_type");
}

/* The text that is given, and whether it is projected before blocks attend to it. */
static void read_text(dfx__unet *m, dfx__config *c)
{
    const char *type = dfx__config_string(c, "encoder_hid_dim_type", "");
    int width = dfx__config_int(c, "encoder_hid_dim", 0, 1, MAX_CHANNELS);
    m->projects_text = width != 0;
    m->facts.context = width ? width : m->text_width;
    if (*type && strcmp(type, "text_proj") != 0) {
        dfx__config_refuse(c, "encoder_hid_dim_type",
                           "%.60s is not supported (only null, text_proj)", type);
    } else if (*type && !width) {
        dfx__config_refuse(c, "encoder_hid_dim", "encoder_hid_dim_type needs it");
    }
}

void dfx__unet_read_config(dfx__unet *m, dfx__config *c)
{
    struct levels levels;
    m->facts.in_channels = dfx__config_int(c, "in_channels", 4, 1, 1024);
    m->facts.out_channels = dfx__config_int(c, "out_channels", 4, 1, 1024);
    m->center_input = dfx__config_bool(c, "center_input_sample", 0);
    m->groups = dfx__config_int_or_null(c, "norm_num_groups", 32, 1, MAX_CHANNELS);
    m->eps = dfx__config_float(c, "norm_eps", 1e-5f);
    m->use_linear = dfx__config_bool(c, "use_linear_projection", 0);
    m->down_padding = dfx__config_int(c, "downsample_padding", 1, 0, 1);
    m->kernel_in = dfx__config_int(c, "conv_in_kernel", 3, 1, 31);
    m->kernel_out = dfx__config_int(c, "conv_out_kernel", 3, 1, 31);
    read_sample_size(m, c);
    read_levels(&levels, m, c);
    read_cross_norm(m, c);
    set_blocks(m, c, &levels);
    set_multiple(m);
    check_mixture(m, c);
    read_resnets(m, c);
    for (int i = 0; i < m->levels; i++) {
        check_block(&m->down_config[i], m, c);
        check_block(&m->up_config[i], m, c);
    }
    check_block(&m->mid_config, m, c);
    if (!m->text_width)
        m->text_width = levels.context[0];
    read_time(m, c);
    read_class(m, c);
    check_k(m, c);
    read_text(m, c);
    read_added(m, c);
    if (m->groups && m->channels[0] % m->groups)
        dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
}
