/* settings.c - checking a run's settings, and filling in those that are not given. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <math.h>
#include <string.h>

enum { MAX_SIDE = 16384, MAX_BATCH = 256, MAX_STEPS = 100000, MAX_CHUNKS = 1024 };

int dfx__pictures(const dfx_generate_options *o)
{
    return o->batch * (o->prompts ? o->prompt_count : 1);
}

/* Given latents set the batch and the size. */
static dfx_status take_latents(const dfx_pipeline *p, dfx_generate_options *o)
{
    const dfx_spec *s = &o->latents->spec;
    dfx__latent_form form = dfx__get_latent_form(p);
    int prompts = o->prompts ? o->prompt_count : 1;
    char shape[DFX__SHAPE_TEXT];
    dfx__shape_text(shape, s->rank, s->dim);
    if (s->rank != 4 || s->dtype != DFX_F32 || s->dim[1] != form.channels || s->dim[0] < 1 ||
        s->dim[0] > MAX_BATCH || s->dim[2] < 1 || s->dim[3] < 1 ||
        s->dim[2] > MAX_SIDE / form.factor || s->dim[3] > MAX_SIDE / form.factor ||
        o->latents->bytes != dfx__spec_bytes(s))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "latents: %s of %s are not [batch, %d, height / %d, width / %d] of f32",
                         shape, dfx_dtype_name(s->dtype), form.channels, form.factor, form.factor);
    int height = (int)s->dim[2] * form.factor, width = (int)s->dim[3] * form.factor;
    if (s->dim[0] % prompts || (o->batch != 1 && o->batch * prompts != s->dim[0]) ||
        (o->height && o->height != height) || (o->width && o->width != width))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "latents: %s are %lld of %d x %d pixels, not %d of %d x %d", shape,
                         (long long)s->dim[0], width, height, o->batch * prompts,
                         o->width ? o->width : width, o->height ? o->height : height);
    o->batch = (int)s->dim[0] / prompts;
    o->height = height;
    o->width = width;
    return DFX_OK;
}

/* Latents in place of an image: whole sets of them make the batch, and they are of the size. */
static dfx_status check_init_latents(const dfx_pipeline *p, const dfx_generate_options *o,
                                     int enlarges)
{
    const dfx_spec *s = &o->init_latents->spec;
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->model[DFX__VAE]);
    int pixels = vae.factor * enlarges; /* of the result, to a latent's side */
    char shape[DFX__SHAPE_TEXT];
    dfx__shape_text(shape, s->rank, s->dim);
    if (o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "init_latents: there is an image too; give one");
    if (s->rank != 4 || s->dtype != DFX_F32 || s->dim[0] < 1 || dfx__pictures(o) % s->dim[0] ||
        s->dim[1] != vae.latent_channels || s->dim[2] != o->height / pixels ||
        s->dim[3] != o->width / pixels || o->init_latents->bytes != dfx__spec_bytes(s))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "init_latents: %s of %s are not [%d, %d, %d, %d] of f32", shape,
                         dfx_dtype_name(s->dtype), dfx__pictures(o), vae.latent_channels,
                         o->height / pixels, o->width / pixels);
    return DFX_OK;
}

dfx_status dfx__check_mask(const dfx_pipeline *p, const dfx_generate_options *o)
{
    if (o->mask && !o->image && !o->init_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT, "mask: an image is needed too, which it selects from");
    if (dfx__only_inpaints(p) && !(o->mask && o->image))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: its UNet only inpaints: an image and a mask are needed", p->path);
    return dfx__check_mask_crop(o);
}

/* Opens the scheduler to see that it takes the settings, and the pipeline it; without a choice it
 * is the config's class. */
