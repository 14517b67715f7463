/* autoencoder_kl.c - AutoencoderKL (Kingma & Welling 2013; Rombach et al. 2022). */
#include "core/dtype.h"
#include "model/autoencoder.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 8, MAX_LAYERS = 64, MAX_CHANNELS = 1 << 15 };

/* Layers of one size, then a sampler where the size changes. */
struct level {
    dfx__resnet *resnet;
    dfx__conv sampler;
};

/* Attention over all pixels with one head, on a GroupNorm, added to its input. */
struct middle {
    dfx__resnet resnet[2];
    dfx__norm norm;
    dfx__linear_layer to_q, to_k, to_v, to_out;
    float scale;
};

struct coder {
    int layers; /* of a level */
    dfx__conv conv_in, conv_out;
    struct level level[LEVELS];
    struct middle middle;
    dfx__norm norm_out;
};

typedef struct {
    dfx__autoencoder_facts facts;
    int levels, channels[LEVELS], layers, groups, attention, use_quant, use_post_quant;
    struct coder encoder, decoder;
    dfx__conv quant, post_quant;
} autoencoder_kl;

static const dfx__config_rule rules[] = {
    { "act_fn", "\"silu\"" },
    { "latents_mean", "null" },
    { "latents_std", "null" },
    { "sample_size", "*" },
    { NULL, NULL },
};

static dfx__autoencoder_facts get_facts(const void *net)
{
    return ((const autoencoder_kl *)net)->facts;
}

static void need_types(dfx__config *c, const char *key, const char *type, int levels)
{
    int n = dfx__config_length(c, key, LEVELS);
    char why[96];
    snprintf(why, sizeof why, "only %s, once for each of block_out_channels", type);
    if (n ? n != levels : levels != 1)
        dfx__config_refuse(c, key, why);
    for (int i = 0; i < n; i++)
        if (strcmp(dfx__config_string_at(c, key, i), type) != 0)
            dfx__config_refuse(c, key, why);
}

static void read_config(autoencoder_kl *m, dfx__config *c)
{
    int n = dfx__config_length(c, "block_out_channels", LEVELS);
    m->levels = n ? n : 1;
    dfx__config_ints(c, "block_out_channels", m->channels, m->levels, 64, 1, MAX_CHANNELS);
    m->layers = dfx__config_int(c, "layers_per_block", 1, 1, MAX_LAYERS);
    m->groups = dfx__config_int(c, "norm_num_groups", 32, 1, MAX_CHANNELS);
    m->facts.in_channels = dfx__config_int(c, "in_channels", 3, 1, 1024);
    m->facts.out_channels = dfx__config_int(c, "out_channels", 3, 1, 1024);
    m->attention = dfx__config_bool(c, "mid_block_add_attention", 1);
    m->use_quant = dfx__config_bool(c, "use_quant_conv", 1);
    m->use_post_quant = dfx__config_bool(c, "use_post_quant_conv", 1);
    m->facts.latent_channels = dfx__config_int(c, "latent_channels", 4, 1, 1024);
    m->facts.scaling_factor = dfx__config_float(c, "scaling_factor", 0.18215f);
    m->facts.shift_factor = dfx__config_float(c, "shift_factor", 0);
    m->facts.force_upcast = dfx__config_bool(c, "force_upcast", 1);
    m->facts.has_moments = 1;
    m->facts.factor = 1 << (m->levels - 1);
    need_types(c, "down_block_types", "DownEncoderBlock2D", m->levels);
    need_types(c, "up_block_types", "UpDecoderBlock2D", m->levels);
    for (int i = 0; i < m->levels; i++)
        if (m->channels[i] % m->groups)
            dfx__config_refuse(c, "norm_num_groups", "it must divide block_out_channels");
    if (!(m->facts.scaling_factor > 0))
        dfx__config_refuse(c, "scaling_factor", "it must be above 0");
}

static void load_resnet(dfx__resnet *r, dfx__loader *l, const autoencoder_kl *m, int i, int in,
                        int out)
{
    dfx__enter(l, "resnets.%d", i);
    dfx__resnet_load(r, l, in, out, 0, m->groups, 1e-6f);
    dfx__leave(l);
}

