/* unet2d.c - UNet2DModel: UNets without text (Ho et al. 2020; Song et al. 2021's NCSN++; Dhariwal &
 * Nichol 2021). */
#include "model/unet2d.h"

#include "nn/activation.h"

#include <math.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 15, MAX_IDS = 1 << 20, MAX_SIDE = 1 << 14 };

static const dfx__config_rule rules[] = {
    { "act_fn", NULL, "the activation of resnets and of the time embedding" },
    { "add_attention", NULL, "attention in the middle" },
    { "attention_head_dim", NULL, "the width of a head; null: one head" },
    { "attn_norm_num_groups", NULL, "groups of the norm before the middle's attention" },
    { "block_out_channels", NULL, "channels of each level" },
    { "center_input_sample", NULL, "takes a sample in 0..1 to -1..1" },
    { "class_embed_type", NULL, "how class labels are embedded" },
    { "down_block_types", NULL, "blocks on the way down" },
    { "downsample_padding", NULL, "padding of samplers on the way down" },
    { "downsample_type", NULL, "samplers on the way down: convolutions or resnets" },
    { "dropout", "*", "of training" },
    { "flip_sin_to_cos", NULL, "cosines come first in the time embedding" },
    { "freq_shift", NULL, "shifts the frequencies of the time embedding" },
    { "in_channels", NULL, "channels of the sample" },
    { "layers_per_block", NULL, "resnets of each level" },
    { "mid_block_scale_factor", NULL, "divides the results of the middle's resnets" },
    { "mid_block_type", NULL, "the block in the middle; null: none" },
    { "norm_eps", NULL, "epsilon of group norms" },
    { "norm_num_groups", NULL, "groups of group norms; null: from the channels" },
    { "num_class_embeds", NULL, "how many class ids there are" },
    { "num_train_timesteps", NULL, "how many timesteps time_embedding_type learned has" },
    { "out_channels", NULL, "channels of the result" },
    { "resnet_time_scale_shift", NULL, "whether the time scales and shifts or is added" },
    { "sample_size", NULL, "the size of pictures where none is asked for" },
    { "time_embedding_dim", NULL, "the width of the time embedding" },
    { "time_embedding_type", NULL, "sinusoids, Fourier features or a table of the time" },
    { "up_block_types", NULL, "blocks on the way up" },
    { "upsample_type", NULL, "samplers on the way up: convolutions or resnets" },
    { NULL, NULL, NULL },
};

static const dfx__unet2d_type types[] = {
    { "DownBlock2D", "UpBlock2D", 0, 0, 0 },
    { "AttnDownBlock2D", "AttnUpBlock2D", 1, 0, 0 },
    { "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D", 0, 0, 1 },
    { "SkipDownBlock2D", "SkipUpBlock2D", 0, 1, 0 },
    { "AttnSkipDownBlock2D", "AttnSkipUpBlock2D", 1, 1, 0 },
};

/* ---- config ---- */

#define DEFAULT_DOWN "[\"DownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\"]"
#define DEFAULT_UP "[\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"]"

/* Which of two words a key has: the first (0) or the second (1). */
static int choice(dfx__config *c, const char *key, const char *first, const char *second)
{
    const char *word = dfx__config_string(c, key, first);
    if (strcmp(word, first) == 0 || strcmp(word, second) == 0)
        return strcmp(word, second) == 0;
    dfx__config_refuse(c, key, "%.60s is not supported (only %s, %s)", word, first, second);
    return 0;
}

static const dfx__unet2d_type *find_type(dfx__config *c, const char *key, int i, int up)
{
    const char *name = dfx__config_string_at(c, key, i);
    if (strncmp(name, "UNetRes", 7) == 0) /* of files from 2022 */
        name += 7;
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        if (strcmp(up ? types[k].up : types[k].down, name) == 0)
            return &types[k];
    dfx__config_refuse(c, key,
                       "%.60s is not supported (only %s: plain, Attn, Skip, AttnSkip, Resnet)",
                       name, up ? "UpBlock2D" : "DownBlock2D");
    return &types[0];
}

