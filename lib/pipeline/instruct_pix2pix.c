/* instruct_pix2pix.c - StableDiffusionInstructPix2PixPipeline and SDXL's: a picture is changed as a
 * text says (Brooks et al. 2023). */
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The UNet takes the latents and those of the picture. */
static dfx_status check(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    DFX__TRY(dfx__check_text_alone(p));
    return dfx__check_inputs(p, latent);
}

/* What both classes say of the picture; `uses` are the other settings that they take. */
static dfx_status picture_settings(dfx_pipeline *p, dfx_generate_options *o, int uses)
{
    if (!o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "image: %s needs one, which the prompt changes",
                         p->class_name);
    DFX__TRY(dfx__refuse_unused(p, o, DFX__USES_IMAGE | DFX__USES_IMAGE_GUIDANCE | uses));
    if (o->image_guidance_scale < 0)
        o->image_guidance_scale = 1.5f;
    if (!isfinite(o->image_guidance_scale))
        return dfx__fail(DFX_ERROR_ARGUMENT, "image_guidance_scale: it is not a finite number");
    return DFX_OK;
}

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__defaults d = { .steps = 100, .guidance_scale = 7.5f, .strength = 1 };
    DFX__TRY(picture_settings(p, o, 0));
    dfx__take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

/* The mean of the picture's latents, scaled in CosXL's models alone, behind the latents; the first
 * of three branches sees none. */
static dfx_status add_picture(dfx__run *r)
{
    size_t n = r->n / (size_t)r->pictures;
    const dfx_pipeline *p = r->p;
    float *image = NULL, *latents = dfx__alloc(n, sizeof *latents);
    float scale = p->is_cosxl_edit ? dfx__scaling_factor(p, p->model[DFX__VAE]) : 1;
    dfx_status status = latents ? dfx__read_image(r, &image) : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__encode_image(r, image, r->o->width, r->o->height, 0, scale, latents);
    if (status == DFX_OK)
        status = dfx__set_extra(r, latents, (int)r->latent.dim[1]);
    if (status == DFX_OK && r->branches == 3)
        memset(r->extra, 0, r->n * sizeof *r->extra);
    free(latents);
    free(image);
    return status;
}

/* Branches: without both, with the picture alone, with picture and text (equation 3). */
static void guide(dfx__run *r, float *pred)
{
    const float *image = pred + r->n, *text = image + r->n;
    for (size_t i = 0; i < r->n; i++)
        pred[i] += r->o->guidance_scale * (text[i] - image[i]) +
                   r->o->image_guidance_scale * (image[i] - pred[i]);
    dfx__rescale_guided(r, pred, text);
}

static dfx_status draw(dfx__run *r)
{
    r->guide = guide;
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(add_picture(r));
    DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static int branches(const dfx_generate_options *o)
{
    return o->guidance_scale > 1 && o->image_guidance_scale >= 1 ? 3 : 1;
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, branches(o), draw);
}

static const char *const names[] = { "StableDiffusionInstructPix2PixPipeline", NULL };
const dfx__pipeline_class dfx__instruct_pix2pix_class = { names, dfx__open_components, check,
                                                          settings, generate };

/* ---- SDXL ---- */

static dfx_status open_xl(dfx_pipeline *p, json_object *index)
{
    DFX__TRY(dfx__open_xl(p, index));
    p->requires_aesthetics_score = 0; /* which this class has no key for */
    p->is_cosxl_edit = dfx__index_flag(index, "is_cosxl_edit", 0);
    return DFX_OK;
}

static dfx_status check_xl(const dfx_pipeline *p)
{
    return dfx__check_xl(p, dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels);
}

/* Settings of other pipelines of SDXL */
static dfx_status refuse_xl(const dfx_pipeline *p, const dfx_generate_options *o)
{
    static const dfx_size_condition none;
    const char *name = o->denoising_start != 0                         ? "denoising_start"
                       : o->aesthetic_score > 0                        ? "aesthetic_score"
                       : o->negative_aesthetic_score > 0               ? "negative_aesthetic_score"
                       : memcmp(&o->negative_size, &none, sizeof none) ? "negative_size"
                                                                       : NULL;
    if (!name)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %s does not use it", name, p->class_name);
}

/* The picture is resized to the model's size, other than in the class of Stable Diffusion. */
static dfx_status settings_xl(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    dfx__defaults d = { .steps = 100,
                        .width = unet.sample_width * factor,
                        .height = unet.sample_height * factor,
                        .guidance_scale = 5,
                        .strength = 1 };
    DFX__TRY(picture_settings(p, o, DFX__USES_RESCALE | DFX__USES_XL));
    DFX__TRY(refuse_xl(p, o));
    DFX__TRY(dfx__check_sizes(o));
    return dfx__settings(p, o, &d);
}

static dfx_status draw_xl(dfx__run *r)
{
    r->guide = guide;
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(dfx__set_time_ids(r));
    DFX__TRY(add_picture(r));
    DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(dfx__stop_early(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate_xl(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, branches(o), draw_xl);
}

static const char *const names_xl[] = { "StableDiffusionXLInstructPix2PixPipeline", NULL };
const dfx__pipeline_class dfx__instruct_pix2pix_xl_class = { names_xl, open_xl, check_xl,
                                                             settings_xl, generate_xl };
