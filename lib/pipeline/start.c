/* start.c - the latents that a run starts from: noise, a noised picture, a picture with a hole. */
#include "media/image_processor.h"
#include "pipeline/run.h"
#include "scheduler/scheduler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* r->n numbers of the run's generator, or the given latents. */
static void draw_latents(dfx__run *r, float *out)
{
    if (r->o->latents)
        memcpy(out, r->o->latents->data, r->n * sizeof *out);
    else
        dfx_rng_normal(&r->rng, out, r->n);
}

/* Noise becomes a sample of the scheduler's first call. */
static void scale_noise(dfx__run *r, const float *noise)
{
    float sigma = dfx_scheduler_init_noise_sigma(r->scheduler);
    for (size_t i = 0; i < r->n; i++)
        r->x[i] = noise[i] * sigma;
}

dfx_status dfx__start_from_noise(dfx__run *r)
{
    draw_latents(r, r->x);
    scale_noise(r, r->x);
    return DFX_OK;
}

/* ---- image to image (Meng et al. 2021) ---- */

/* The timestep that divides a "mixture of denoisers" at a part of the denoising. */
static double cutoff(const dfx__run *r, double part)
{
    double all = r->scheduler->config.num_train_timesteps;
    return rint(all - part * all);
}

/* Takes the calls after denoising_start, by their timesteps. */
static dfx_status skip_denoised(dfx__run *r)
{
    const float *t = dfx_scheduler_timesteps(r->scheduler);
    double limit = cutoff(r, r->o->denoising_start);
    int calls = dfx_scheduler_calls(r->scheduler), taken = 0;
    for (int i = 0; i < calls; i++)
        taken += t[i] < limit;
    /* not between the two calls of a step: all timesteps but the highest stand twice */
    if (dfx_scheduler_order(r->scheduler) == 2 && taken % 2 == 0 && taken < calls)
        taken++;
    if (taken < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "denoising_start: after %g of %d steps none is left",
                         r->o->denoising_start, r->o->steps);
    r->first = calls - taken;
    return DFX_OK;
}

/* Leaves out the calls before the settings' strength or denoising_start. */
static dfx_status skip_calls(dfx__run *r)
{
    if (r->o->denoising_start > 0)
        return skip_denoised(r);
    int steps = r->o->steps, taken = (int)(steps * r->o->strength);
    if (taken < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "strength: %g of %d steps is less than one step",
                         r->o->strength, steps);
    r->first = (steps - taken) * dfx_scheduler_order(r->scheduler);
    return DFX_OK;
}

dfx_status dfx__read_resized(const dfx__run *r, int width, int height, dfx_image_filter filter,
                             float **out)
{
    dfx__image_processor p = dfx__init_image_processor(1);
    p.filter = filter;
    return dfx__image_preprocess(out, &width, &height, r->o->image, &p, "image");
}

/* Nothing where latents replace the image. */
dfx_status dfx__read_image(const dfx__run *r, float **out)
{
    if (r->o->init_latents)
        return DFX_OK;
    int width = r->o->width, height = r->o->height;
    dfx__image_processor p = dfx__init_image_processor(1);
    p.crop = r->crops ? &r->crop : NULL;
    return dfx__image_preprocess(out, &width, &height, r->o->image, &p, "image");
}

/* A draw of the latents of an image in the settings' size. */
static dfx_status encode_scaled(dfx__run *r, const float *image, float *latents)
{
    return dfx__encode_image(r, image, r->o->width, r->o->height, 1,
                             dfx__scaling_factor(r->p, r->p->model[DFX__VAE]), latents);
}

/* Latents of the picture, or the settings', once for each picture of the run: [pictures, C, h, w],
 * to be freed. */
static dfx_status encode(dfx__run *r, const float *image, float **out)
{
    const dfx_tensor *given = r->o->init_latents;
    size_t n = given ? given->bytes / sizeof(float) : r->n / (size_t)r->pictures;
    float *latents = *out = dfx__alloc(r->n, sizeof *latents);
    if (!latents)
        return dfx__no_memory();
    if (given)
        memcpy(latents, given->data, given->bytes);
    else
        DFX__TRY(encode_scaled(r, image, latents));
    for (size_t i = n; i < r->n; i++)
        latents[i] = latents[i - n];
    return DFX_OK;
}

/* SDXL's image to image has latents about a mean; its inpainting in diffusers leaves that out. */
static void normalise(const dfx__run *r, float *latents)
{
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]);
    size_t pixels = (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    if (!r->normalises || !vae.latents_mean || !vae.latents_std || r->o->init_latents)
        return;
    for (size_t i = 0; i < r->n; i++) {
        size_t c = i / pixels % (size_t)vae.latent_channels;
        latents[i] = (latents[i] - vae.latents_mean[c] * vae.scaling_factor) / vae.latents_std[c];
    }
}

dfx_status dfx__start_from_image(dfx__run *r)
{
    float *image = NULL, *latents = NULL;
    dfx_status status = dfx__read_image(r, &image);
    if (status == DFX_OK)
        status = encode(r, image, &latents);
    if (status == DFX_OK) {
        normalise(r, latents);
        if (r->o->denoising_start > 0) { /* the noise is in them */
            memcpy(r->x, latents, r->n * sizeof *latents);
        } else {
            draw_latents(r, r->input);
            dfx_scheduler_add_noise(r->scheduler, r->first, latents, r->input, r->x, 1, r->n);
        }
    }
    free(latents);
    free(image);
    return status;
}

/* ---- inpainting ---- */