static dfx_status check_scheduler(dfx_pipeline *p, dfx_generate_options *o, const dfx__defaults *d)
{
    dfx_scheduler *s;
    DFX__TRY(dfx__take_scheduler(&s, p, o->scheduler));
    if (!o->scheduler)
        o->scheduler = dfx__pool_copy(&p->pool, dfx_scheduler_class(s));
    dfx_status status = dfx_scheduler_set_timesteps(s, o->steps);
    if (status == DFX_OK && d->check_scheduler)
        status = d->check_scheduler(p, o, s);
    dfx__release_scheduler(p, s);
    return status;
}

static dfx_status check_sides(const dfx_pipeline *p, const dfx_generate_options *o,
                              const dfx__defaults *d)
{
    int factor = dfx__get_latent_form(p).factor;
    int multiple = d->multiple ? d->multiple : factor > 8 ? factor : 8;
    int least = d->least ? d->least : multiple;
    const struct {
        const char *name;
        int value;
    } side[] = { { "width", o->width }, { "height", o->height } };
    for (int i = 0; i < 2; i++)
        if (side[i].value < least || side[i].value % multiple || side[i].value > MAX_SIDE)
            return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %d is not a multiple of %d from %d to %d",
                             side[i].name, side[i].value, multiple, least, MAX_SIDE);
    return DFX_OK;
}

static dfx_status check_numbers(const dfx_generate_options *o)
{
    if (o->steps < 1 || o->steps > MAX_STEPS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "steps: %d is not from 1 to %d", o->steps, MAX_STEPS);
    if (!isfinite(o->guidance_scale))
        return dfx__fail(DFX_ERROR_ARGUMENT, "guidance: it is not a finite number");
    if (!(o->guidance_rescale >= 0 && o->guidance_rescale <= 1))
        return dfx__fail(DFX_ERROR_ARGUMENT, "guidance_rescale: %g is not from 0 to 1",
                         o->guidance_rescale);
    if (!(o->strength >= 0 && o->strength <= 1))
        return dfx__fail(DFX_ERROR_ARGUMENT, "strength: %g is not from 0 to 1", o->strength);
    if (o->max_embeddings_multiples < 0 || o->max_embeddings_multiples > MAX_CHUNKS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "max_embeddings_multiples: %d is not from 0 to %d",
                         o->max_embeddings_multiples, MAX_CHUNKS);
    if (!(o->denoising_start >= 0 && o->denoising_start < 1))
        return dfx__fail(DFX_ERROR_ARGUMENT, "denoising_start: %g is not from 0 to below 1",
                         o->denoising_start);
    if (!(o->denoising_end >= 0 && o->denoising_end <= 1))
        return dfx__fail(DFX_ERROR_ARGUMENT, "denoising_end: %g is not from 0 to 1",
                         o->denoising_end);
    if (o->denoising_end > 0 && o->denoising_start >= o->denoising_end)
        return dfx__fail(DFX_ERROR_ARGUMENT, "denoising_start: %g is not before denoising_end %g",
                         o->denoising_start, o->denoising_end);
    if (o->denoising_start > 0 && !o->image && !o->init_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "denoising_start: an image or init_latents are needed to go on with");
    if (o->prompts && (o->prompt_count < 1 || o->prompt_count > MAX_BATCH))
        return dfx__fail(DFX_ERROR_ARGUMENT, "prompts: %d of them, from 1 to %d can be",
                         o->prompt_count, MAX_BATCH);
    if (o->batch < 1 || dfx__pictures(o) > MAX_BATCH)
        return dfx__fail(DFX_ERROR_ARGUMENT, "batch: %d is not from 1 to %d", o->batch,
                         MAX_BATCH / (o->prompts ? o->prompt_count : 1));
    return DFX_OK;
}

void dfx__take_size(const dfx_pipeline *p, const dfx_generate_options *o, dfx__defaults *d)
{
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    int times = d->enlarges ? d->enlarges : 1;
    int multiple = d->multiple ? d->multiple / times : factor > 8 ? factor : 8;
    if (o->image) {
        d->width = times * (o->image->width - o->image->width % multiple);
        d->height = times * (o->image->height - o->image->height % multiple);
    }
    if (o->init_latents && o->init_latents->spec.rank == 4 &&
        o->init_latents->spec.dim[2] <= MAX_SIDE && o->init_latents->spec.dim[3] <= MAX_SIDE) {
        d->height = times * (int)o->init_latents->spec.dim[2] * factor;
        d->width = times * (int)o->init_latents->spec.dim[3] * factor;
    }
}

