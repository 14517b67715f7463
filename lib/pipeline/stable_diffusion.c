/* stable_diffusion.c - StableDiffusionPipeline: pictures from text in latents (Rombach et al.
 * 2022).
 */
#include "pipeline/run.h"

static dfx_status check(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    DFX__TRY(dfx__check_text_alone(p));
    return dfx__check_inputs(p, dfx__only_inpaints(p) ? latent + 1 : 0);
}

enum {
    USES = DFX__USES_IMAGE | DFX__USES_MASK | DFX__USES_STRENGTH | DFX__USES_CLIP_SKIP |
           DFX__USES_RESCALE | DFX__USES_LONG_PROMPTS | DFX__USES_INIT_LATENTS
};

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    dfx__defaults d = { .steps = 50,
                        .width = unet.sample_width * factor,
                        .height = unet.sample_height * factor,
                        .guidance_scale = 7.5f,
                        .strength = o->mask ? 1 : 0.8 };
    DFX__TRY(dfx__refuse_unused(p, o, USES));
    DFX__TRY(dfx__check_clip_skip(p, o));
    DFX__TRY(dfx__check_mask(p, o));
    if (!o->mask || o->init_latents)
        dfx__take_size(p, o, &d);
    /* as the three classes' constructors, of which each task has one */
    p->repairs =
        DFX__REPAIR_STEPS_OFFSET | (o->mask ? DFX__REPAIR_SKIP_PRK_STEPS : DFX__REPAIR_CLIP_SAMPLE);
    return dfx__settings(p, o, &d);
}

static dfx_status draw(dfx__run *r)
{
    r->decodes_mask = 1;
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(dfx__embed_guidance(r));
    DFX__TRY(dfx__start(r));
    DFX__TRY(dfx__denoise(r));
    DFX__TRY(dfx__decode(r));
    return dfx__lay_into_image(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, dfx__guided_branches(p, o), draw);
}

static const char *const names[] = { "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
                                     "StableDiffusionInpaintPipeline", NULL };
const dfx__pipeline_class dfx__stable_diffusion_class = { names, dfx__open_components, check,
                                                          settings, generate };
