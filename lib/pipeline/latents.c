/* latents.c - pictures to latents and back, by a pipeline's autoencoder. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dfx_dtype vae_dtype(const dfx_pipeline *p, const dfx_model *vae)
{
    int upcasts = p->dtype == DFX_F16 && dfx__autoencoder_get_facts(vae).force_upcast;
    return upcasts ? DFX_F32 : p->dtype;
}

float dfx__scaling_factor(const dfx_pipeline *p, const dfx_model *vae)
{
    int own = p->scaling_factor > 0 && vae == p->model[DFX__VAE];
    return own ? p->scaling_factor : dfx__autoencoder_get_facts(vae).scaling_factor;
}

/* ---- encoding ---- */

/* Image to image and inpainting of SDXL leave bf16 too where force_upcast says so. */
static dfx_dtype encoder_dtype(const dfx__run *r)
{
    const dfx_model *vae = r->p->model[DFX__VAE];
    int upcasts = r->normalises && dfx__autoencoder_get_facts(vae).force_upcast;
    return upcasts ? DFX_F32 : vae_dtype(r->p, vae);
}

static dfx_status run_prepared(dfx_sequence *s, const dfx_value *y, const float *pixels,
                               size_t bytes, float **out, dfx_spec *spec)
{
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(dfx_sequence_write(s, "image", pixels, bytes));
    DFX__TRY(dfx_sequence_run(s));
    *spec = *dfx_value_spec(y);
    *out = dfx__alloc(dfx__elements(spec), sizeof **out);
    return *out ? dfx_sequence_read(s, "result", *out, dfx__spec_bytes(spec)) : dfx__no_memory();
}

dfx_status dfx__run_image(dfx_pipeline *p, const dfx_model *m, dfx__record_image *record,
                          dfx_dtype dtype, const float *pixels, int height, int width, float **out,
                          dfx_spec *spec)
{
    dfx_sequence *s;
    dfx_spec nhwc = { DFX_F32, 4, { 1, height, width, 3 } };
    DFX__TRY(dfx_sequence_new(&s, p->device, dtype));
    dfx_value *x = dfx_cast(dfx_input(s, "image", DFX_F32, 4, nhwc.dim), dtype);
    x = dfx_cast(record(m, x), DFX_F32);
    dfx_output(x, "result");
    dfx_status status = run_prepared(s, x, pixels, dfx__spec_bytes(&nhwc), out, spec);
    dfx_sequence_free(s);
    return status;
}

/* image [1, 3, H, W] -> the encoder's output [1, h, w, *channels], to be freed */
static dfx_status run_encoder(dfx__run *r, const float *image, int width, int height, float **out,
                              dfx_spec *spec)
{
    const dfx_model *vae = r->p->model[DFX__VAE];
    dfx_spec rgb = { DFX_F32, 4, { 1, 3, height, width } };
    float *pixels = dfx__alloc(dfx__elements(&rgb), sizeof *pixels);
    if (!pixels)
        return dfx__no_memory();
    dfx__to_channels_last(pixels, image, &rgb);
    dfx_status status = dfx__run_image(r->p, vae, dfx__autoencoder_encode, encoder_dtype(r), pixels,
                                       height, width, out, spec);
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
    int w = width / vae.factor, h = height / vae.factor;
    size_t pixels = (size_t)w * (size_t)h, n = pixels * (size_t)vae.latent_channels;
    size_t count = draws > 1 ? (size_t)draws : 1;
    dfx_spec spec;
    float *moments = NULL, *noise = NULL;
    dfx_status status = run_encoder(r, image, width, height, &moments, &spec);
    if (status == DFX_OK && dfx__elements(&spec) != n * (vae.has_moments ? 2 : 1))
        status =
            dfx__fail(DFX_ERROR_ARGUMENT, "image: %d x %d pixels do not become latents of %d x %d",
                      width, height, w, h);
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

/* ---- decoding ---- */

/* From latents [B, C, h, w] to pictures [B, 3, H, W]. */
typedef struct {
    dfx_pipeline *p;
    const dfx_model *vae;
    dfx__kept *kept;
    dfx__autoencoder_facts facts;
    dfx_spec latents, pictures;
    const float *picture, *mask; /* [3, H, W] and [H, W], which it decodes with; or NULL */
} decoder;

static decoder make_decoder(dfx_pipeline *p, const dfx_model *vae, dfx__kept *kept,
                            const dfx_spec *latents)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(vae);
    const int64_t *dim = latents->dim;
    dfx_spec pictures = { DFX_F32, 4, { dim[0], 3, dim[2] * facts.factor, dim[3] * facts.factor } };
    return (decoder){ p, vae, kept, facts, *latents, pictures, NULL, NULL };
}

static dfx_status check_pictures(const decoder *d, const dfx_spec *has)
{
    const int64_t *needs = d->pictures.dim;
    if (has->dim[1] == needs[2] && has->dim[2] == needs[3] && has->dim[3] == needs[1])
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: it decodes %lld x %lld latents to %lld x %lld pixels of %lld channels",
                     d->vae->folder, (long long)d->latents.dim[3], (long long)d->latents.dim[2],
                     (long long)has->dim[2], (long long)has->dim[1], (long long)has->dim[3]);
}