static dfx_status refuse_xl(const dfx_pipeline *p, const dfx_generate_options *o)
{
    static const dfx_size_condition none;
    const char *name = o->prompt_2                                     ? "prompt_2"
                       : o->negative_prompt_2                          ? "negative_prompt_2"
                       : o->denoising_start != 0                       ? "denoising_start"
                       : o->denoising_end != 0                         ? "denoising_end"
                       : o->aesthetic_score != 0                       ? "aesthetic_score"
                       : o->negative_aesthetic_score != 0              ? "negative_aesthetic_score"
                       : memcmp(&o->size, &none, sizeof none)          ? "size"
                       : memcmp(&o->negative_size, &none, sizeof none) ? "negative_size"
                                                                       : NULL;
    if (name)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %s does not take it, pipelines of SDXL do", name,
                         p->class_name);
    return DFX_OK;
}

dfx_status dfx__settings(dfx_pipeline *p, dfx_generate_options *o, const dfx__defaults *d)
{
    int enlarges = d->enlarges ? d->enlarges : 1;
    int needs_prompt = p->tokenizer[0] || p->tokenizer[1];
    if (needs_prompt && !o->prompt && !o->prompts)
        return dfx__fail(DFX_ERROR_ARGUMENT, "prompt: %s needs one; \"\" is allowed",
                         p->class_name);
    if (o->latents)
        DFX__TRY(take_latents(p, o));
    if (!o->steps)
        o->steps = p->recommended.steps ? p->recommended.steps : d->steps;
    if (o->guidance_scale < 0)
        o->guidance_scale =
            p->recommended.guidance_scale >= 0 ? p->recommended.guidance_scale : d->guidance_scale;
    if (o->strength < 0)
        o->strength = d->strength;
    if (!o->height)
        o->height = d->height;
    if (!o->width)
        o->width = d->width;
    DFX__TRY(check_numbers(o));
    DFX__TRY(check_sides(p, o, d));
    if (o->init_latents)
        DFX__TRY(check_init_latents(p, o, enlarges));
    return check_scheduler(p, o, d);
}

dfx_status dfx__refuse_unused(const dfx_pipeline *p, const dfx_generate_options *o, int uses)
{
    const struct {
        int use, given;
        const char *name;
    } settings[] = {
        { DFX__USES_IMAGE, o->image != NULL, "image" },
        { DFX__USES_MASK, o->mask != NULL, "mask" },
        { DFX__USES_MASK, o->padding_mask_crop > 0, "padding_mask_crop" },
        { DFX__USES_STRENGTH, o->strength > 0 && o->strength < 1, "strength" },
        { DFX__USES_CLIP_SKIP, o->clip_skip != 0, "clip_skip" },
        { DFX__USES_RESCALE, o->guidance_rescale != 0, "guidance_rescale" },
        { DFX__USES_IMAGE_GUIDANCE, o->image_guidance_scale > 0, "image_guidance_scale" },
        { DFX__USES_NOISE_LEVEL, o->noise_level > 0, "noise_level" },
        { DFX__USES_DEPTH, o->depth != NULL, "depth" },
        { DFX__USES_LONG_PROMPTS, o->long_prompts, "long_prompts" },
        { DFX__USES_INIT_LATENTS, o->init_latents != NULL, "init_latents" },
        { DFX__USES_CLASS_LABELS, o->class_labels != NULL, "class_labels" },
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].given && !(uses & settings[i].use))
            return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %s does not use it", settings[i].name,
                             p->class_name);
    return uses & DFX__USES_XL ? DFX_OK : refuse_xl(p, o);
}
