/* vq_model.c - VQModel: latents that are rows of a codebook (van den Oord et al. 2017; Esser et al.
 * 2020). */
#include "model/vae.h"

enum { MAX_EMBED_DIM = 256, MAX_EMBEDDINGS = 1 << 20 };

typedef struct {
    dfx__autoencoder_facts facts; /* its latent_channels: those of the codebook */
    int embeddings;
    dfx__vae_coder encoder, decoder;
    dfx__conv quant, post_quant;
    dfx_weight *codebook; /* [embeddings, latent_channels] */
} vq_model;

static const dfx__config_rule rules[] = {
    { "force_upcast", NULL, "of SDXL and the x4 upscaler: f32 in place of f16" },
    { "lookup_from_codebook", "*", "for latents that are indices, which no pipeline decodes" },
    { "norm_type", "\"group\"", "only group: the kind of norm" },
    { "num_vq_embeddings", NULL, "rows of the codebook" },
    { "vq_embed_dim", NULL, "channels of the codebook and of what the encoder gives" },
    { NULL, NULL, NULL },
};

static dfx__autoencoder_facts get_facts(const void *net)
{
    return ((const vq_model *)net)->facts;
}

static void read_config(vq_model *m, dfx__config *c)
{
    dfx__autoencoder_facts *f = &m->facts;
    dfx__vae_read_common(f, &m->encoder, &m->decoder, c, 3);
    dfx__vae_read_sides(&m->encoder, &m->decoder, c);
    dfx__vae_read_scaling(f, c);
    m->encoder.out_channels = f->latent_channels;
    m->embeddings = dfx__config_int(c, "num_vq_embeddings", 256, 1, MAX_EMBEDDINGS);
    f->latent_channels =
        dfx__config_int(c, "vq_embed_dim", f->latent_channels, 1, DFX__VAE_MAX_CHANNELS);
    if (f->latent_channels > MAX_EMBED_DIM)
        dfx__config_refuse(c, "vq_embed_dim", "only up to %d", MAX_EMBED_DIM);
    f->force_upcast = dfx__config_bool(c, "force_upcast", 0);
    f->factor = 1 << (m->decoder.levels - 1);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    vq_model *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int latent = m->facts.latent_channels;
    dfx__vae_load_encoder(&m->encoder, l);
    dfx__vae_load_decoder(&m->decoder, l);
    dfx__conv_load(&m->quant, l, "quant_conv", m->encoder.out_channels, latent, 1);
    dfx__conv_load(&m->post_quant, l, "post_quant_conv", latent, m->decoder.in_channels, 1);
    dfx__enter(l, "quantize.embedding");
    m->codebook = dfx__load(l, "weight", 2, (int64_t[]){ m->embeddings, latent });
    dfx__leave(l);
    return l->status == DFX_OK ? m : NULL;
}

static dfx_value *encode(const void *net, dfx_value *image)
{
    const vq_model *m = net;
    return dfx__conv_record(&m->quant, dfx__vae_encode(&m->encoder, image));
}

/* A latent [N, h, w, C] as the decoder takes it */
static dfx_value *quantize(const vq_model *m, dfx_value *latent)
{
    dfx__push_in(latent, "quantize");
    dfx_value *x = dfx_vector_quantize(latent, dfx__weight_value(latent, m->codebook));
    dfx__pop_in(latent);
    return dfx__conv_record(&m->post_quant, x);
}

static dfx_value *decode(const void *net, dfx_value *latent)
{
    const vq_model *m = net;
    return dfx__vae_decode(&m->decoder, quantize(m, latent));
}

static int count_decode(const void *net)
{
    return dfx__vae_parts(&((const vq_model *)net)->decoder);
}

static int decode_is_whole(const void *net, int part)
{
    return dfx__vae_decode_part_is_whole(&((const vq_model *)net)->decoder, part);
}

static dfx_value *decode_part(const void *net, int part, dfx_value *x)
{
    const vq_model *m = net;
    return dfx__vae_decode_part(&m->decoder, part, part ? x : quantize(m, x));
}

static const dfx__autoencoder_parts decode_parts = { count_decode, decode_is_whole, decode_part };
static const dfx__autoencoder_functions functions = { get_facts, encode, decode,
                                                      NULL,      NULL,   &decode_parts };

const dfx__model_class dfx__vq_model_class = { "VQModel", "diffusion_pytorch_model", build,
                                               dfx__autoencoder_forward, &functions };
