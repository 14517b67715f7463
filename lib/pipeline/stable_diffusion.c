/* stable_diffusion.c - StableDiffusionPipeline: pictures from text in latents (Rombach et al.
 * 2022).
 */
#include "pipeline/run.h"

/* The UNet takes latents, the mask, and the latents of the masked picture. */
static int only_inpaints(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    return dfx__unet_get_facts(p->model[DFX__UNET]->net).in_channels == 2 * latent + 1;
}

static dfx_status check(const dfx_pipeline *p)
{
    dfx__clip_text_facts text = dfx__clip_text_get_facts(p->model[DFX__TEXT_ENCODER]->net);
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->model[DFX__VAE]);
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
    if ((unet.in_channels != vae.latent_channels && !only_inpaints(p)) ||
        unet.out_channels != vae.latent_channels)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet goes from %d to %d channels and the VAE has %d; %s needs "
                         "%d, or %d for inpainting, to %d",
                         p->path, unet.in_channels, unet.out_channels, vae.latent_channels,
                         p->class_name, vae.latent_channels, 2 * vae.latent_channels + 1,
                         vae.latent_channels);
    return DFX_OK;
}

static dfx_status open_pipeline(dfx_pipeline *p, json_object *index)
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

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    dfx__defaults d = { .steps = 50,
                        .width = unet.sample_width * factor,
                        .height = unet.sample_height * factor,
                        .guidance_scale = 7.5f,
                        .strength = o->mask ? 1 : 0.8 };
    int layers = dfx__clip_text_get_facts(p->model[DFX__TEXT_ENCODER]->net).layers;
    if (o->clip_skip < 0 || o->clip_skip >= layers)
        return dfx__fail(DFX_ERROR_ARGUMENT, "clip_skip: %d is not from 0 to %d", o->clip_skip,
                         layers - 1);
    DFX__TRY(dfx__refuse_xl(p, o));
    if (o->mask && !o->image && !o->init_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT, "mask: an image is needed too, which it selects from");
    if (only_inpaints(p) && !o->mask)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: its UNet only inpaints: an image and a mask are needed", p->path);
    if (!o->mask || o->init_latents)
        dfx__take_size(p, o, &d);
    /* as the three classes' constructors, of which each task has one */
    p->repairs =
        DFX__REPAIR_STEPS_OFFSET | (o->mask ? DFX__REPAIR_SKIP_PRK_STEPS : DFX__REPAIR_CLIP_SAMPLE);
    return dfx__settings(p, o, &d);
}

static dfx_status draw(dfx__run *r)
{
    DFX__TRY(r->o->long_prompts ? dfx__encode_long_prompts(r, 0) : dfx__encode_prompts(r));
    if (r->o->mask)
        DFX__TRY(dfx__start_from_mask(r));
    else if (r->o->image || r->o->init_latents)
        DFX__TRY(dfx__start_from_image(r));
    else
        DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    dfx__run r;
    dfx_status status = dfx__run_start(&r, p, o, result, o->guidance_scale > 1 ? 2 : 1);
    if (status == DFX_OK)
        status = draw(&r);
    dfx__run_end(&r);
    return status;
}

static const char *const names[] = { "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
                                     "StableDiffusionInpaintPipeline", NULL };
const dfx__pipeline_class dfx__stable_diffusion_class = { names, open_pipeline, check, settings,
                                                          generate };