static void read_types(dfx__unet2d *m, dfx__config *c, const char *key, int up)
{
    int n = dfx__config_length(c, key, DFX__UNET2D_LEVELS), last = m->levels - 1;
    dfx__config_default(c, key, up ? DEFAULT_UP : DEFAULT_DOWN);
    if (n ? n != m->levels : m->levels != 4)
        dfx__config_refuse(c, key, "it must have an entry for each of block_out_channels");
    for (int i = 0; i < m->levels; i++) {
        dfx__unet2d_block *b = up ? &m->up[i] : &m->down[i];
        b->type = &types[up ? i < last : i > 0];
        if (n == m->levels)
            b->type = find_type(c, key, i, up);
        b->samples = i < last;
    }
}

/* What a block asks of its channels. */
static void check_block(const dfx__unet2d *m, dfx__config *c, const dfx__unet2d_type *t, int level)
{
    int channels = m->channels[level];
    if (!t->skips && (!m->groups || channels % m->groups))
        dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
    if (t->skips && (channels % 4 || (t->attends && channels % 32)))
        dfx__config_refuse(c, "block_out_channels",
                           "blocks with Skip need multiples of 4, with AttnSkip of 32");
    if (t->skips && (m->facts.in_channels != 3 || m->facts.out_channels != 3))
        dfx__config_refuse(c, "in_channels", "blocks with Skip need 3 here and for out_channels");
    if (t->attends && m->head_dim > channels)
        dfx__config_refuse(c, "attention_head_dim", "it is larger than block_out_channels");
}

static void read_levels(dfx__unet2d *m, dfx__config *c)
{
    int n = dfx__config_length(c, "block_out_channels", DFX__UNET2D_LEVELS);
    m->levels = n ? n : 4;
    dfx__config_ints(c, "block_out_channels", m->channels, m->levels, 0, 1, MAX_CHANNELS);
    if (!n)
        memcpy(m->channels, (int[]){ 224, 448, 672, 896 }, 4 * sizeof *m->channels);
    dfx__config_default(c, "block_out_channels", "[224,448,672,896]");
    m->layers = dfx__config_int(c, "layers_per_block", 2, 1, DFX__UNET2D_LAYERS);
    m->facts.multiple = 1 << (m->levels - 1);
    read_types(m, c, "down_block_types", 0);
    read_types(m, c, "up_block_types", 1);
    for (int i = 0; i < m->levels; i++) {
        check_block(m, c, m->down[i].type, i);
        check_block(m, c, m->up[m->levels - 1 - i].type, i);
    }
}

/* Of a norm whose groups follow from its channels. */
static int quarter(int channels)
{
    return channels / 4 < 32 ? channels / 4 : 32;
}

static int groups_of(const dfx__unet2d *m, int channels)
{
    return m->groups ? m->groups : quarter(channels);
}

static void read_middle(dfx__unet2d *m, dfx__config *c)
{
    int channels = m->channels[m->levels - 1], first = m->channels[0];
    m->has_middle = !dfx__config_is_null(c, "mid_block_type");
    choice(c, "mid_block_type", "UNetMidBlock2D", "UNetMidBlock2D");
    m->attends_middle = dfx__config_bool(c, "add_attention", 1);
    m->middle_scale_factor = dfx__config_float(c, "mid_block_scale_factor", 1);
    m->attn_groups = dfx__config_int(c, "attn_norm_num_groups",
                                     m->scale_shift ? 0 : groups_of(m, channels), 1, MAX_CHANNELS);
    if (!isnormal(m->middle_scale_factor))
        dfx__config_refuse(c, "mid_block_scale_factor", "it must not be 0");
    if (m->attn_groups && channels % m->attn_groups)
        dfx__config_refuse(c, "attn_norm_num_groups", "it must divide block_out_channels");
    if (m->head_dim > channels)
        dfx__config_refuse(c, "attention_head_dim", "it is larger than block_out_channels");
    if (!groups_of(m, channels) || channels % groups_of(m, channels) || !groups_of(m, first) ||
        first % groups_of(m, first))
        dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
}