/* An input [1, height, width, channels] in the autoencoder's dtype. */
static dfx_value *plane(const decoder *d, const char *name, int64_t height, int64_t width,
                        int64_t channels)
{
    int64_t dim[] = { 1, height, width, channels };
    return dfx_cast(dfx_input(d->kept->sequence, name, DFX_F32, 4, dim), vae_dtype(d->p, d->vae));
}

static dfx_value *record_decoder(const decoder *d)
{
    const int64_t *dim = d->latents.dim, *whole = d->pictures.dim;
    dfx_value *x = plane(d, "latent", dim[2], dim[3], dim[1]);
    if (!d->mask)
        return dfx__autoencoder_decode(d->vae, x);
    return dfx__autoencoder_decode_masked(d->vae, x, plane(d, "picture", whole[2], whole[3], 3),
                                          plane(d, "mask", whole[2], whole[3], 1));
}

/* Pictures are decoded one by one: the decoder's activations are the largest of all. */
static dfx_status prepare_decoder(const decoder *d)
{
    dfx__kept *k = d->kept;
    int64_t shape[] = { d->latents.dim[2], d->latents.dim[3], d->mask != NULL };
    if (!dfx__needs_recording(k, d->vae, shape, 3))
        return DFX_OK;
    DFX__TRY(dfx_sequence_new(&k->sequence, d->p->device, vae_dtype(d->p, d->vae)));
    dfx_value *x = dfx_cast(record_decoder(d), DFX_F32);
    dfx_output(x, "image");
    dfx_status status = dfx_sequence_prepare(k->sequence);
    if (status == DFX_OK)
        status = check_pictures(d, dfx_value_spec(x));
    if (status != DFX_OK)
        dfx__forget(k);
    return status;
}

/* latents [C, h, w] as a diffusion has them -> as they were encoded */
static void unscale(const decoder *d, const float *latents, float *out)
{
    const dfx__autoencoder_facts *f = &d->facts;
    size_t area = (size_t)(d->latents.dim[2] * d->latents.dim[3]);
    size_t n = area * (size_t)d->latents.dim[1];
    float factor = dfx__scaling_factor(d->p, d->vae);
    int normalised = d->p->denormalises && f->latents_mean && f->latents_std;
    for (size_t i = 0; i < n; i++)
        out[i] = normalised
                     ? latents[i] * f->latents_std[i / area] / factor + f->latents_mean[i / area]
                     : latents[i] / factor;
}

/* latents [C, h, w] -> floats [3, H, W] in 0..1; `room` is for twice as many of either */
static dfx_status decode_one(const decoder *d, const float *latents, float *image, float *room)
{
    dfx_sequence *s = d->kept->sequence;
    dfx_spec one = d->latents, rgb = d->pictures;
    one.dim[0] = rgb.dim[0] = 1;
    size_t n = dfx__elements(&one), pixels = dfx__elements(&rgb);
    unscale(d, latents, room);
    dfx__to_channels_last(room + n, room, &one);
    DFX__TRY(dfx_sequence_write(s, "latent", room + n, n * sizeof *room));
    DFX__TRY(dfx_sequence_run(s));
    DFX__TRY(dfx_sequence_read(s, "image", room, pixels * sizeof *room));
    dfx__to_channels_first(image, room, &rgb);
    for (size_t i = 0; i < pixels; i++)
        image[i] = fminf(fmaxf(image[i] / 2 + 0.5f, 0), 1);
    return DFX_OK;
}

/* Gives the sequence the picture and the mask; `room` is for three planes. */
static dfx_status write_mask(const decoder *d, float *room)
{
    dfx_spec rgb = d->pictures;
    rgb.dim[0] = 1;
    if (!d->mask)
        return DFX_OK;
    dfx__to_channels_last(room, d->picture, &rgb);
    DFX__TRY(dfx_sequence_write(d->kept->sequence, "picture", room, dfx__spec_bytes(&rgb)));
    return dfx_sequence_write(d->kept->sequence, "mask", d->mask, dfx__spec_bytes(&rgb) / 3);
}

static dfx_status decode_all(const decoder *d, const float *latents, float *image)
{
    size_t count = (size_t)d->latents.dim[0], n = dfx__elements(&d->latents) / count;
    size_t pixels = dfx__elements(&d->pictures) / count;
    float *room = dfx__alloc(2 * (n > pixels ? n : pixels), sizeof *room);
    dfx_status status = room ? write_mask(d, room) : dfx__no_memory();
    for (size_t b = 0; b < count && status == DFX_OK; b++)
        status = decode_one(d, latents + b * n, image + b * pixels, room);
    free(room);
    return status;
}

/* Makes the result's pictures. */
static dfx_status decode(const decoder *d, const float *latents, dfx_result *result)
{
    float *image = dfx__alloc(dfx__elements(&d->pictures), sizeof *image);
    dfx_status status = image ? decode_all(d, latents, image) : dfx__no_memory();
    if (status == DFX_OK)
        return dfx__result_images(result, image, &d->pictures);
    free(image);
    return status;
}

