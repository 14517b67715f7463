/* components.c - the models of a pipeline: what its text encoders are, and whether all of them fit.
 */
#include "model/unet2d.h"
#include "pipeline/run.h"

dfx_status dfx__open_components(dfx_pipeline *p, json_object *index)
{
    static const dfx__model_class *const text[] = { &dfx__clip_text_class, NULL };
    static const dfx__model_class *const unet[] = { &dfx__unet_class, NULL };
    static const dfx__model_class *const vae[] = { &dfx__autoencoder_kl_class,
                                                   &dfx__autoencoder_tiny_class,
                                                   &dfx__autoencoder_asym_kl_class, NULL };
    if (dfx__component_class(index, "image_encoder"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/model_index.json: image_encoder is not supported", p->path);
    if (dfx__component_class(index, "text_encoder") || !p->model[DFX__TEXT_ENCODER_2]) {
        DFX__TRY(dfx__open_tokenizer(p, index, 0, "tokenizer"));
        DFX__TRY(dfx__open_component(p, index, DFX__TEXT_ENCODER, "text_encoder", text));
    }
    DFX__TRY(dfx__open_component(p, index, DFX__UNET, "unet", unet));
    return dfx__open_component(p, index, DFX__VAE, "vae", vae);
}

/* ---- text encoders ---- */

int dfx__first_tower(const dfx_pipeline *p)
{
    return p->model[DFX__TEXT_ENCODER] ? 0 : 1;
}

int dfx__end_tower(const dfx_pipeline *p)
{
    return p->model[DFX__TEXT_ENCODER_2] ? 2 : 1;
}

dfx__clip_text_facts dfx__tower_facts(const dfx_pipeline *p, int tower)
{
    return dfx__clip_text_get_facts(p->model[DFX__TEXT_ENCODER + tower]->net);
}

static dfx_status check_tower(const dfx_pipeline *p, int tower)
{
    const dfx_tokenizer *t = p->tokenizer[tower], *last = p->tokenizer[dfx__end_tower(p) - 1];
    dfx__clip_text_facts text = dfx__tower_facts(p, tower);
    int tokens = dfx_tokenizer_length(t), words = dfx_tokenizer_vocabulary(t);
    if (tokens > text.positions || words > text.vocabulary)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: tokenizer%s makes %d of %d tokens, text_encoder%s takes %d of %d",
                         p->path, tower ? "_2" : "", tokens, words, tower ? "_2" : "",
                         text.positions, text.vocabulary);
    if (tokens != dfx_tokenizer_length(last))
        return dfx__fail(DFX_ERROR_FORMAT, "%s: tokenizer makes %d tokens and tokenizer_2 %d",
                         p->path, tokens, dfx_tokenizer_length(last));
    return DFX_OK;
}

dfx_status dfx__check_text(const dfx_pipeline *p)
{
    int channels = 0, context = dfx__unet_get_facts(p->model[DFX__UNET]->net).context;
    for (int tower = dfx__first_tower(p); tower < dfx__end_tower(p); tower++) {
        DFX__TRY(check_tower(p, tower));
        channels += dfx__tower_facts(p, tower).channels;
    }
    if (channels == context)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_FORMAT,
                     "%s: the text encoders' hidden_size is %d in all, the UNet's "
                     "cross_attention_dim %d",
                     p->path, channels, context);
}

dfx_status dfx__check_clip_skip(const dfx_pipeline *p, const dfx_generate_options *o)
{
    for (int tower = dfx__first_tower(p); tower < dfx__end_tower(p); tower++) {
        int layers = dfx__tower_facts(p, tower).layers;
        if (o->clip_skip < 0 || o->clip_skip >= layers)
            return dfx__fail(DFX_ERROR_ARGUMENT, "clip_skip: %d is not from 0 to %d", o->clip_skip,
                             layers - 1);
    }
    return DFX_OK;
}

/* ---- the UNet ---- */

int dfx__output_parts(const dfx_pipeline *p)
{
    const dfx_model *unet = p->model[DFX__UNET];
    return unet->class == &dfx__unet2d_class &&
                   dfx__unet2d_get_facts(unet).out_channels == 2 * dfx__get_latent_form(p).channels
               ? 2
               : 1;
}

int dfx__only_inpaints(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    return dfx__unet_get_facts(p->model[DFX__UNET]->net).in_channels == 2 * latent + 1;
}

dfx_status dfx__check_no_class(const dfx_pipeline *p)
{
    if (dfx__unet_get_facts(p->model[DFX__UNET]->net).class_labels != DFX__NO_CLASS)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's class_embed_type or num_class_embeds needs class_labels, "
                         "which %s does not make",
                         p->path, p->class_name);
    return DFX_OK;
}

dfx_status dfx__check_channels(const dfx_pipeline *p, int extra)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    if (unet.in_channels == latent + extra && unet.out_channels == latent)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet goes from %d to %d channels and the VAE has %d; %s needs %d to "
                     "%d",
                     p->path, unet.in_channels, unet.out_channels, latent, p->class_name,
                     latent + extra, latent);
}

dfx_status dfx__check_inputs(const dfx_pipeline *p, int extra)
{
    DFX__TRY(dfx__check_no_class(p));
    return dfx__check_channels(p, extra);
}

dfx_status dfx__check_text_alone(const dfx_pipeline *p)
{
    if (dfx__unet_get_facts(p->model[DFX__UNET]->net).added_width)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's addition_embed_type needs text_embeds and time_ids, which "
                         "%s does not make",
                         p->path, p->class_name);
    return dfx__check_text(p);
}
