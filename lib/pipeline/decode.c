/* decode.c - latents to pictures, by a pipeline's autoencoder. */
#include "core/dtype.h"
#include "pipeline/coder.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dfx_dtype dfx__vae_dtype(const dfx_pipeline *p, int slot)
{
    const dfx_model *vae = slot == DFX__PREVIEW ? p->preview : p->model[slot];
    int upcasts =
        p->dtype == DFX_F16 && p->upcasts_vae && dfx__autoencoder_get_facts(vae).force_upcast;
    return upcasts ? DFX_F32 : dfx__component_dtype(p, slot);
}

/* From latents [B, C, h, w] to pictures [B, 3, H, W]. */
typedef struct {
    dfx__autoencoder_facts facts;
    dfx_spec latents, pictures;
    const float *picture, *mask; /* [3, H, W] and [H, W], which it decodes with; or NULL */
    float *latent_plane;         /* [h, w, C] of one picture */
    float *picture_plane;        /* [H, W, 3] of `picture`, where there is one */
} decoder;

static decoder make_decoder(const dfx_model *vae, const dfx_spec *latents)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(vae);
    const int64_t *dim = latents->dim;
    dfx_spec pictures = { DFX_F32, 4, { dim[0], 3, dim[2] * facts.factor, dim[3] * facts.factor } };
    return (decoder){ facts, *latents, pictures, NULL, NULL, NULL, NULL };
}

static dfx_status check(const dfx__coder *c, const dfx_spec *has, int height, int width)
{
    if (has->dim[1] == height * c->unit && has->dim[2] == width * c->unit &&
        has->dim[3] == c->channels)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: it decodes %d x %d latents to %lld x %lld pixels of %lld channels",
                     c->vae->folder, width, height, (long long)has->dim[2], (long long)has->dim[1],
                     (long long)has->dim[3]);
}

/* An input [1, height, width, channels] in the autoencoder's dtype. */
static dfx_value *plane(const dfx__coder *c, dfx_sequence *s, const char *name, int height,
                        int width, int channels)
{
    int64_t dim[] = { 1, height, width, channels };
    return dfx_cast(dfx_input(s, name, DFX_F32, 4, dim), c->dtype);
}

static dfx_value *record(const dfx__coder *c, dfx_sequence *s, int height, int width)
{
    int rows = height * c->unit, columns = width * c->unit;
    const decoder *d = c->user;
    dfx_value *x = plane(c, s, "latent", height, width, d->facts.latent_channels);
    if (!d->mask)
        return dfx__autoencoder_decode(c->vae, x);
    return dfx__autoencoder_decode_masked(c->vae, x, plane(c, s, "picture", rows, columns, 3),
                                          plane(c, s, "mask", rows, columns, 1));
}

static dfx_status write_tile(const dfx__coder *c, const dfx__tile *t)
{
    const decoder *d = c->user;
    const dfx__tile pixels = { t->y * c->unit, t->x * c->unit, t->height * c->unit,
                               t->width * c->unit };
    int width = c->width * c->unit;
    DFX__TRY(dfx__coder_write(c, "latent", d->latent_plane, t, c->width, d->facts.latent_channels));
    if (!d->mask)
        return DFX_OK;
    DFX__TRY(dfx__coder_write(c, "picture", d->picture_plane, &pixels, width, 3));
    return dfx__coder_write(c, "mask", d->mask, &pixels, width, 1);
}

/* Pictures are decoded one by one: the decoder's activations are the largest of all. */
static dfx__coder make_coder(dfx_pipeline *p, int slot, const decoder *d)
{
    return (dfx__coder){ .p = p,
                         .slot = slot,
                         .vae = slot == DFX__PREVIEW ? p->preview : p->model[slot],
                         .kept = slot == DFX__PREVIEW ? &p->preview_kept : &p->vae_kept,
                         .dtype = dfx__vae_dtype(p, slot),
                         .masked = d->mask != NULL,
                         .height = (int)d->latents.dim[2],
                         .width = (int)d->latents.dim[3],
                         .input_height = (int)d->latents.dim[2],
                         .input_width = (int)d->latents.dim[3],
                         .input_channels = d->facts.latent_channels,
                         .unit = d->facts.factor,
                         .channels = 3,
                         .record = record,
                         .write = write_tile,
                         .check = check,
                         .user = d };
}