static void read_time(dfx__unet2d *m, dfx__config *c)
{
    const char *type = dfx__config_string(c, "time_embedding_type", "positional");
    m->time_width = dfx__config_int(c, "time_embedding_dim", 4 * m->channels[0], 1, MAX_CHANNELS);
    m->flip = dfx__config_bool(c, "flip_sin_to_cos", 1);
    m->freq_shift = dfx__config_float(c, "freq_shift", 0);
    if (strcmp(type, "fourier") == 0) {
        m->time = DFX__TIME_FOURIER;
    } else if (strcmp(type, "learned") == 0) {
        m->time = DFX__TIME_LEARNED;
        m->facts.timestep_count = dfx__config_int(c, "num_train_timesteps", 0, 1, MAX_IDS);
        if (!m->facts.timestep_count)
            dfx__config_refuse(c, "num_train_timesteps", "learned timesteps need a number");
    } else if (strcmp(type, "positional") != 0) {
        dfx__config_refuse(c, "time_embedding_type",
                           "%.60s is not supported (only positional, fourier, learned)", type);
    }
}

static void read_labels(dfx__unet2d *m, dfx__config *c)
{
    dfx__unet2d_facts *f = &m->facts;
    const char *type = dfx__config_string(c, "class_embed_type", NULL);
    f->label_count = dfx__config_int(c, "num_class_embeds", 0, 1, MAX_IDS);
    f->label_width = m->time_width;
    f->labels = f->label_count ? DFX__LABEL_IDS : DFX__NO_LABELS;
    if (type)
        f->labels = choice(c, "class_embed_type", "timestep", "identity") ? DFX__LABEL_EMBEDDING
                                                                          : DFX__LABEL_TIMES;
}

static void read_config(dfx__unet2d *m, dfx__config *c)
{
    int size[2];
    m->facts.in_channels = dfx__config_int(c, "in_channels", 3, 1, 1024);
    m->facts.out_channels = dfx__config_int(c, "out_channels", 3, 1, 1024);
    dfx__config_ints(c, "sample_size", size, 2, 0, 1, MAX_SIDE);
    m->facts.sample_height = size[0];
    m->facts.sample_width = size[1];
    m->center_input = dfx__config_bool(c, "center_input_sample", 0);
    m->act = dfx__config_activation(c, "act_fn", "silu");
    m->groups = dfx__config_int_or_null(c, "norm_num_groups", 32, 1, MAX_CHANNELS);
    m->head_dim = dfx__config_int_or_null(c, "attention_head_dim", 8, 1, MAX_CHANNELS);
    m->eps = dfx__config_float(c, "norm_eps", 1e-5f);
    m->down_padding = dfx__config_int(c, "downsample_padding", 1, 0, 1);
    m->scale_shift = choice(c, "resnet_time_scale_shift", "default", "scale_shift");
    m->down_resnets = choice(c, "downsample_type", "conv", "resnet");
    m->up_resnets = choice(c, "upsample_type", "conv", "resnet");
    read_levels(m, c);
    read_middle(m, c);
    read_time(m, c);
    read_labels(m, c);
}

/* ---- loading ---- */

static void load_embeddings(dfx__unet2d *m, dfx__loader *l)
{
    int width = m->time_width, first = m->channels[0];
    int in = m->time == DFX__TIME_FOURIER ? 2 * first : first;
    if (m->time == DFX__TIME_FOURIER)
        m->time_proj = dfx__load(l, "time_proj.weight", 1, (int64_t[]){ first });
    else if (m->time == DFX__TIME_LEARNED)
        m->time_proj =
            dfx__load(l, "time_proj.weight", 2, (int64_t[]){ m->facts.timestep_count, first });
    dfx__linear_load(&m->time1, l, "time_embedding.linear_1", in, width, 1);
    dfx__linear_load(&m->time2, l, "time_embedding.linear_2", width, width, 1);
    if (m->facts.labels == DFX__LABEL_IDS) {
        int64_t dim[] = { m->facts.label_count, width };
        m->label_table = dfx__load(l, "class_embedding.weight", 2, dim);
    } else if (m->facts.labels == DFX__LABEL_TIMES) {
        dfx__linear_load(&m->label1, l, "class_embedding.linear_1", in, width, 1);
        dfx__linear_load(&m->label2, l, "class_embedding.linear_2", width, width, 1);
    }
}