/* The mask's pixel at each latent's first one: [h, w] of 0 and 1. */
static float *shrink_mask(const dfx__run *r, const float *mask)
{
    int64_t h = r->latent.dim[2], w = r->latent.dim[3];
    int64_t width = r->o->width, height = r->o->height;
    float *out = dfx__alloc((size_t)(h * w), sizeof *out);
    for (int64_t y = 0; out && y < h; y++)
        for (int64_t x = 0; x < w; x++)
            out[y * w + x] = mask[y * height / h * width + x * width / w];
    return out;
}

/* Where nothing takes the masked picture's latents, their noise is drawn all the same: diffusers
 * encodes it. */
static dfx_status take_masked(dfx__run *r, float *image, const float *mask, int plain)
{
    size_t n = r->n / (size_t)r->pictures, pixels = (size_t)r->o->height * (size_t)r->o->width;
    size_t points = n / (size_t)r->latent.dim[1];
    int draws = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]).has_moments;
    float *planes = dfx__alloc(points + n, sizeof *planes); /* the mask, then latents */
    dfx_status status = planes ? DFX_OK : dfx__no_memory();
    if (status == DFX_OK && plain && draws && image)
        dfx_rng_normal(&r->rng, planes, n);
    if (status == DFX_OK && !plain && !image)
        status = dfx__fail(DFX_ERROR_ARGUMENT, "init_latents: the UNet takes the masked picture; "
                                               "give the image itself");
    else if (status == DFX_OK && !plain) {
        for (size_t i = 0; i < 3 * pixels; i++)
            image[i] *= mask[i % pixels] < 0.5f;
        memcpy(planes, r->mask, points * sizeof *planes);
        status = encode_scaled(r, image, planes + points);
        if (status == DFX_OK)
            status = dfx__set_extra(r, planes, 1 + (int)r->latent.dim[1]);
    }
    free(planes);
    return status;
}

/* r->kept (where `keeps`), r->noise and r->x */
static dfx_status start_latents(dfx__run *r, const float *image, int keeps)
{
    int goes_on = r->o->denoising_start > 0, only_noise = r->o->strength == 1 && !goes_on;
    r->noise = dfx__alloc(r->n, sizeof *r->noise);
    if (!r->noise)
        return dfx__no_memory();
    if (keeps || !only_noise)
        DFX__TRY(encode(r, image, &r->kept));
    draw_latents(r, r->noise);
    if (goes_on)
        memcpy(r->x, r->kept, r->n * sizeof *r->x);
    else if (only_noise)
        scale_noise(r, r->noise);
    else
        dfx_scheduler_add_noise(r->scheduler, r->first, r->kept, r->noise, r->x, 1, r->n);
    if (!keeps) {
        free(r->kept);
        r->kept = NULL;
    }
    return DFX_OK;
}

static dfx_status start_from(dfx__run *r, float *image, const float *mask)
{
    int plain = dfx__unet_get_facts(r->p->model[DFX__UNET]->net).in_channels == r->latent.dim[1];
    r->mask = shrink_mask(r, mask);
    if (!r->mask)
        return dfx__no_memory();
    DFX__TRY(start_latents(r, image, plain));
    return take_masked(r, image, mask, plain);
}

/* Whether the autoencoder decodes with the picture and the mask. */
static int decodes_mask(const dfx__run *r)
{
    return r->decodes_mask && !r->o->only_latents &&
           dfx__autoencoder_get_facts(r->p->model[DFX__VAE]).takes_mask;
}

/* Copies, as start_from changes the picture. */
static dfx_status keep_picture(dfx__run *r, const float *image, const float *mask)
{
    size_t pixels = (size_t)r->o->width * (size_t)r->o->height;
    if (!image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "init_latents: the VAE decodes with the picture; give "
                                             "the image itself");
    r->picture = dfx__alloc(3 * pixels, sizeof *image);
    r->hole = dfx__alloc(pixels, sizeof *mask);
    if (!r->picture || !r->hole)
        return dfx__no_memory();
    memcpy(r->picture, image, 3 * pixels * sizeof *image);
    memcpy(r->hole, mask, pixels * sizeof *mask);
    return DFX_OK;
}

static dfx_status start_from_mask(dfx__run *r)
{
    int width = r->o->width, height = r->o->height;
    dfx__image_processor p = dfx__mask_processor(1);
    float *image = NULL, *mask = NULL;
    DFX__TRY(dfx__crop_to_mask(r));
    p.crop = r->crops ? &r->crop : NULL;
    dfx_status status = dfx__read_image(r, &image);
    if (status == DFX_OK)
        status = dfx__image_preprocess(&mask, &width, &height, r->o->mask, &p, "mask");
    if (status == DFX_OK && decodes_mask(r))
        status = keep_picture(r, image, mask);
    if (status == DFX_OK)
        status = start_from(r, image, mask);
    free(mask);
    free(image);
    return status;
}

/* ---- all of it ---- */

dfx_status dfx__stop_early(dfx__run *r)
{
    const float *t = dfx_scheduler_timesteps(r->scheduler);
    double limit = cutoff(r, r->o->denoising_end);
    int taken = 0;
    if (r->o->denoising_end == 0 || r->o->denoising_end == 1)
        return DFX_OK;
    for (int i = r->first; i < r->end; i++)
        taken += t[i] >= limit;
    if (taken < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "denoising_end: before %g of %d steps there is none",
                         r->o->denoising_end, r->o->steps);
    r->end = r->first + taken;
    return DFX_OK;
}

dfx_status dfx__start(dfx__run *r)
{
    int starts = r->o->image || r->o->init_latents;
    if (starts)
        DFX__TRY(skip_calls(r));
    if (r->o->mask)
        DFX__TRY(start_from_mask(r));
    else if (starts)
        DFX__TRY(dfx__start_from_image(r));
    else
        DFX__TRY(dfx__start_from_noise(r));
    return dfx__stop_early(r);
}
