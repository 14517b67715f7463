/* encode.c - pictures to latents, by a pipeline's autoencoder. */
#include "core/dtype.h"
#include "pipeline/coder.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>

float dfx__scaling_factor(const dfx_pipeline *p, const dfx_model *vae)
{
    int own = p->scaling_factor > 0 && vae == p->model[DFX__VAE];
    return own ? p->scaling_factor : dfx__autoencoder_get_facts(vae).scaling_factor;
}

/* Image to image and inpainting of SDXL leave bf16 too where force_upcast says so. */
static dfx_dtype encoder_dtype(const dfx__run *r)
{
    const dfx_model *vae = r->p->model[DFX__VAE];
    int upcasts = r->normalises && dfx__autoencoder_get_facts(vae).force_upcast;
    return upcasts ? DFX_F32 : dfx__vae_dtype(r->p, DFX__VAE);
}

/* A picture [height, width, channels] to latents. */
typedef struct {
    const float *pixels;
    int height, width, channels, factor;
} encoder;

/* A side of the picture that ends within a latent is taken as it is unless it is cut. */
static int side_of(int latents, int all, int pixels, int factor)
{
    return latents == all ? pixels : latents * factor;
}

static dfx_value *record(const dfx__coder *c, dfx_sequence *s, int height, int width)
{
    const encoder *e = c->user;
    int64_t dim[] = { 1, side_of(height, c->height, e->height, e->factor),
                      side_of(width, c->width, e->width, e->factor), e->channels };
    return dfx__autoencoder_encode(c->vae,
                                   dfx_cast(dfx_input(s, "image", DFX_F32, 4, dim), c->dtype));
}

static dfx_status write_pixels(const dfx__coder *c, const dfx__tile *t)
{
    const encoder *e = c->user;
    const dfx__tile pixels = { t->y * e->factor, t->x * e->factor,
                               side_of(t->height, c->height, e->height, e->factor),
                               side_of(t->width, c->width, e->width, e->factor) };
    return dfx__coder_write(c, "image", e->pixels, &pixels, e->width, e->channels);
}

static dfx_status check(const dfx__coder *c, const dfx_spec *has, int height, int width)
{
    const encoder *e = c->user;
    if (has->dim[1] == height && has->dim[2] == width && has->dim[3] == c->channels)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "image: %d x %d pixels do not become latents of %d x %d",
                     e->width, e->height, c->width, c->height);
}

/* image [1, 3, H, W] -> what the encoder makes of it, [h, w, *channels], to be freed */
static dfx_status run_encoder(dfx__run *r, const float *image, int width, int height, float **out)
{
    dfx_pipeline *p = r->p;
    const dfx_model *vae = p->model[DFX__VAE];
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(vae);
    dfx_spec rgb = { DFX_F32, 4, { 1, 3, height, width } };
    float *pixels = dfx__alloc(dfx__elements(&rgb), sizeof *pixels);
    encoder e = { pixels, height, width, 3, f.factor };
    dfx__coder c = { .p = p,
                     .slot = DFX__VAE,
                     .vae = vae,
                     .kept = &p->encoder_kept,
                     .dtype = encoder_dtype(r),
                     .encodes = 1,
                     .height = height / f.factor,
                     .width = width / f.factor,
                     .input_height = height,
                     .input_width = width,
                     .input_channels = 3,
                     .input = pixels,
                     .unit = 1,
                     .channels = f.latent_channels * (f.has_moments ? 2 : 1),
                     .record = record,
                     .write = write_pixels,
                     .check = check,
                     .user = &e };
    if (!pixels)
        return dfx__no_memory();
    dfx__to_channels_last(pixels, image, &rgb);
    dfx_status status = dfx__coder_prepare(&c);
    size_t n = (size_t)c.height * (size_t)c.width * (size_t)c.channels;
    if (status == DFX_OK && !(*out = dfx__alloc(n, sizeof **out)))
        status = dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__coder_run(&c, *out);
    dfx__forget(&p->encoder_kept); /* most runs encode one picture */
    free(pixels);
    return status;
}

/* Takes latents [C, h, w], scaled, out of moments [h, w, 2 C], with noise of the latents' shape, or
 * out of [h, w, C] of an autoencoder without a distribution. */
static void take_latents(const dfx__autoencoder_facts *vae, const float *moments, size_t pixels,
                         const float *noise, float scale, float *latents)
{
    size_t channels = (size_t)vae->latent_channels, wide = channels * (vae->has_moments ? 2 : 1);
    for (size_t c = 0; c < channels; c++)
        for (size_t p = 0; p < pixels; p++) {
            float value = moments[p * wide + c];
            if (noise) {
                float log_variance = fminf(fmaxf(moments[p * wide + channels + c], -30), 20);
                value += expf(0.5f * log_variance) * noise[c * pixels + p];
            }
            latents[c * pixels + p] = value * scale;
        }
}

dfx_status dfx__encode_image(dfx__run *r, const float *image, int width, int height, int draws,
                             float scale, float *latents)
{
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->model[DFX__VAE]);
    size_t pixels = (size_t)(width / vae.factor) * (size_t)(height / vae.factor);
    size_t n = pixels * (size_t)vae.latent_channels, count = draws > 1 ? (size_t)draws : 1;
    float *moments = NULL, *noise = NULL;
    dfx_status status = run_encoder(r, image, width, height, &moments);
    if (status == DFX_OK && draws && vae.has_moments) {
        noise = dfx__alloc(count * n, sizeof *noise);
        if (noise)
            dfx_rng_normal(&r->rng, noise, count * n);
        else
            status = dfx__no_memory();
    }
    for (size_t i = 0; i < count && status == DFX_OK; i++)
        take_latents(&vae, moments, pixels, noise ? noise + i * n : NULL, scale, latents + i * n);
    free(noise);
    free(moments);
    return status;
}
