/* autoencoder_kl.c - AutoencoderKL (Kingma & Welling 2013; Rombach et al. 2022). */
#include "model/vae.h"

typedef struct {
    dfx__autoencoder_facts facts;
    int use_quant, use_post_quant;
    dfx__vae_coder encoder, decoder;
    dfx__conv quant, post_quant;
} autoencoder_kl;

static const dfx__config_rule rules[] = {
    { "force_upcast", NULL,
      "of SDXL and the x4 upscaler: f32 in place of f16; SDXL's encoder of bf16 too" },
    { "latents_mean", NULL, "taken from latents of pictures (SDXL)" },
    { "latents_std", NULL, "divides latents of pictures (SDXL)" },
    { "shift_factor", "*", "pipelines of Stable Diffusion have no use for it" },
    { "use_post_quant_conv", NULL, "a convolution before the decoder" },
    { "use_quant_conv", NULL, "a convolution after the encoder" },
    { NULL, NULL, NULL },
};

static dfx__autoencoder_facts get_facts(const void *net)
{
    return ((const autoencoder_kl *)net)->facts;
}

/* A number for each latent channel, or NULL. */
static const float *read_latents(const autoencoder_kl *m, dfx__config *c, dfx__loader *l,
                                 const char *key)
{
    int n = m->facts.latent_channels;
    float *value =
        dfx__config_length(c, key, n) ? dfx__loader_alloc(l, (size_t)n, sizeof *value) : NULL;
    if (value)
        dfx__config_floats(c, key, value, n, 0);
    return value;
}

static void read_config(autoencoder_kl *m, dfx__config *c, dfx__loader *l)
{
    dfx__autoencoder_facts *f = &m->facts;
    dfx__vae_read_common(f, &m->encoder, &m->decoder, c, 4);
    dfx__vae_read_sides(&m->encoder, &m->decoder, c);
    dfx__vae_read_scaling(f, c);
    m->encoder.out_channels = 2 * f->latent_channels;
    m->use_quant = dfx__config_bool(c, "use_quant_conv", 1);
    m->use_post_quant = dfx__config_bool(c, "use_post_quant_conv", 1);
    f->factor = 1 << (m->decoder.levels - 1);
    f->has_moments = 1;
    f->force_upcast = dfx__config_bool(c, "force_upcast", 1);
    f->latents_mean = read_latents(m, c, l, "latents_mean");
    f->latents_std = read_latents(m, c, l, "latents_std");
}

static void *build(dfx__config *config, dfx__loader *l)
{
    autoencoder_kl *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config, l);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int latent = m->facts.latent_channels;
    dfx__vae_load_encoder(&m->encoder, l);
    dfx__vae_load_decoder(&m->decoder, l);
    if (m->use_quant)
        dfx__conv_load(&m->quant, l, "quant_conv", 2 * latent, 2 * latent, 1);
    if (m->use_post_quant)
        dfx__conv_load(&m->post_quant, l, "post_quant_conv", latent, latent, 1);
    return l->status == DFX_OK ? m : NULL;
}

static dfx_value *encode(const void *net, dfx_value *image)
{
    const autoencoder_kl *m = net;
    dfx_value *x = dfx__vae_encode(&m->encoder, image);
    return m->use_quant ? dfx__conv_record(&m->quant, x) : x;
}

static dfx_value *decode(const void *net, dfx_value *latent)
{
    const autoencoder_kl *m = net;
    dfx_value *x = m->use_post_quant ? dfx__conv_record(&m->post_quant, latent) : latent;
    return dfx__vae_decode(&m->decoder, x);
}

static int count_encode(const void *net)
{
    return dfx__vae_parts(&((const autoencoder_kl *)net)->encoder);
}

static int encode_is_whole(const void *net, int part)
{
    return dfx__vae_encode_part_is_whole(&((const autoencoder_kl *)net)->encoder, part);
}

static dfx_value *encode_part(const void *net, int part, dfx_value *x)
{
    const autoencoder_kl *m = net;
    x = dfx__vae_encode_part(&m->encoder, part, x);
    int last = part + 1 == dfx__vae_parts(&m->encoder);
    return last && m->use_quant ? dfx__conv_record(&m->quant, x) : x;
}

static int count_decode(const void *net)
{
    return dfx__vae_parts(&((const autoencoder_kl *)net)->decoder);
}

static int decode_is_whole(const void *net, int part)
{
    return dfx__vae_decode_part_is_whole(&((const autoencoder_kl *)net)->decoder, part);
}

static dfx_value *decode_part(const void *net, int part, dfx_value *x)
{
    const autoencoder_kl *m = net;
    if (part == 0 && m->use_post_quant)
        x = dfx__conv_record(&m->post_quant, x);
    return dfx__vae_decode_part(&m->decoder, part, x);
}

static const dfx__autoencoder_parts encode_parts = { count_encode, encode_is_whole, encode_part };
static const dfx__autoencoder_parts decode_parts = { count_decode, decode_is_whole, decode_part };
static const dfx__autoencoder_functions functions = { get_facts, encode,        decode,
                                                      NULL,      &encode_parts, &decode_parts };

const dfx__model_class dfx__autoencoder_kl_class = { "AutoencoderKL", "diffusion_pytorch_model",
                                                     build, dfx__autoencoder_forward, &functions };
