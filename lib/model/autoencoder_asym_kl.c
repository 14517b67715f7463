/* autoencoder_asym_kl.c - AsymmetricAutoencoderKL: a decoder that is larger than its encoder and
 * keeps what a mask leaves of a picture (Zhu et al. 2023). */
#include "model/vae.h"

/* The masked picture's encoder: two layers in its size, then each in half of the size. */
enum { CONDITIONS = 5, FIRST_HALVING = 2 };

typedef struct {
    dfx__autoencoder_facts facts;
    dfx__vae_coder encoder, decoder;
    dfx__conv quant, post_quant, condition[CONDITIONS];
} autoencoder;

static const dfx__config_rule rules[] = {
    { "block_out_channels", "*", "up_block_out_channels again, for diffusers' pipelines" },
    { "down_block_out_channels", NULL, "channels of each level of the encoder" },
    { "force_upcast", "*", "false in diffusers, whatever stands here" },
    { "layers_per_down_block", NULL, "resnets of each level of the encoder" },
    { "layers_per_up_block", NULL, "resnets of each level of the decoder, and one more" },
    { "up_block_out_channels", NULL, "channels of each level of the decoder" },
    { NULL, NULL, NULL },
};

static dfx__autoencoder_facts get_facts(const void *net)
{
    return ((const autoencoder *)net)->facts;
}

static void read_config(autoencoder *m, dfx__config *c)
{
    dfx__autoencoder_facts *f = &m->facts;
    dfx__vae_read_common(f, &m->encoder, &m->decoder, c, 4);
    dfx__vae_read_side(&m->encoder, c, 0, "down_block_out_channels", "layers_per_down_block");
    dfx__vae_read_side(&m->decoder, c, 1, "up_block_out_channels", "layers_per_up_block");
    dfx__vae_read_scaling(f, c);
    m->encoder.out_channels = 2 * f->latent_channels;
    m->encoder.attends_middle = m->decoder.attends_middle = 1;
    f->factor = 1 << (m->decoder.levels - 1);
    f->has_moments = f->takes_mask = 1;
}

/* Channels double from layer to layer, up to those of the decoder's smallest pictures. */
static void load_conditions(autoencoder *m, dfx__loader *l)
{
    static const char *const names[] = { "layers.0", "layers.1", "layers.2", "layers.3",
                                         "layers.4" };
    int most = m->decoder.channels[m->decoder.levels - 1], in = m->facts.out_channels;
    int out = m->decoder.channels[0];
    dfx__enter(l, "decoder.condition_encoder");
    for (int i = 0; i < CONDITIONS; i++) {
        out = out > most || i == CONDITIONS - 1 ? most : out;
        dfx__conv_load(&m->condition[i], l, names[i], in, out, i < FIRST_HALVING ? 3 : 4);
        if (i >= FIRST_HALVING)
            m->condition[i].options = (dfx_conv2d_options){ 2, 1, 1, 1, 1, 1, 1, 0, 0 };
        in = out;
        out *= 2;
    }
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    autoencoder *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int latent = m->facts.latent_channels;
    dfx__vae_load_encoder(&m->encoder, l);
    dfx__vae_load_decoder(&m->decoder, l);
    load_conditions(m, l);
    dfx__conv_load(&m->quant, l, "quant_conv", 2 * latent, 2 * latent, 1);
    dfx__conv_load(&m->post_quant, l, "post_quant_conv", latent, latent, 1);
    return l->status == DFX_OK ? m : NULL;
}

static dfx_value *encode(const void *net, dfx_value *image)
{
    const autoencoder *m = net;
    return dfx__conv_record(&m->quant, dfx__vae_encode(&m->encoder, image));
}

static dfx_value *decode(const void *net, dfx_value *latent)
{
    const autoencoder *m = net;
    return dfx__vae_decode(&m->decoder, dfx__conv_record(&m->post_quant, latent));
}

/* condition[i] becomes what layer i gives for the picture where the mask is 0 */
static void record_conditions(const autoencoder *m, dfx_value *image, dfx_value *mask,
                              dfx_value **condition)
{
    dfx_value *x = dfx_blend(image, NULL, dfx_scale(mask, -1, 1));
    dfx__push_in(x, "condition_encoder");
    for (int i = 0; i < CONDITIONS; i++) {
        condition[i] = dfx__conv_record(&m->condition[i], x);
        x = dfx_relu(condition[i]);
    }
    dfx__pop_in(x);
}

/* x where the mask is 1, else the last condition of its shape. */
static dfx_value *join(dfx_value *x, dfx_value *const *condition, dfx_value *mask)
{
    const dfx_spec *s = dfx_value_spec(x), *whole = dfx_value_spec(mask);
    int best = CONDITIONS - 1;
    for (int i = 0; i < CONDITIONS; i++) {
        const dfx_spec *c = dfx_value_spec(condition[i]);
        if (c->dim[1] == s->dim[1] && c->dim[2] == s->dim[2] && c->dim[3] == s->dim[3])
            best = i;
    }
    if (whole->dim[1] != s->dim[1] || whole->dim[2] != s->dim[2])
        mask = dfx_upsample_nearest(mask, s->dim[1], s->dim[2]);
    return dfx_blend(x, condition[best], mask);
}

static dfx_value *decode_masked(const void *net, dfx_value *latent, dfx_value *image,
                                dfx_value *mask)
{
    const autoencoder *m = net;
    dfx_value *x = dfx__conv_record(&m->post_quant, latent), *condition[CONDITIONS];
    dfx__push_in(latent, "decoder");
    record_conditions(m, image, mask, condition);
    x = dfx__vae_decode_begin(&m->decoder, x);
    for (int k = 0; k < m->decoder.levels; k++)
        x = dfx__vae_decode_level(&m->decoder, k, join(x, condition, mask));
    x = dfx__vae_decode_end(&m->decoder, join(x, condition, mask));
    dfx__pop_in(latent);
    return x;
}

static const dfx__autoencoder_functions functions = { get_facts,     encode, decode,
                                                      decode_masked, NULL,   NULL };

const dfx__model_class dfx__autoencoder_asym_kl_class = { "AsymmetricAutoencoderKL",
                                                          "diffusion_pytorch_model", build,
                                                          dfx__autoencoder_forward, &functions };
