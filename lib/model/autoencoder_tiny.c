/* autoencoder_tiny.c - AutoencoderTiny: TAESD, a distilled autoencoder without a distribution
 * (Bohan 2023, github.com/madebyollin/taesd). */
#include "model/autoencoder.h"

#include "nn/activation.h"

#include <math.h>
#include <string.h>

enum { MAX_LEVELS = 8, MAX_CHANNELS = 1 << 15, MAX_BLOCKS = 64 };
enum { TILE = 512 }; /* diffusers', whatever the config has */

/* AutoencoderTinyBlock */
typedef struct {
    dfx__conv conv[3];
} block;

/* Blocks of one size, and the convolution before (of the encoder) or after them. */
typedef struct {
    dfx__conv conv;
    block *blocks;
    int first, count; /* blocks are layers first, first + 1 ... */
} level;

typedef struct {
    int levels, channels, in_channels, out_channels;
    level level[MAX_LEVELS];
    dfx__conv edge; /* the encoder's last, the decoder's first convolution */
} side;

typedef struct {
    dfx__autoencoder_facts facts;
    dfx__activation *act;
    side encoder, decoder;
} autoencoder_tiny;

static const char kept_for_its_own_forward[] = "pipelines neither quantise nor clamp latents";
static const dfx__config_rule rules[] = {
    { "act_fn", NULL, "the activation within blocks and after the decoder's first convolution" },
    { "block_out_channels", NULL, "its length tells pipelines how many levels there are" },
    { "decoder_block_out_channels", NULL, "channels of the decoder's levels" },
    { "encoder_block_out_channels", NULL, "channels of the encoder's levels" },
    { "force_upcast", "*", "f16 holds its activations" },
    { "in_channels", NULL, "channels of a picture" },
    { "latent_channels", NULL, "channels of latents" },
    { "latent_magnitude", "*", kept_for_its_own_forward },
    { "latent_shift", "*", kept_for_its_own_forward },
    { "latents_mean", "null", "its latents are not normalised" },
    { "latents_std", "null", "its latents are not normalised" },
    { "num_decoder_blocks", NULL, "blocks of the decoder's levels" },
    { "num_encoder_blocks", NULL, "blocks of the encoder's levels" },
    { "out_channels", NULL, "channels of the decoder's picture" },
    { "scaling_factor", NULL, "latents of a pipeline are encoded ones times it" },
    { "shift_factor", "*", "pipelines of Stable Diffusion have no use for it" },
    { "upsample_fn", "\"nearest\"", "only nearest: how the decoder enlarges" },
    { "upsampling_scaling_factor", "2", "only 2: by how much it does at each level" },
    { NULL, NULL, NULL },
};

static dfx__autoencoder_facts get_facts(const void *net)
{
    return ((const autoencoder_tiny *)net)->facts;
}

/* ---- config ---- */

/* Both lists of a side; `blocks` are diffusers' of four levels. */
static void read_side(side *s, dfx__config *c, const char *channels_key, const char *blocks_key,
                      const int *blocks, const char *blocks_text)
{
    int n = dfx__config_length(c, channels_key, MAX_LEVELS), channels[MAX_LEVELS];
    int listed = dfx__config_length(c, blocks_key, MAX_LEVELS), count[MAX_LEVELS] = { 0 };
    s->levels = n ? n : 4;
    dfx__config_ints(c, channels_key, channels, s->levels, 64, 1, MAX_CHANNELS);
    if (listed)
        dfx__config_ints(c, blocks_key, count, listed, 0, 0, MAX_BLOCKS);
    else
        memcpy(count, blocks, 4 * sizeof *count);
    dfx__config_default(c, blocks_key, blocks_text);
    if (s->levels != (listed ? listed : 4))
        dfx__config_refuse(c, blocks_key, "it must be as long as %s", channels_key);
    s->channels = channels[0];
    for (int i = 0; i < s->levels; i++) {
        s->level[i].count = count[i];
        if (channels[i] != s->channels)
            dfx__config_refuse(c, channels_key, "all levels must have as many");
    }
}

