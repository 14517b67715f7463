/* latent_consistency.c - LatentConsistencyModelPipeline and its image to image: a UNet that was
 * distilled with its guidance to few steps (Luo et al. 2023). */
#include "pipeline/run.h"
#include "scheduler/scheduler.h"

#include <string.h>

static dfx_status check(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    if (!dfx__unet_get_facts(p->model[DFX__UNET]->net).cond_width)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's time_cond_proj_dim is null; %s tells it the guidance",
                         p->path, p->class_name);
    DFX__TRY(dfx__check_text_alone(p));
    return dfx__check_inputs(p, dfx__only_inpaints(p) ? latent + 1 : 0);
}

/* With a mask diffusers has StableDiffusionInpaintPipeline for such a model. */
static int starts_from_image(const dfx_generate_options *o)
{
    return (o->image || o->init_latents) && !o->mask;
}

/* ---- settings ---- */

/* Strength is the part of the distillation's timesteps from which all steps are picked, other than
 * in Stable Diffusion, where it leaves steps out. */
static dfx_status plan(dfx_scheduler *s, const dfx_generate_options *o)
{
    double own = s->config.strength;
    s->config.strength = o->strength;
    dfx_status status = dfx_scheduler_set_timesteps(s, o->steps);
    s->config.strength = own;
    return status;
}

static dfx_status check_plan(const dfx_pipeline *p, const dfx_generate_options *o, dfx_scheduler *s)
{
    if (!starts_from_image(o))
        return DFX_OK;
    if (strcmp(dfx_scheduler_class(s), "LCMScheduler") != 0)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler: %s needs LCMScheduler to start from an image, not %s",
                         p->class_name, dfx_scheduler_class(s));
    if (s->config.timesteps.values && o->strength < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "strength: with timesteps of one's own %s takes 1, not %g", p->class_name,
                         o->strength);
    return plan(s, o);
}

enum {
    USES = DFX__USES_IMAGE | DFX__USES_MASK | DFX__USES_STRENGTH | DFX__USES_CLIP_SKIP |
           DFX__USES_LONG_PROMPTS | DFX__USES_INIT_LATENTS
};

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    dfx__defaults d = { .steps = 4,
                        .width = unet.sample_width * factor,
                        .height = unet.sample_height * factor,
                        .guidance_scale = 8.5f,
                        .strength = o->mask ? 1 : 0.8,
                        .check_scheduler = check_plan };
    DFX__TRY(dfx__refuse_unused(p, o, USES));
    DFX__TRY(dfx__check_clip_skip(p, o));
    DFX__TRY(dfx__check_mask(p, o));
    if (o->negative_prompt || o->negative_prompts)
        return dfx__fail(DFX_ERROR_ARGUMENT, "negative_prompt: %s was distilled without one",
                         p->class_name);
    if (!o->mask || o->init_latents)
        dfx__take_size(p, o, &d);
    p->repairs = o->mask ? DFX__REPAIR_STEPS_OFFSET | DFX__REPAIR_SKIP_PRK_STEPS : 0;
    return dfx__settings(p, o, &d);
}

/* ---- a run ---- */

static dfx_status start(dfx__run *r)
{
    if (!starts_from_image(r->o))
        return dfx__start(r);
    DFX__TRY(plan(r->scheduler, r->o));
    r->end = dfx_scheduler_calls(r->scheduler);
    return dfx__start_from_image(r);
}

static dfx_status draw(dfx__run *r)
{
    r->decodes_mask = 1;
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(dfx__embed_guidance(r));
    DFX__TRY(start(r));
    DFX__TRY(dfx__denoise(r));
    DFX__TRY(dfx__decode(r));
    return dfx__lay_into_image(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, 1, draw);
}

static const char *const names[] = { "LatentConsistencyModelPipeline",
                                     "LatentConsistencyModelImg2ImgPipeline", NULL };
const dfx__pipeline_class dfx__latent_consistency_class = { names, dfx__open_components, check,
                                                            settings, generate };