/* What all resnets of a block have in common: from `in` to `out` channels, of one size. In blocks
 * with Skip norms have a quarter of their channels as groups, and sums are divided by sqrt(2). */
static dfx__resnet_config resnet_config(const dfx__unet2d *m, const dfx__unet2d_block *b, int in,
                                        int out)
{
    int skips = b->type && b->type->skips;
    return (dfx__resnet_config){
        .in = in,
        .out = out,
        .temb = m->time_width,
        .groups = skips ? quarter(in) : groups_of(m, in),
        .groups_out = skips ? quarter(out) : groups_of(m, out),
        .eps = m->eps,
        .scale_shift = m->scale_shift,
        .out_scale_factor = b == &m->middle ? m->middle_scale_factor
                            : skips         ? sqrtf(2)
                                            : 1,
        .act = m->act,
    };
}

static void load_resnet(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l, int i, int in,
                        int out)
{
    dfx__resnet_config c = resnet_config(m, b, in, out);
    dfx__enter(l, "resnets.%d", i);
    dfx__resnet_load_as(&b->resnet[i], l, &c);
    dfx__leave(l);
}

static void load_attention(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l, int i,
                           int channels, int groups)
{
    dfx__attention_block_config c = { channels, m->head_dim, groups, m->eps,
                                      resnet_config(m, b, channels, channels).out_scale_factor };
    dfx__enter(l, "attentions.%d", i);
    dfx__attention_block_load(&b->attention[i], l, &c);
    dfx__leave(l);
}

static int allocate_block(dfx__unet2d_block *b, dfx__loader *l, int layers, int attentions)
{
    b->layers = layers;
    b->attentions = attentions;
    b->resnet = dfx__loader_alloc(l, (size_t)layers, sizeof *b->resnet);
    b->attention = dfx__loader_alloc(l, (size_t)attentions + 1, sizeof *b->attention);
    return b->resnet && b->attention;
}

static void load_attentions(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l,
                            int channels)
{
    for (int i = 0; i < b->attentions; i++)
        load_attention(m, b, l, i, channels, b->type->skips ? 32 : m->groups);
}

/* The resnet that changes the size at the end of a block. */
static void load_resampler(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l,
                           const char *name, int channels, dfx__resnet_size size)
{
    dfx__resnet_config c = resnet_config(m, b, channels, channels);
    c.size = size;
    c.shortcut = b->type->skips;
    dfx__enter(l, "%s", name);
    dfx__resnet_load_as(&b->resampler, l, &c);
    dfx__leave(l);
}

static void load_down_sampler(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l,
                              int channels)
{
    if (b->type->skips) {
        load_resampler(m, b, l, "resnet_down", channels, DFX__HALVED_FIR);
        dfx__conv_load(&b->skip_conv, l, "skip_conv", 3, channels, 1);
    } else if (b->type->resnets || (b->type->attends && m->down_resnets)) {
        load_resampler(m, b, l, "downsamplers.0", channels, DFX__HALVED);
    } else {
        int pad = m->down_padding;
        dfx__conv_load(&b->conv, l, "downsamplers.0.conv", channels, channels, 3);
        /* padding 0 means one row and column of zeros at the far side only */
        b->conv.options = (dfx_conv2d_options){ 2, 1, 1, pad, pad, 1, 1, 0, 0 };
    }
}