static void read_config(autoencoder_tiny *m, dfx__config *c)
{
    dfx__autoencoder_facts *f = &m->facts;
    f->in_channels = dfx__config_int(c, "in_channels", 3, 1, 1024);
    f->out_channels = dfx__config_int(c, "out_channels", 3, 1, 1024);
    f->latent_channels = dfx__config_int(c, "latent_channels", 4, 1, 1024);
    f->scaling_factor = dfx__config_float(c, "scaling_factor", 1);
    if (!(f->scaling_factor > 0) || isinf(f->scaling_factor))
        dfx__config_refuse(c, "scaling_factor", "it must be above 0");
    m->act = dfx__config_activation(c, "act_fn", "relu");
    read_side(&m->encoder, c, "encoder_block_out_channels", "num_encoder_blocks",
              (int[]){ 1, 3, 3, 3 }, "[1, 3, 3, 3]");
    read_side(&m->decoder, c, "decoder_block_out_channels", "num_decoder_blocks",
              (int[]){ 3, 3, 3, 1 }, "[3, 3, 3, 1]");
    int n = dfx__config_length(c, "block_out_channels", MAX_LEVELS);
    dfx__config_default(c, "block_out_channels", "as decoder_block_out_channels");
    if (n && n != m->decoder.levels)
        dfx__config_refuse(c, "block_out_channels",
                           "it must be as long as decoder_block_out_channels");
    m->encoder.in_channels = f->in_channels;
    m->encoder.out_channels = m->decoder.in_channels = f->latent_channels;
    m->decoder.out_channels = f->out_channels;
    f->factor = 1 << (m->decoder.levels - 1);
    f->sample_size = TILE;
    f->tiles_by_mask = 1;
}

/* ---- loading ---- */

/* Layers are numbered through, with those that have no weights. */
static void load_conv(dfx__conv *conv, dfx__loader *l, int *layer, int in, int out, int bias)
{
    const char *name = dfx__pool_print(l->pool, "layers.%d", (*layer)++);
    if (!name)
        l->status = dfx__no_memory();
    else if (bias)
        dfx__conv_load(conv, l, name, in, out, 3);
    else
        dfx__conv_without_bias_load(conv, l, name, in, out, 3);
}

static void load_blocks(level *v, dfx__loader *l, int *layer, int channels)
{
    static const char *const name[] = { "conv.0", "conv.2", "conv.4" };
    v->first = *layer;
    v->blocks = dfx__loader_alloc(l, (size_t)v->count, sizeof *v->blocks);
    for (int i = 0; v->blocks && i < v->count; i++) {
        dfx__enter(l, "layers.%d", (*layer)++);
        for (int k = 0; k < 3; k++)
            dfx__conv_load(&v->blocks[i].conv[k], l, name[k], channels, channels, 3);
        dfx__leave(l);
    }
}

static void load_encoder(side *s, dfx__loader *l)
{
    int layer = 0, channels = s->channels;
    dfx__enter(l, "encoder");
    load_conv(&s->level[0].conv, l, &layer, s->in_channels, channels, 1);
    for (int i = 0; i < s->levels; i++) {
        if (i) {
            load_conv(&s->level[i].conv, l, &layer, channels, channels, 0);
            s->level[i].conv.options.stride = 2;
        }
        load_blocks(&s->level[i], l, &layer, channels);
    }
    load_conv(&s->edge, l, &layer, channels, s->out_channels, 1);
    dfx__leave(l);
}

static void load_decoder(side *s, dfx__loader *l)
{
    int layer = 0, channels = s->channels;
    dfx__enter(l, "decoder");
    load_conv(&s->edge, l, &layer, s->in_channels, channels, 1);
    layer++; /* the activation */
    for (int i = 0; i < s->levels; i++) {
        int last = i == s->levels - 1;
        load_blocks(&s->level[i], l, &layer, channels);
        layer += !last; /* the upsampling */
        load_conv(&s->level[i].conv, l, &layer, channels, last ? s->out_channels : channels, last);
    }
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    autoencoder_tiny *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    load_encoder(&m->encoder, l);
    load_decoder(&m->decoder, l);
    return l->status == DFX_OK ? m : NULL;
}

/* ---- recording ---- */

static dfx_value *record_block(const block *b, dfx__activation *act, dfx_value *x)
{
    dfx_value *h = act(dfx__conv_record(&b->conv[0], x));
    h = act(dfx__conv_record(&b->conv[1], h));
    return dfx_relu(dfx__conv_then_record(&b->conv[2], h, (dfx_epilogue){ .add = x }));
}

static dfx_value *record_one_block(const level *v, int i, dfx__activation *act, dfx_value *x)
{
    dfx_value *before = x;
    dfx__push_in(before, "layers.%d", v->first + i);
    x = record_block(&v->blocks[i], act, x);
    dfx__pop_in(before);
    return x;
}

