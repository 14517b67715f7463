/* vae.c - the convolutional encoder and decoder that several autoencoders share. */
#include "model/vae.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LAYERS = 64 };

/* ---- config ---- */

static const dfx__config_rule common_rules[] = {
    { "act_fn", "\"silu\"", "only silu: the activation" },
    { "in_channels", NULL, "channels of pictures that are encoded" },
    { "latent_channels", NULL, "channels of latents" },
    { "norm_num_groups", NULL, "groups of group norms" },
    { "out_channels", NULL, "channels of pictures that are decoded" },
    { "sample_size", NULL, "sides of tiles, where pictures are coded in tiles" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule encoder_rules[] = {
    { "down_block_types", NULL, "blocks of the encoder" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule decoder_rules[] = {
    { "up_block_types", NULL, "blocks of the decoder" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule sides_rules[] = {
    { "block_out_channels", NULL, "channels of each level" },
    { "layers_per_block", NULL, "resnets of each level" },
    { "mid_block_add_attention", NULL, "attention in the middle" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule scaling_rules[] = {
    { "scaling_factor", NULL, "multiplies latents; decoding divides by it" },
    { NULL, NULL, NULL },
};

/* One number, or [height, width], of which diffusers takes the first. */
static int read_sample_size(dfx__config *c)
{
    int size[2];
    if (!json_object_is_type(json_object_object_get(c->json, "sample_size"), json_type_array))
        return dfx__config_int(c, "sample_size", 32, 1, 1 << 15);
    dfx__config_ints(c, "sample_size", size, 2, 32, 1, 1 << 15);
    return size[0];
}

void dfx__vae_read_common(dfx__autoencoder_facts *f, dfx__vae_coder *encoder,
                          dfx__vae_coder *decoder, dfx__config *c, int latent)
{
    dfx__config_add_rules(c, common_rules);
    f->in_channels = dfx__config_int(c, "in_channels", 3, 1, 1024);
    f->out_channels = dfx__config_int(c, "out_channels", 3, 1, 1024);
    f->latent_channels = dfx__config_int(c, "latent_channels", latent, 1, 1024);
    f->sample_size = read_sample_size(c);
    encoder->groups = decoder->groups =
        dfx__config_int(c, "norm_num_groups", 32, 1, DFX__VAE_MAX_CHANNELS);
    encoder->in_channels = f->in_channels;
    decoder->in_channels = f->latent_channels;
    decoder->out_channels = f->out_channels;
}

void dfx__vae_read_scaling(dfx__autoencoder_facts *f, dfx__config *c)
{
    dfx__config_add_rules(c, scaling_rules);
    f->scaling_factor = dfx__config_float(c, "scaling_factor", 0.18215f);
    if (!(f->scaling_factor > 0) || isinf(f->scaling_factor))
        dfx__config_refuse(c, "scaling_factor", "it must be above 0");
}

/* A list of block types, once for each level; a missing one stands for one plain block. */
static void read_types(dfx__vae_coder *d, dfx__config *c, const char *key, const char *plain)
{
    int n = dfx__config_length(c, key, DFX__VAE_LEVELS);
    int wrong = n ? n != d->levels : d->levels != 1;
    char attends[32], usual[32];
    snprintf(usual, sizeof usual, "[\"%s\"]", plain);
    dfx__config_default(c, key, usual);
    snprintf(attends, sizeof attends, "Attn%s", plain);
    for (int i = 0; i < n && i < d->levels; i++) {
        const char *type = dfx__config_string_at(c, key, i);
        d->attends[i] = strcmp(type, attends) == 0;
        wrong |= !d->attends[i] && strcmp(type, plain) != 0;
    }
    if (wrong)
        dfx__config_refuse(c, key, "only %s or %s, once for each level", plain, attends);
}

void dfx__vae_read_side(dfx__vae_coder *d, dfx__config *c, int decodes, const char *channels_key,
                        const char *layers_key)
{
    int n = dfx__config_length(c, channels_key, DFX__VAE_LEVELS);
    dfx__config_add_rules(c, decodes ? decoder_rules : encoder_rules);
    d->levels = n ? n : 1;
    dfx__config_ints(c, channels_key, d->channels, d->levels, 64, 1, DFX__VAE_MAX_CHANNELS);
    dfx__config_default(c, channels_key, "[64]");
    d->layers = dfx__config_int(c, layers_key, 1, 1, MAX_LAYERS) + decodes;
    if (decodes)
        read_types(d, c, "up_block_types", "UpDecoderBlock2D");
    else
        read_types(d, c, "down_block_types", "DownEncoderBlock2D");
    for (int i = 0; i < d->levels; i++)
        if (d->channels[i] % d->groups)
            dfx__config_refuse(c, "norm_num_groups", "it must divide the channels of each level");
}

void dfx__vae_read_sides(dfx__vae_coder *encoder, dfx__vae_coder *decoder, dfx__config *c)
{
    dfx__config_add_rules(c, sides_rules);
    dfx__vae_read_side(encoder, c, 0, "block_out_channels", "layers_per_block");
    dfx__vae_read_side(decoder, c, 1, "block_out_channels", "layers_per_block");
    encoder->attends_middle = decoder->attends_middle =
        dfx__config_bool(c, "mid_block_add_attention", 1);
}

/* ---- loading ---- */

static void load_resnet(dfx__resnet *r, dfx__loader *l, int i, int in, int out, int groups)
{
    dfx__enter(l, "resnets.%d", i);
    dfx__resnet_load(r, l, in, out, 0, groups, 1e-6f);
    dfx__leave(l);
}

static void load_attention(dfx__attention_block *a, dfx__loader *l, int i, int channels, int groups)
{
    dfx__attention_block_config c = { .channels = channels, .groups = groups, .eps = 1e-6f };
    dfx__enter(l, "attentions.%d", i);
    dfx__attention_block_load(a, l, &c);
    dfx__leave(l);
}

static void load_middle(dfx__vae_coder *d, dfx__loader *l)
{
    int channels = d->channels[d->levels - 1];
    dfx__enter(l, "mid_block");
    for (int i = 0; i < 2; i++)
        load_resnet(&d->middle[i], l, i, channels, channels, d->groups);
    if (d->attends_middle)
        load_attention(&d->middle_attention, l, 0, channels, d->groups);
    dfx__leave(l);
}

static void load_level(const dfx__vae_coder *d, dfx__vae_level *v, dfx__loader *l, int attends,
                       int in, int out)
{
    v->resnet = dfx__loader_alloc(l, (size_t)d->layers, sizeof *v->resnet);
    if (attends)
        v->attention = dfx__loader_alloc(l, (size_t)d->layers, sizeof *v->attention);
    for (int i = 0; i < d->layers && l->status == DFX_OK; i++) {
        load_resnet(&v->resnet[i], l, i, i ? out : in, out, d->groups);
        if (attends)
            load_attention(&v->attention[i], l, i, out, d->groups);
    }
}

void dfx__vae_load_encoder(dfx__vae_coder *d, dfx__loader *l)
{
    int last = d->levels - 1;
    dfx__enter(l, "encoder");
    dfx__conv_load(&d->conv_in, l, "conv_in", d->in_channels, d->channels[0], 3);
    for (int i = 0; i <= last; i++) {
        dfx__enter(l, "down_blocks.%d", i);
        load_level(d, &d->level[i], l, d->attends[i], d->channels[i ? i - 1 : 0], d->channels[i]);
        if (i < last) {
            dfx__conv *down = &d->level[i].sampler;
            dfx__conv_load(down, l, "downsamplers.0.conv", d->channels[i], d->channels[i], 3);
            down->options = (dfx_conv2d_options){ 2, 1, 1, 0, 0, 1, 1, 0, 0 };
        }
        dfx__leave(l);
    }
    load_middle(d, l);
    dfx__norm_load(&d->norm_out, l, "conv_norm_out", d->channels[last], d->groups, 1e-6f);
    dfx__conv_load(&d->conv_out, l, "conv_out", d->channels[last], d->out_channels, 3);
    dfx__leave(l);
}

void dfx__vae_load_decoder(dfx__vae_coder *d, dfx__loader *l)
{
    int last = d->levels - 1;
    dfx__enter(l, "decoder");
    dfx__conv_load(&d->conv_in, l, "conv_in", d->in_channels, d->channels[last], 3);
    load_middle(d, l);
    for (int k = 0; k <= last; k++) {
        int out = d->channels[last - k];
        dfx__enter(l, "up_blocks.%d", k);
        load_level(d, &d->level[k], l, d->attends[k], d->channels[k ? last - k + 1 : last], out);
        if (k < last)
            dfx__conv_load(&d->level[k].sampler, l, "upsamplers.0.conv", out, out, 3);
        dfx__leave(l);
    }
    dfx__norm_load(&d->norm_out, l, "conv_norm_out", d->channels[0], d->groups, 1e-6f);
    dfx__conv_load(&d->conv_out, l, "conv_out", d->channels[0], d->out_channels, 3);
    dfx__leave(l);
}

/* ---- recording ---- */

static dfx_value *attend(const dfx__attention_block *a, int i, dfx_value *x)
{
    dfx__push_in(x, "attentions.%d", i);
    x = dfx__attention_block_record(a, x);
    dfx__pop_in(x);
    return x;
}

static dfx_value *record_resnet(const dfx__resnet *r, int i, dfx_value *x)
{
    dfx__push_in(x, "resnets.%d", i);
    x = dfx__resnet_record(r, x, NULL);
    dfx__pop_in(x);
    return x;
}

static dfx_value *record_middle(const dfx__vae_coder *d, dfx_value *x)
{
    dfx__push_in(x, "mid_block");
    x = record_resnet(&d->middle[0], 0, x);
    if (d->attends_middle)
        x = attend(&d->middle_attention, 0, x);
    x = record_resnet(&d->middle[1], 1, x);
    dfx__pop_in(x);
    return x;
}

/* Layer i of a level: a resnet, and the attention behind it. */
static dfx_value *record_layer(const dfx__vae_level *v, int i, dfx_value *x)
{
    x = record_resnet(&v->resnet[i], i, x);
    return v->attention ? attend(&v->attention[i], i, x) : x;
}

static dfx_value *record_layers(const dfx__vae_coder *d, const dfx__vae_level *v, dfx_value *x)
{
    for (int i = 0; i < d->layers; i++)
        x = record_layer(v, i, x);
    return x;
}

static dfx_value *record_end(const dfx__vae_coder *d, dfx_value *x)
{
    return dfx__conv_record(&d->conv_out, dfx__norm_silu_record(&d->norm_out, x));
}

dfx_value *dfx__vae_encode(const dfx__vae_coder *d, dfx_value *image)
{
    dfx__push_in(image, "encoder");
    dfx_value *x = dfx__conv_record(&d->conv_in, image);
    for (int i = 0; i < d->levels; i++) {
        dfx__push_in(x, "down_blocks.%d", i);
        x = record_layers(d, &d->level[i], x);
        if (d->level[i].sampler.weight)
            x = dfx__conv_record(&d->level[i].sampler, x);
        dfx__pop_in(x);
    }
    x = record_end(d, record_middle(d, x));
    dfx__pop_in(image);
    return x;
}

dfx_value *dfx__vae_decode_begin(const dfx__vae_coder *d, dfx_value *latent)
{
    return record_middle(d, dfx__conv_record(&d->conv_in, latent));
}

static dfx_value *enlarge(const dfx__vae_level *v, dfx_value *x)
{
    const dfx_spec *s = dfx_value_spec(x);
    return dfx__conv_resized_record(&v->sampler, x, 2 * s->dim[1], 2 * s->dim[2]);
}

dfx_value *dfx__vae_decode_level(const dfx__vae_coder *d, int level, dfx_value *x)
{
    const dfx__vae_level *v = &d->level[level];
    dfx__push_in(x, "up_blocks.%d", level);
    x = record_layers(d, v, x);
    if (v->sampler.weight)
        x = enlarge(v, x);
    dfx__pop_in(x);
    return x;
}

dfx_value *dfx__vae_decode_end(const dfx__vae_coder *d, dfx_value *x)
{
    return record_end(d, x);
}

dfx_value *dfx__vae_decode(const dfx__vae_coder *d, dfx_value *latent)
{
    dfx__push_in(latent, "decoder");
    dfx_value *x = dfx__vae_decode_begin(d, latent);
    for (int k = 0; k < d->levels; k++)
        x = dfx__vae_decode_level(d, k, x);
    x = record_end(d, x);
    dfx__pop_in(latent);
    return x;
}

/* ---- in parts ---- */

/* Behind part 0 levels have d->layers resnets each and, but for the last one, a change of size. */
static int layer_of(const dfx__vae_coder *d, int part, int *level)
{
    *level = (part - 1) / (d->layers + 1);
    return (part - 1) % (d->layers + 1);
}

int dfx__vae_parts(const dfx__vae_coder *d)
{
    return 1 + d->levels * (d->layers + 1);
}

static int attends(const dfx__vae_coder *d, int part)
{
    int level, i = layer_of(d, part, &level);
    return i < d->layers && d->level[level].attention;
}

int dfx__vae_encode_part_is_whole(const dfx__vae_coder *d, int part)
{
    return part + 1 == dfx__vae_parts(d) || (part > 0 && attends(d, part));
}

int dfx__vae_decode_part_is_whole(const dfx__vae_coder *d, int part)
{
    return part == 0 || (part + 1 < dfx__vae_parts(d) && attends(d, part));
}

dfx_value *dfx__vae_encode_part(const dfx__vae_coder *d, int part, dfx_value *x)
{
    int k, i = layer_of(d, part, &k);
    dfx_value *before = x;
    dfx__push_in(before, "encoder");
    if (part == 0) {
        x = dfx__conv_record(&d->conv_in, x);
    } else if (part + 1 == dfx__vae_parts(d)) {
        x = record_end(d, record_middle(d, x));
    } else {
        dfx__push_in(before, "down_blocks.%d", k);
        x = i < d->layers ? record_layer(&d->level[k], i, x)
                          : dfx__conv_record(&d->level[k].sampler, x);
        dfx__pop_in(before);
    }
    dfx__pop_in(before);
    return x;
}

dfx_value *dfx__vae_decode_part(const dfx__vae_coder *d, int part, dfx_value *x)
{
    int k, i = layer_of(d, part, &k);
    dfx_value *before = x;
    dfx__push_in(before, "decoder");
    if (part == 0) {
        x = dfx__vae_decode_begin(d, x);
    } else if (part + 1 == dfx__vae_parts(d)) {
        x = record_end(d, x);
    } else {
        dfx__push_in(before, "up_blocks.%d", k);
        x = i < d->layers ? record_layer(&d->level[k], i, x) : enlarge(&d->level[k], x);
        dfx__pop_in(before);
    }
    dfx__pop_in(before);
    return x;
}
