/* latents.c - pictures to latents and back, by a pipeline's autoencoder. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The range of f16 does not hold the autoencoder's activations. */
static dfx_dtype vae_dtype(const dfx_pipeline *p)
{
    return p->dtype == DFX_F16 ? DFX_F32 : p->dtype;
}

/* ---- encoding ---- */

/* image [1, 3, H, W] -> the encoder's output [1, h, w, *channels], to be freed */
static dfx_status run_encoder(dfx__run *r, const float *image, int width, int height, float **out,
                              dfx_spec *spec)
{
    dfx_pipeline *p = r->p;
    dfx_sequence *s;
    dfx_spec rgb = { DFX_F32, 4, { 1, 3, height, width } };
    int64_t nhwc[] = { 1, height, width, 3 };
    float *pixels = dfx__alloc(dfx__elements(&rgb), sizeof *pixels);
    dfx_status status = pixels ? dfx_sequence_new(&s, p->device, vae_dtype(p)) : dfx__no_memory();
    if (status == DFX_OK) {
        dfx__to_channels_last(pixels, image, &rgb);
        dfx_value *x = dfx_cast(dfx_input(s, "image", DFX_F32, 4, nhwc), vae_dtype(p));
        x = dfx_cast(dfx__autoencoder_encode(p->model[DFX__VAE], x), DFX_F32);
        dfx_output(x, "moments");
        status = dfx_sequence_prepare(s);
        if (status == DFX_OK)
            status = dfx_sequence_write(s, "image", pixels, dfx__spec_bytes(&rgb));
        if (status == DFX_OK)
            status = dfx_sequence_run(s);
        if (status == DFX_OK) {
            *spec = *dfx_value_spec(x);
            *out = dfx__alloc(dfx__elements(spec), sizeof **out);
            status = *out ? dfx_sequence_read(s, "moments", *out, dfx__spec_bytes(spec))
                          : dfx__no_memory();
        }
        dfx_sequence_free(s);
    }
    free(pixels);
    return status;
}

/* Takes latents [C, h, w] out of moments [h, w, 2 C], with noise of the latents' shape, or out of
 * [h, w, C] of an autoencoder without a distribution. */
static void take_latents(const dfx__autoencoder_facts *vae, const float *moments, size_t pixels,
                         const float *noise, float *latents)
{
    size_t channels = (size_t)vae->latent_channels, wide = channels * (vae->has_moments ? 2 : 1);
    for (size_t c = 0; c < channels; c++)
        for (size_t p = 0; p < pixels; p++) {
            float value = moments[p * wide + c];
            if (noise) {
                float log_variance = fminf(fmaxf(moments[p * wide + channels + c], -30), 20);
                value += expf(0.5f * log_variance) * noise[c * pixels + p];
            }
            latents[c * pixels + p] = value;
        }
}

dfx_status dfx__encode_unscaled(dfx__run *r, const float *image, int width, int height, int sample,
                                float *latents)
{
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]);
    int w = width / vae.factor, h = height / vae.factor;
    size_t pixels = (size_t)w * (size_t)h, n = pixels * (size_t)vae.latent_channels;
    dfx_spec spec;
    float *moments = NULL, *noise = NULL;
    dfx_status status = run_encoder(r, image, width, height, &moments, &spec);
    if (status == DFX_OK && dfx__elements(&spec) != n * (vae.has_moments ? 2 : 1))
        status =
            dfx__fail(DFX_ERROR_ARGUMENT, "image: %d x %d pixels do not become latents of %d x %d",
                      width, height, w, h);
    if (status == DFX_OK && sample && vae.has_moments) {
        noise = dfx__alloc(n, sizeof *noise);
        if (noise)
            dfx_rng_normal(&r->rng, noise, n);
        else
            status = dfx__no_memory();
    }
    if (status == DFX_OK)
        take_latents(&vae, moments, pixels, noise, latents);
    free(noise);
    free(moments);
    return status;
}

dfx_status dfx__encode_image(dfx__run *r, const float *image, int sample, float *latents)
{
    float factor = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]).scaling_factor;
    size_t n = r->n / (size_t)r->pictures;
    DFX__TRY(dfx__encode_unscaled(r, image, r->o->width, r->o->height, sample, latents));
    for (size_t i = 0; i < n; i++)
        latents[i] *= factor;
    return DFX_OK;
}