/* Names of the attention's layers, and those of files from before 2023. */
static void load_projection(dfx__linear_layer *to, dfx__loader *l, const char *name,
                            const char *old, int channels)
{
    char weight[32];
    snprintf(weight, sizeof weight, "%s.weight", old);
    dfx__linear_load(to, l, dfx__loader_has(l, weight) ? old : name, channels, channels, 1);
}

static void load_middle(struct middle *b, dfx__loader *l, const autoencoder_kl *m)
{
    int channels = m->channels[m->levels - 1];
    b->scale = 1 / sqrtf((float)channels);
    dfx__enter(l, "mid_block");
    load_resnet(&b->resnet[0], l, m, 0, channels, channels);
    load_resnet(&b->resnet[1], l, m, 1, channels, channels);
    if (m->attention) {
        dfx__enter(l, "attentions.0");
        dfx__norm_load(&b->norm, l, "group_norm", channels, m->groups, 1e-6f);
        load_projection(&b->to_q, l, "to_q", "query", channels);
        load_projection(&b->to_k, l, "to_k", "key", channels);
        load_projection(&b->to_v, l, "to_v", "value", channels);
        load_projection(&b->to_out, l, "to_out.0", "proj_attn", channels);
        dfx__leave(l);
    }
    dfx__leave(l);
}

static void load_level(struct level *v, struct coder *d, dfx__loader *l, const autoencoder_kl *m,
                       int in, int out)
{
    v->resnet = dfx__loader_alloc(l, (size_t)d->layers, sizeof *v->resnet);
    for (int i = 0; v->resnet && i < d->layers; i++)
        load_resnet(&v->resnet[i], l, m, i, i ? out : in, out);
}

static void load_encoder(struct coder *d, dfx__loader *l, const autoencoder_kl *m)
{
    int last = m->levels - 1;
    d->layers = m->layers;
    dfx__enter(l, "encoder");
    dfx__conv_load(&d->conv_in, l, "conv_in", m->facts.in_channels, m->channels[0], 3);
    for (int i = 0; i < m->levels; i++) {
        dfx__enter(l, "down_blocks.%d", i);
        load_level(&d->level[i], d, l, m, m->channels[i ? i - 1 : 0], m->channels[i]);
        if (i < last) {
            dfx__conv *down = &d->level[i].sampler;
            dfx__conv_load(down, l, "downsamplers.0.conv", m->channels[i], m->channels[i], 3);
            down->options = (dfx_conv2d_options){ 2, 1, 1, 0, 0, 1, 1, 0, 0 };
        }
        dfx__leave(l);
    }
    load_middle(&d->middle, l, m);
    dfx__norm_load(&d->norm_out, l, "conv_norm_out", m->channels[last], m->groups, 1e-6f);
    dfx__conv_load(&d->conv_out, l, "conv_out", m->channels[last], 2 * m->facts.latent_channels, 3);
    dfx__leave(l);
}

static void load_decoder(struct coder *d, dfx__loader *l, const autoencoder_kl *m)
{
    int last = m->levels - 1;
    d->layers = m->layers + 1;
    dfx__enter(l, "decoder");
    dfx__conv_load(&d->conv_in, l, "conv_in", m->facts.latent_channels, m->channels[last], 3);
    load_middle(&d->middle, l, m);
    for (int k = 0; k < m->levels; k++) {
        int out = m->channels[last - k];
        dfx__enter(l, "up_blocks.%d", k);
        load_level(&d->level[k], d, l, m, m->channels[k ? last - k + 1 : last], out);
        if (k < last)
            dfx__conv_load(&d->level[k].sampler, l, "upsamplers.0.conv", out, out, 3);
        dfx__leave(l);
    }
    dfx__norm_load(&d->norm_out, l, "conv_norm_out", m->channels[0], m->groups, 1e-6f);
    dfx__conv_load(&d->conv_out, l, "conv_out", m->channels[0], m->facts.out_channels, 3);
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    autoencoder_kl *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int latent = m->facts.latent_channels;
    load_encoder(&m->encoder, l, m);
    load_decoder(&m->decoder, l, m);
    if (m->use_quant)
        dfx__conv_load(&m->quant, l, "quant_conv", 2 * latent, 2 * latent, 1);
    if (m->use_post_quant)
        dfx__conv_load(&m->post_quant, l, "post_quant_conv", latent, latent, 1);
    return l->status == DFX_OK ? m : NULL;
}