static void load_down(dfx__unet2d *m, dfx__loader *l, int level)
{
    dfx__unet2d_block *b = &m->down[level];
    int in = m->channels[level ? level - 1 : 0], out = m->channels[level];
    if (!allocate_block(b, l, m->layers, b->type->attends ? m->layers : 0))
        return;
    dfx__enter(l, "down_blocks.%d", level);
    for (int i = 0; i < b->layers; i++) {
        load_resnet(m, b, l, i, i ? out : in, out);
    }
    load_attentions(m, b, l, out);
    if (b->samples)
        load_down_sampler(m, b, l, out);
    dfx__leave(l);
}

static void load_middle(dfx__unet2d *m, dfx__loader *l)
{
    dfx__unet2d_block *b = &m->middle;
    int channels = m->channels[m->levels - 1];
    if (!m->has_middle || !allocate_block(b, l, 2, m->attends_middle))
        return;
    dfx__enter(l, "mid_block");
    for (int i = 0; i < 2; i++) {
        load_resnet(m, b, l, i, channels, channels);
    }
    if (b->attentions)
        load_attention(m, b, l, 0, channels, m->attn_groups);
    dfx__leave(l);
}

static void load_up_sampler(const dfx__unet2d *m, dfx__unet2d_block *b, dfx__loader *l,
                            int channels)
{
    if (b->type->skips) {
        load_resampler(m, b, l, "resnet_up", channels, DFX__DOUBLED_FIR);
        dfx__conv_load(&b->skip_conv, l, "skip_conv", channels, 3, 3);
        dfx__norm_load(&b->skip_norm, l, "skip_norm", channels, quarter(channels), m->eps);
    } else if (b->type->resnets || (b->type->attends && m->up_resnets)) {
        load_resampler(m, b, l, "upsamplers.0", channels, DFX__DOUBLED);
    } else {
        dfx__conv_load(&b->conv, l, "upsamplers.0.conv", channels, channels, 3);
    }
}

/* Up block k works at level levels-1-k and takes the skips of that level's down block. */
static void load_up(dfx__unet2d *m, dfx__loader *l, int k)
{
    dfx__unet2d_block *b = &m->up[k];
    const dfx__unet2d_type *t = b->type;
    int level = m->levels - 1 - k, out = m->channels[level];
    int below = m->channels[k ? level + 1 : level]; /* what comes from the block before */
    int above = m->channels[level ? level - 1 : 0]; /* the skip of the block's last layer */
    int layers = m->layers + 1;
    if (!allocate_block(b, l, layers, !t->attends ? 0 : t->skips ? 1 : layers))
        return;
    dfx__enter(l, "up_blocks.%d", k);
    for (int i = 0; i < layers; i++) {
        int from = i ? out : below, skip = i + 1 < layers ? out : above;
        dfx__resnet_config c = resnet_config(m, b, from + skip, out);
        if (t->skips && t->attends) /* diffusers divides only the second number by 4 */
            c.groups = from + skip / 4 < 32 ? from + skip / 4 : 32;
        dfx__enter(l, "resnets.%d", i);
        dfx__resnet_load_as(&b->resnet[i], l, &c);
        dfx__leave(l);
    }
    load_attentions(m, b, l, out);
    if (b->samples)
        load_up_sampler(m, b, l, out);
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    dfx__unet2d *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int first = m->channels[0];
    dfx__conv_load(&m->conv_in, l, "conv_in", m->facts.in_channels, first, 3);
    load_embeddings(m, l);
    for (int i = 0; i < m->levels; i++)
        load_down(m, l, i);
    load_middle(m, l);
    for (int k = 0; k < m->levels; k++)
        load_up(m, l, k);
    dfx__norm_load(&m->norm_out, l, "conv_norm_out", first, groups_of(m, first), m->eps);
    dfx__conv_load(&m->conv_out, l, "conv_out", first, m->facts.out_channels, 3);
    return l->status == DFX_OK ? m : NULL;
}

const dfx__model_class dfx__unet2d_class = { .name = "UNet2DModel",
                                             .basename = "diffusion_pytorch_model",
                                             .build = build,
                                             .forward = dfx__unet2d_forward };