/* latents [C, h, w] as a diffusion has them -> as they were encoded */
static void unscale(const dfx__coder *c, const float *latents, float *out)
{
    const decoder *d = c->user;
    const dfx__autoencoder_facts *f = &d->facts;
    size_t area = (size_t)(d->latents.dim[2] * d->latents.dim[3]);
    size_t n = area * (size_t)d->latents.dim[1];
    float factor = dfx__scaling_factor(c->p, c->vae);
    int normalised = c->p->denormalises && f->latents_mean && f->latents_std;
    for (size_t i = 0; i < n; i++)
        out[i] = normalised
                     ? latents[i] * f->latents_std[i / area] / factor + f->latents_mean[i / area]
                     : latents[i] / factor;
}

/* latents [C, h, w] -> floats [3, H, W] in 0..1; `room` is for either */
static dfx_status decode_one(dfx__coder *c, const float *latents, float *image, float *room)
{
    const decoder *d = c->user;
    dfx_spec one = d->latents, rgb = d->pictures;
    one.dim[0] = rgb.dim[0] = 1;
    unscale(c, latents, room);
    dfx__to_channels_last(d->latent_plane, room, &one);
    c->input = d->latent_plane;
    DFX__TRY(dfx__coder_run(c, room));
    dfx__to_channels_first(image, room, &rgb);
    for (size_t i = 0; i < dfx__elements(&rgb); i++)
        image[i] = fminf(fmaxf(image[i] / 2 + 0.5f, 0), 1);
    return DFX_OK;
}

static dfx_status decode_all(dfx__coder *c, decoder *d, const float *latents, float *image)
{
    size_t count = (size_t)d->latents.dim[0], n = dfx__elements(&d->latents) / count;
    size_t pixels = dfx__elements(&d->pictures) / count;
    dfx_spec rgb = d->pictures;
    rgb.dim[0] = 1;
    float *room = dfx__alloc(n > pixels ? n : pixels, sizeof *room);
    d->latent_plane = dfx__alloc(n, sizeof *d->latent_plane);
    d->picture_plane = d->mask ? dfx__alloc(pixels, sizeof *d->picture_plane) : NULL;
    int all = room && d->latent_plane && (d->picture_plane || !d->mask);
    dfx_status status = all ? DFX_OK : dfx__no_memory();
    if (status == DFX_OK && d->mask)
        dfx__to_channels_last(d->picture_plane, d->picture, &rgb);
    for (size_t b = 0; b < count && status == DFX_OK; b++)
        status = decode_one(c, latents + b * n, image + b * pixels, room);
    free(room);
    free(d->latent_plane);
    free(d->picture_plane);
    return status;
}

/* Makes the result's pictures. */
static dfx_status decode(dfx__coder *c, decoder *d, const float *latents, dfx_result *result)
{
    DFX__TRY(dfx__coder_prepare(c));
    float *image = dfx__alloc(dfx__elements(&d->pictures), sizeof *image);
    dfx_status status = image ? decode_all(c, d, latents, image) : dfx__no_memory();
    result->tiles = dfx__tiling_count(&c->tiling);
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
    decoder d = make_decoder(p->model[DFX__VAE], &r->latent);
    d.picture = r->picture;
    d.mask = r->hole;
    dfx__coder c = make_coder(p, DFX__VAE, &d);
    return decode(&c, &d, r->x, r->result);
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
    p->in_f32 &= ~(1u << DFX__PREVIEW);
    p->preview = dfx__model_share(vae);
}

static dfx_status decode_given(dfx_result *r, dfx_pipeline *p, const dfx_tensor *latents,
                               dfx_model *vae)
{
    int own = vae == p->model[DFX__VAE];
    if (!own)
        take_preview(p, vae);
    decoder d = make_decoder(vae, &latents->spec);
    dfx__coder c = make_coder(p, own ? DFX__VAE : DFX__PREVIEW, &d);
    return decode(&c, &d, latents->data, r);
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
