/* latent_upscale.c - StableDiffusionLatentUpscalePipeline: latents twice as large, by a diffusion
 * that sees the small ones. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of timestep_cond that tell the noise on the small latents, which is none. */
enum { SCALE = 2, NOISE_WIDTH = 128 };

/* ---- opening ---- */

/* The UNet takes latents and the small ones, the pooled text in timestep_cond, and gives a variance
 * beside the latents, which is not used. */
static dfx_status check(const dfx_pipeline *p)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    DFX__TRY(dfx__check_text_alone(p));
    DFX__TRY(dfx__check_no_class(p));
    if (unet.in_channels != 2 * latent || unet.out_channels != latent + 1)
        return dfx__fail(
            DFX_ERROR_UNSUPPORTED, "%s: the UNet goes from %d to %d channels; %s needs %d to %d",
            p->path, unet.in_channels, unet.out_channels, p->class_name, 2 * latent, latent + 1);
    int text = dfx__tower_facts(p, 0).channels;
    if (unet.cond_width == NOISE_WIDTH + text)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet's time_cond_proj_dim is %d; with its text encoder it must be %d",
                     p->path, unet.cond_width, NOISE_WIDTH + text);
}

/* ---- settings ---- */

/* The UNet's time is made of them. */
static dfx_status check_sigmas(const dfx_pipeline *p, const dfx_generate_options *o,
                               dfx_scheduler *s)
{
    int count;
    (void)o;
    if (dfx_scheduler_sigmas(s, &count))
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: %s needs one with sigmas: euler",
                     dfx_scheduler_class(s), p->class_name);
}

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    dfx__unet_facts unet = dfx__unet_get_facts(p->model[DFX__UNET]->net);
    int image = SCALE * (factor > 8 ? factor : 8), sample = factor * unet.multiple;
    dfx__defaults d = { .steps = 75,
                        .guidance_scale = 9,
                        .strength = 1,
                        .multiple = image > sample ? image : sample, /* powers of 2 */
                        .least = factor * unet.least > image ? factor * unet.least : image,
                        .enlarges = SCALE,
                        .check_scheduler = check_sigmas };
    if (!o->image && !o->init_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "image: %s needs one, or init_latents, which it enlarges", p->class_name);
    DFX__TRY(dfx__refuse_unused(p, o, DFX__USES_IMAGE | DFX__USES_INIT_LATENTS));
    dfx__take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

/* ---- drawing ---- */

/* [count, 64 ones, 64 zeros, pooled text] */
static dfx_status set_timestep_cond(dfx__run *r, const float *pooled, int count, size_t width)
{
    size_t all = NOISE_WIDTH + width;
    const dfx_spec spec = { DFX_F32, 2, { count, (int64_t)all } };
    float *cond = dfx__alloc((size_t)count * all, sizeof *cond);
    if (!cond)
        return dfx__no_memory();
    for (size_t i = 0; i < (size_t)count; i++) {
        for (size_t k = 0; k < NOISE_WIDTH; k++)
            cond[i * all + k] = k < NOISE_WIDTH / 2;
        memcpy(cond + i * all + NOISE_WIDTH, pooled + i * width, width * sizeof *cond);
    }
    dfx_status status = dfx__set_condition(r, DFX__TIMESTEP_COND, &spec, cond);
    free(cond);
    return status;
}

/* The last layer's states without the final norm and, in timestep_cond, the pooled text. */
static dfx_status encode_prompts(dfx__run *r)
{
    int prompts = r->pictures / r->o->batch, count = prompts * r->branches;
    size_t width = (size_t)dfx__tower_facts(r->p, 0).channels;
    DFX__TRY(dfx__make_prompt_embeds(r, count, dfx_tokenizer_length(r->p->tokenizer[0])));
    const char **text = dfx__alloc((size_t)count, sizeof *text);
    float *pooled = dfx__alloc((size_t)count * width, sizeof *pooled);
    const dfx__texts t = { .text = text, .count = count, .negative = count - prompts, .pooler = 1 };
    for (int i = 0; text && i < count; i++)
        text[i] = r->o->guidance_scale == 0 ? "" : dfx__prompt(r->o, i % prompts, i < t.negative);
    dfx_status status =
        text && pooled ? dfx__encode_texts(r, &t, (float *)r->result->prompt_embeds.data, pooled)
                       : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__take_prompt_embeds(r);
    if (status == DFX_OK)
        status = set_timestep_cond(r, pooled, count, width);
    free(pooled);
    free(text);
    return status;
}

/* Each of `count` latents [C, h, w] with every number four times, behind the latents. */
static dfx_status add_latents(dfx__run *r, const float *small, int count)
{
    size_t h = (size_t)r->latent.dim[2], w = (size_t)r->latent.dim[3];
    size_t planes = (size_t)(count * r->latent.dim[1]);
    float *large = dfx__alloc(planes * h * w, sizeof *large);
    if (!large)
        return dfx__no_memory();
    for (size_t i = 0; i < planes * h * w; i++) {
        size_t plane = i / (h * w), y = i / w % h, x = i % w;
        large[i] = small[(plane * (h / SCALE) + y / SCALE) * (w / SCALE) + x / SCALE];
    }
    dfx_status status = dfx__set_extra_rows(r, large, (int)r->latent.dim[1], count);
    free(large);
    return status;
}

/* The picture's latents in half of the result's size, a draw for each picture of the run: diffusers
 * is given the picture as often. */
static dfx_status encode_picture(dfx__run *r)
{
    int width = r->o->width / SCALE, height = r->o->height / SCALE;
    float *image = NULL, scale = dfx__scaling_factor(r->p, r->p->model[DFX__VAE]);
    float *latents = dfx__alloc(r->n / (SCALE * SCALE), sizeof *latents);
    dfx_status status = latents ? dfx__read_resized(r, width, height, DFX_FILTER_BICUBIC, &image)
                                : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__encode_image(r, image, width, height, r->pictures, scale, latents);
    if (status == DFX_OK)
        status = add_latents(r, latents, r->pictures);
    free(latents);
    free(image);
    return status;
}

/* Karras et al. 2022, table 1, with a quarter of the logarithm as the UNet's time. */
static float timestep(const dfx__run *r, int call)
{
    return 0.25f * logf(dfx__sigma_of_call(r, call));
}

static void precondition(dfx__run *r, int call)
{
    float sigma = dfx__sigma_of_call(r, call), scaled;
    float skip = 1 / (sigma * sigma + 1);
    dfx_scheduler_scale_model_input(r->scheduler, call, &sigma, &scaled, 1, 1);
    for (size_t i = 0; i < r->n; i++)
        r->noise_pred[i] = skip * r->x[i] + scaled * r->noise_pred[i];
}

static dfx_status draw(dfx__run *r)
{
    const dfx_tensor *given = r->o->init_latents;
    r->unet_timestep = timestep;
    r->precondition = precondition;
    DFX__TRY(encode_prompts(r));
    DFX__TRY(given ? add_latents(r, given->data, (int)given->spec.dim[0]) : encode_picture(r));
    DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, o->guidance_scale > 1 ? 2 : 1, draw);
}

static const char *const names[] = { "StableDiffusionLatentUpscalePipeline", NULL };
const dfx__pipeline_class dfx__latent_upscale_class = { names, dfx__open_components, check,
                                                        settings, generate };