static dfx_value *attend(const struct middle *b, dfx_value *x)
{
    dfx_spec image = *dfx_value_spec(x);
    int64_t tokens[] = { image.dim[0], image.dim[1] * image.dim[2], image.dim[3] };
    dfx_value *h = dfx_reshape(dfx__norm_record(&b->norm, x), 3, tokens);
    h = dfx_attention(dfx__linear_record(&b->to_q, h), dfx__linear_record(&b->to_k, h),
                      dfx__linear_record(&b->to_v, h), 1, b->scale, 0);
    h = dfx__linear_then_record(&b->to_out, h, (dfx_epilogue){ .add = dfx_reshape(x, 3, tokens) });
    return dfx_reshape(h, 4, image.dim);
}

static dfx_value *record_resnet(const dfx__resnet *r, int i, dfx_value *x)
{
    dfx__push_in(x, "resnets.%d", i);
    x = dfx__resnet_record(r, x, NULL);
    dfx__pop_in(x);
    return x;
}

static dfx_value *record_middle(const struct middle *b, dfx_value *x)
{
    dfx__push_in(x, "mid_block");
    x = record_resnet(&b->resnet[0], 0, x);
    if (b->to_q.weight) {
        dfx__push_in(x, "attentions.0");
        x = attend(b, x);
        dfx__pop_in(x);
    }
    x = record_resnet(&b->resnet[1], 1, x);
    dfx__pop_in(x);
    return x;
}

static dfx_value *record_level(const struct coder *d, const struct level *v, dfx_value *x)
{
    for (int i = 0; i < d->layers; i++)
        x = record_resnet(&v->resnet[i], i, x);
    return x;
}

static dfx_value *record_end(const struct coder *d, dfx_value *x)
{
    return dfx__conv_record(&d->conv_out, dfx__norm_silu_record(&d->norm_out, x));
}

static dfx_value *encode(const void *net, dfx_value *image)
{
    const autoencoder_kl *m = net;
    const struct coder *d = &m->encoder;
    dfx__push_in(image, "encoder");
    dfx_value *x = dfx__conv_record(&d->conv_in, image);
    for (int i = 0; i < m->levels; i++) {
        dfx__push_in(x, "down_blocks.%d", i);
        x = record_level(d, &d->level[i], x);
        if (d->level[i].sampler.weight)
            x = dfx__conv_record(&d->level[i].sampler, x);
        dfx__pop_in(x);
    }
    x = record_end(d, record_middle(&d->middle, x));
    dfx__pop_in(image);
    return m->use_quant ? dfx__conv_record(&m->quant, x) : x;
}

static dfx_value *decode(const void *net, dfx_value *latent)
{
    const autoencoder_kl *m = net;
    const struct coder *d = &m->decoder;
    dfx_value *x = m->use_post_quant ? dfx__conv_record(&m->post_quant, latent) : latent;
    dfx__push_in(latent, "decoder");
    x = record_middle(&d->middle, dfx__conv_record(&d->conv_in, x));
    for (int k = 0; k < m->levels; k++) {
        dfx__push_in(x, "up_blocks.%d", k);
        x = record_level(d, &d->level[k], x);
        if (d->level[k].sampler.weight) {
            const dfx_spec *s = dfx_value_spec(x);
            x = dfx__conv_resized_record(&d->level[k].sampler, x, 2 * s->dim[1], 2 * s->dim[2]);
        }
        dfx__pop_in(x);
    }
    x = record_end(d, x);
    dfx__pop_in(latent);
    return x;
}

static const dfx__autoencoder_functions functions = { get_facts, encode, decode, NULL };

const dfx__model_class dfx__autoencoder_kl_class = { "AutoencoderKL", "diffusion_pytorch_model",
                                                     build, dfx__autoencoder_forward, &functions };
