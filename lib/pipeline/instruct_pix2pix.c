/* instruct_pix2pix.c - StableDiffusionInstructPix2PixPipeline: a picture is changed as a text says
 * (Brooks et al. 2023). */
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

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__defaults d = { .steps = 100, .guidance_scale = 7.5f, .strength = 1 };
    if (!o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "image: %s needs one, which the prompt changes",
                         p->class_name);
    DFX__TRY(dfx__refuse_unused(p, o, DFX__USES_IMAGE | DFX__USES_IMAGE_GUIDANCE));
    if (o->image_guidance_scale < 0)
        o->image_guidance_scale = 1.5f;
    if (!isfinite(o->image_guidance_scale))
        return dfx__fail(DFX_ERROR_ARGUMENT, "image_guidance_scale: it is not a finite number");
    dfx__take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

/* The mean of the picture's latents, without the scaling factor, behind the latents; the first of
 * three branches sees none. */
static dfx_status add_picture(dfx__run *r)
{
    size_t n = r->n / (size_t)r->pictures;
    float *image = NULL, *latents = dfx__alloc(n, sizeof *latents);
    dfx_status status = latents ? dfx__read_image(r, &image) : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__encode_unscaled(r, image, r->o->width, r->o->height, 0, latents);
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

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    int guided = o->guidance_scale > 1 && o->image_guidance_scale >= 1;
    return dfx__generate(result, p, o, guided ? 3 : 1, draw);
}

static const char *const names[] = { "StableDiffusionInstructPix2PixPipeline", NULL };
const dfx__pipeline_class dfx__instruct_pix2pix_class = { names, dfx__open_components, check,
                                                          settings, generate };