static dfx_value *record_blocks(const level *v, dfx__activation *act, dfx_value *x)
{
    for (int i = 0; i < v->count; i++)
        x = record_one_block(v, i, act, x);
    return x;
}

static dfx_value *encode(const void *net, dfx_value *image)
{
    const autoencoder_tiny *m = net;
    dfx__push_in(image, "encoder");
    dfx_value *x = dfx_scale(image, 0.5f, 0.5f); /* its pictures are in 0..1 */
    for (int i = 0; i < m->encoder.levels; i++) {
        x = dfx__conv_record(&m->encoder.level[i].conv, x);
        x = record_blocks(&m->encoder.level[i], m->act, x);
    }
    x = dfx__conv_record(&m->encoder.edge, x);
    dfx__pop_in(image);
    return x;
}

/* A soft clamp, and the first convolution. */
static dfx_value *begin(const autoencoder_tiny *m, dfx_value *latent)
{
    dfx_value *x = dfx_scale(dfx_tanh(dfx_scale(latent, 1.0f / 3, 0)), 3, 0);
    return m->act(dfx__conv_record(&m->decoder.edge, x));
}

/* The last level gives pictures in 0..1. */
static dfx_value *finish_level(const side *s, int i, dfx_value *x)
{
    const dfx__conv *conv = &s->level[i].conv;
    const dfx_spec *size = dfx_value_spec(x);
    if (i == s->levels - 1)
        return dfx_scale(dfx__conv_record(conv, x), 2, -1);
    return dfx__conv_resized_record(conv, x, 2 * size->dim[1], 2 * size->dim[2]);
}

static dfx_value *decode(const void *net, dfx_value *latent)
{
    const autoencoder_tiny *m = net;
    dfx__push_in(latent, "decoder");
    dfx_value *x = begin(m, latent);
    for (int i = 0; i < m->decoder.levels; i++) {
        x = record_blocks(&m->decoder.level[i], m->act, x);
        x = finish_level(&m->decoder, i, x);
    }
    dfx__pop_in(latent);
    return x;
}

/* ---- in parts ---- */

/* A level's convolution is a part and every block; one more is the convolution at the edge. */
static int count_parts(const side *s)
{
    int count = 1;
    for (int i = 0; i < s->levels; i++)
        count += 1 + s->level[i].count;
    return count;
}

/* The level that has part `part` of all levels' parts; which of its own that is. */
static int locate(const side *s, int part, int *at)
{
    for (*at = 0; part > s->level[*at].count; ++*at)
        part -= 1 + s->level[*at].count;
    return part;
}

static int count_encode(const void *net)
{
    return count_parts(&((const autoencoder_tiny *)net)->encoder);
}

static int count_decode(const void *net)
{
    return count_parts(&((const autoencoder_tiny *)net)->decoder);
}

static int is_whole(const void *net, int part)
{
    (void)net;
    (void)part;
    return 0;
}

static dfx_value *encode_part(const void *net, int part, dfx_value *x)
{
    const autoencoder_tiny *m = net;
    const side *s = &m->encoder;
    int k, i;
    if (part + 1 == count_parts(s))
        return dfx__conv_record(&s->edge, x);
    i = locate(s, part, &k);
    if (i > 0)
        return record_one_block(&s->level[k], i - 1, m->act, x);
    return dfx__conv_record(&s->level[k].conv, part ? x : dfx_scale(x, 0.5f, 0.5f));
}

static dfx_value *decode_part(const void *net, int part, dfx_value *x)
{
    const autoencoder_tiny *m = net;
    const side *s = &m->decoder;
    int k, i;
    if (part == 0)
        return begin(m, x);
    i = locate(s, part - 1, &k);
    return i < s->level[k].count ? record_one_block(&s->level[k], i, m->act, x)
                                 : finish_level(s, k, x);
}

static const dfx__autoencoder_parts encode_parts = { count_encode, is_whole, encode_part };
static const dfx__autoencoder_parts decode_parts = { count_decode, is_whole, decode_part };
static const dfx__autoencoder_functions functions = { get_facts, encode,        decode,
                                                      NULL,      &encode_parts, &decode_parts };

const dfx__model_class dfx__autoencoder_tiny_class = { "AutoencoderTiny", "diffusion_pytorch_model",
                                                       build, dfx__autoencoder_forward,
                                                       &functions };
