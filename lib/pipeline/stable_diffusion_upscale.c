/* stable_diffusion_upscale.c - StableDiffusionUpscalePipeline: pictures four times as large, by a
 * diffusion that sees the small one with some noise (Rombach et al. 2022, section 4.4). */
#include "core/dtype.h"
#include "pipeline/run.h"
#include "scheduler/scheduler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RGB = 3, DEFAULT_LEVEL = 20, DEFAULT_MOST = 350 };

/* Every such pipeline has it, whatever its vae's config says: diffusers' constructor. */
static const float scaling_factor = 0.08333f;

/* ---- opening ---- */

static dfx_status open_low_res(dfx_pipeline *p)
{
    const char *config = dfx__component_path(p, "low_res_scheduler");
    DFX__TRY(config ? dfx__scheduler_open(&p->low_res_scheduler, config, NULL, 0)
                    : dfx__no_memory());
    const char *class = dfx_scheduler_class(p->low_res_scheduler);
    if (strcmp(class, "DDPMScheduler") == 0 || strcmp(class, "DDIMScheduler") == 0)
        return DFX_OK; /* these add noise alike */
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: %s is not supported (only DDPMScheduler, DDIMScheduler)", config, class);
}

static dfx_status open_pipeline(dfx_pipeline *p, json_object *index)
{
    json_object *most = dfx__json_get(index, "max_noise_level", json_type_int);
    DFX__TRY(dfx__open_components(p, index));
    DFX__TRY(open_low_res(p));
    int last = p->low_res_scheduler->config.num_train_timesteps - 1;
    p->max_noise_level = most ? json_object_get_int(most) : DEFAULT_MOST;
    if (p->max_noise_level > last)
        p->max_noise_level = last;
    p->scaling_factor = scaling_factor;
    p->upcasts_vae = 1;
    return DFX_OK;
}

/* The UNet takes latents and a picture of their size, and is told the noise on it. */
static dfx_status check(const dfx_pipeline *p)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    DFX__TRY(dfx__check_text_alone(p));
    DFX__TRY(dfx__check_channels(p, RGB));
    if (unet.class_labels == DFX__CLASS_ID)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet's num_class_embeds is missing; %s tells noise levels with it",
                     p->path, p->class_name);
}

/* ---- settings ---- */

/* The small picture's sides, as the pictures' divided by the vae's factor, which is 4. */
static void take_size(const dfx_pipeline *p, const dfx_generate_options *o, dfx__defaults *d)
{
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    d->width = o->image->width / factor * factor * factor;
    d->height = o->image->height / factor * factor * factor;
}

static dfx_status check_noise_level(const dfx_pipeline *p, const dfx_generate_options *o)
{
    int count = dfx__unet_get_facts(p->model[DFX__UNET]->net).class_count;
    int most = p->max_noise_level < count ? p->max_noise_level : count - 1;
    if (o->noise_level <= most)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "noise_level: %d is more than the model's %d",
                     o->noise_level, most);
}

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__defaults d = { .steps = 75, .guidance_scale = 9, .strength = 1 };
    if (!o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "image: %s needs one, which it enlarges",
                         p->class_name);
    DFX__TRY(dfx__refuse_unused(p, o,
                                DFX__USES_IMAGE | DFX__USES_NOISE_LEVEL | DFX__USES_CLIP_SKIP |
                                    DFX__USES_LONG_PROMPTS));
    DFX__TRY(dfx__check_clip_skip(p, o));
    if (o->noise_level < 0)
        o->noise_level = DEFAULT_LEVEL;
    DFX__TRY(check_noise_level(p, o));
    take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

/* ---- drawing ---- */

/* The picture [3, h, w] in -1..1 for each prompt, with noise of its own, behind the latents; rows
 * take them in turn, as in diffusers. */
static dfx_status add_picture(dfx__run *r, const float *image)
{
    size_t n = RGB * (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    size_t prompts = (size_t)(r->pictures / r->o->batch);
    float a = dfx__alpha_at(r->p->low_res_scheduler, r->o->noise_level);
    float *noised = dfx__alloc(prompts * n, sizeof *noised);
    if (!noised)
        return dfx__no_memory();
    dfx_rng_normal(&r->rng, noised, prompts * n);
    for (size_t i = 0; i < prompts * n; i++)
        noised[i] = sqrtf(a) * image[i % n] + sqrtf(1 - a) * noised[i];
    dfx_status status = dfx__set_extra_rows(r, noised, RGB, (int)prompts);
    free(noised);
    return status;
}

static dfx_status read_picture(dfx__run *r)
{
    float *image;
    int width = (int)r->latent.dim[3], height = (int)r->latent.dim[2];
    DFX__TRY(dfx__read_resized(r, width, height, DFX_FILTER_BICUBIC, &image));
    dfx_status status = add_picture(r, image);
    free(image);
    return status;
}

static dfx_status draw(dfx__run *r)
{
    const int32_t level = r->o->noise_level;
    const dfx_spec labels = { DFX_I32, 1, { 1 } };
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(dfx__set_condition(r, DFX__CLASS_LABELS, &labels, &level));
    DFX__TRY(read_picture(r));
    DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, o->guidance_scale > 1 ? 2 : 1, draw);
}

static const char *const names[] = { "StableDiffusionUpscalePipeline", NULL };
const dfx__pipeline_class dfx__upscale_class = { names, open_pipeline, check, settings, generate };