/* ---- decoding ---- */

/* Pictures are decoded one by one: the decoder's activations are the largest of all. */
static dfx_status prepare_decoder(dfx__run *r)
{
    dfx_pipeline *p = r->p;
    dfx__kept *k = &p->vae_kept;
    const int64_t *dim = r->latent.dim;
    if (!dfx__needs_recording(k, p->model[DFX__VAE], dim + 2, 2))
        return DFX_OK;
    dfx_dtype dtype = vae_dtype(p);
    DFX__TRY(dfx_sequence_new(&k->sequence, p->device, dtype));
    dfx_value *x =
        dfx_input(k->sequence, "latent", DFX_F32, 4, (int64_t[]){ 1, dim[2], dim[3], dim[1] });
    x = dfx_cast(dfx__autoencoder_decode(p->model[DFX__VAE], dfx_cast(x, dtype)), DFX_F32);
    dfx_output(x, "image");
    dfx_status status = dfx_sequence_prepare(k->sequence);
    if (status != DFX_OK)
        dfx__forget(k);
    return status;
}

/* latents [C, h, w] -> floats [3, H, W] in 0..1; `room` is for as many */
static dfx_status decode_one(dfx__run *r, const float *latents, float *image, float *room)
{
    dfx_sequence *s = r->p->vae_kept.sequence;
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]);
    dfx_spec one = r->latent, rgb = { DFX_F32, 4, { 1, 3, r->o->height, r->o->width } };
    one.dim[0] = 1;
    size_t n = dfx__elements(&one), pixels = dfx__elements(&rgb);
    size_t area = n / (size_t)vae.latent_channels;
    int normalised = r->normalises && vae.latents_mean && vae.latents_std;
    for (size_t i = 0; i < n; i++)
        r->input[i] = normalised ? latents[i] * vae.latents_std[i / area] / vae.scaling_factor +
                                       vae.latents_mean[i / area]
                                 : latents[i] / vae.scaling_factor;
    dfx__to_channels_last(r->noise_pred, r->input, &one);
    DFX__TRY(dfx_sequence_write(s, "latent", r->noise_pred, n * sizeof(float)));
    DFX__TRY(dfx_sequence_run(s));
    DFX__TRY(dfx_sequence_read(s, "image", room, pixels * sizeof *room));
    dfx__to_channels_first(image, room, &rgb);
    for (size_t i = 0; i < pixels; i++)
        image[i] = fminf(fmaxf(image[i] / 2 + 0.5f, 0), 1);
    return DFX_OK;
}

/* [pictures, 3, H, W] */
static dfx_status decode_all(dfx__run *r, float *image)
{
    size_t n = r->n / (size_t)r->pictures, pixels = 3 * (size_t)r->o->height * (size_t)r->o->width;
    float *room = dfx__alloc(pixels, sizeof *room);
    dfx_status status = room ? DFX_OK : dfx__no_memory();
    for (size_t b = 0; b < (size_t)r->pictures && status == DFX_OK; b++)
        status = decode_one(r, r->x + b * n, image + b * pixels, room);
    free(room);
    return status;
}

static dfx_status keep_latents(const dfx__run *r)
{
    size_t bytes = r->n * sizeof *r->x;
    float *x = dfx__alloc(r->n, sizeof *x);
    if (!x)
        return dfx__no_memory();
    memcpy(x, r->x, bytes);
    r->result->latents = (dfx_tensor){ "latents", r->latent, x, bytes };
    return DFX_OK;
}

dfx_status dfx__decode(dfx__run *r)
{
    DFX__TRY(keep_latents(r));
    if (r->o->only_latents)
        return DFX_OK;
    dfx_status status = prepare_decoder(r);
    if (status == DFX_ERROR_MEMORY) { /* the UNet's may make room */
        dfx__forget(&r->p->unet_kept);
        status = prepare_decoder(r);
    }
    DFX__TRY(status);
    size_t line = (size_t)r->o->width * sizeof(float);
    float *image = dfx__alloc((size_t)r->pictures * 3 * (size_t)r->o->height, line);
    status = image ? decode_all(r, image) : dfx__no_memory();
    if (status == DFX_OK)
        return dfx__result_images(r->result, image, r->pictures, r->o->height, r->o->width);
    free(image);
    return status;
}