/* Without an autoencoder latents are pictures, of score models in 0..1 and of others in -1..1. */
static dfx_status take_pictures(dfx_result *result, const dfx_pipeline *p, const dfx_spec *spec,
                                const float *latents)
{
    size_t n = dfx__elements(spec);
    float *image = dfx__alloc(n, sizeof *image);
    if (!image)
        return dfx__no_memory();
    for (size_t i = 0; i < n; i++)
        image[i] = fminf(fmaxf(p->is_score ? latents[i] : latents[i] / 2 + 0.5f, 0), 1);
    return dfx__result_images(result, image, spec);
}

static dfx_status keep_latents(dfx_result *result, const dfx_spec *spec, const float *latents)
{
    size_t bytes = dfx__spec_bytes(spec);
    float *x = dfx__alloc(1, bytes);
    if (!x)
        return dfx__no_memory();
    memcpy(x, latents, bytes);
    result->latents = (dfx_tensor){ "latents", *spec, x, bytes };
    return DFX_OK;
}

dfx_status dfx__decode(dfx__run *r)
{
    dfx_pipeline *p = r->p;
    DFX__TRY(keep_latents(r->result, &r->latent, r->x));
    if (r->o->last)
        dfx__forget(&p->preview_kept);
    if (r->o->last && r->o->only_latents) /* there may have been previews */
        dfx__forget(&p->vae_kept);
    if (r->o->only_latents)
        return DFX_OK;
    if (!p->model[DFX__VAE])
        return take_pictures(r->result, p, &r->latent, r->x);
    decoder d = make_decoder(p, p->model[DFX__VAE], &p->vae_kept, &r->latent);
    d.picture = r->picture;
    d.mask = r->hole;
    dfx_status status = prepare_decoder(&d);
    if (status == DFX_ERROR_MEMORY) { /* others may make room */
        dfx__forget(&p->unet_kept);
        dfx__forget(&p->preview_kept);
        status = prepare_decoder(&d);
    }
    DFX__TRY(status);
    return decode(&d, r->x, r->result);
}

/* ---- given latents ---- */

/* `vae` NULL: the pipeline has no autoencoder. */
static dfx_status check_latents(const dfx_pipeline *p, const dfx_tensor *t, const dfx_model *vae)
{
    enum { MOST = 1 << 15 };
    if (vae && !vae->class->autoencoder)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s decodes no latents", vae->class->name);
    int channels =
        vae ? dfx__autoencoder_get_facts(vae).latent_channels : dfx__get_latent_form(p).channels;
    const int64_t *dim = t->spec.dim;
    int fits = t->spec.rank == 4 && t->spec.dtype == DFX_F32 && dim[1] == channels;
    for (int i = 0; fits && i < 4; i++)
        fits = dim[i] >= 1 && dim[i] <= MOST;
    if (fits && t->bytes == dfx__spec_bytes(&t->spec))
        return DFX_OK;
    char has[DFX__SHAPE_TEXT];
    return dfx__fail(DFX_ERROR_ARGUMENT, "%s: latents %s in %s do not fit [B, %d, h, w] in f32",
                     vae ? vae->folder : p->path, dfx__shape_text(has, t->spec.rank, dim),
                     dfx_dtype_name(t->spec.dtype), channels);
}

/* An autoencoder that is given is shared, so that what is prepared for it stays right. */
static void take_preview(dfx_pipeline *p, dfx_model *vae)
{
    if (vae == p->preview)
        return;
    dfx__forget(&p->preview_kept);
    dfx_model_free(p->preview);
    p->preview = dfx__model_share(vae);
}

static dfx_status decode_given(dfx_result *r, dfx_pipeline *p, const dfx_tensor *latents,
                               dfx_model *vae)
{
    int own = vae == p->model[DFX__VAE];
    if (!own)
        take_preview(p, vae);
    decoder d = make_decoder(p, vae, own ? &p->vae_kept : &p->preview_kept, &latents->spec);
    dfx_status status = prepare_decoder(&d);
    if (status == DFX_ERROR_MEMORY && !p->running) {
        dfx__forget(&p->unet_kept);
        status = prepare_decoder(&d);
    }
    DFX__TRY(status);
    return decode(&d, latents->data, r);
}

dfx_status dfx_pipeline_decode(dfx_result **out, dfx_pipeline *p, const dfx_tensor *latents,
                               dfx_model *vae)
{
    *out = NULL;
    if (!vae)
        vae = p->model[DFX__VAE];
    DFX__TRY(check_latents(p, latents, vae));
    dfx_result *r = calloc(1, sizeof *r);
    if (!r)
        return dfx__no_memory();
    dfx_status status = keep_latents(r, &latents->spec, latents->data);
    if (status == DFX_OK)
        status = vae ? decode_given(r, p, latents, vae)
                     : take_pictures(r, p, &latents->spec, latents->data);
    if (status == DFX_OK)
        *out = r;
    else
        dfx_result_free(r);
    return status;
}
