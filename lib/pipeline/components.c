/* components.c - the models of pipelines with one text encoder: opened, and whether they fit. */
#include "pipeline/run.h"

dfx_status dfx__open_components(dfx_pipeline *p, json_object *index)
{
    static const dfx__model_class *const text[] = { &dfx__clip_text_class, NULL };
    static const dfx__model_class *const unet[] = { &dfx__unet_class, NULL };
    static const dfx__model_class *const vae[] = { &dfx__autoencoder_kl_class, NULL };
    if (dfx__component_class(index, "image_encoder"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/model_index.json: image_encoder is not supported", p->path);
    DFX__TRY(dfx__open_tokenizer(p, index, 0, "tokenizer"));
    DFX__TRY(dfx__open_component(p, index, DFX__TEXT_ENCODER, "text_encoder", text));
    DFX__TRY(dfx__open_component(p, index, DFX__UNET, "unet", unet));
    return dfx__open_component(p, index, DFX__VAE, "vae", vae);
}

dfx_status dfx__check_text(const dfx_pipeline *p)
{
    dfx__clip_text_facts text = dfx__clip_text_get_facts(p->model[DFX__TEXT_ENCODER]->net);
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    const dfx_tokenizer *t = p->tokenizer[0];
    if (dfx_tokenizer_length(t) > text.positions || dfx_tokenizer_vocabulary(t) > text.vocabulary)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: the tokenizer makes %d of %d tokens, the text encoder takes %d of %d",
                         p->path, dfx_tokenizer_length(t), dfx_tokenizer_vocabulary(t),
                         text.positions, text.vocabulary);
    if (unet.added_width)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's addition_embed_type needs text_embeds and time_ids, which "
                         "%s does not make",
                         p->path, p->class_name);
    if (text.channels != unet.context)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: the text encoder's hidden_size is %d, the UNet's cross_attention_dim "
                         "%d",
                         p->path, text.channels, unet.context);
    return DFX_OK;
}

dfx_status dfx__refuse_classes(const dfx_pipeline *p)
{
    if (dfx__unet_get_facts(p->model[DFX__UNET]->net).class_labels == DFX__NO_CLASS)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet's class_embed_type or num_class_embeds needs class_labels, "
                     "which %s does not make",
                     p->path, p->class_name);
}

dfx_status dfx__check_channels(const dfx_pipeline *p, int extra, int more)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    DFX__TRY(dfx__refuse_classes(p));
    if (unet.in_channels == latent + extra && unet.out_channels == latent + more)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet goes from %d to %d channels and the VAE has %d; %s needs %d to "
                     "%d",
                     p->path, unet.in_channels, unet.out_channels, latent, p->class_name,
                     latent + extra, latent + more);
}

dfx_status dfx__check_clip_skip(const dfx_pipeline *p, const dfx_generate_options *o)
{
    int layers = dfx__clip_text_get_facts(p->model[DFX__TEXT_ENCODER]->net).layers;
    if (o->clip_skip >= 0 && o->clip_skip < layers)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "clip_skip: %d is not from 0 to %d", o->clip_skip,
                     layers - 1);
}
