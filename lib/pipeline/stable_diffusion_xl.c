/* stable_diffusion_xl.c - StableDiffusionXLPipeline: two text encoders, sizes as conditions, and a
 * refiner that goes on where the base stopped (Podell et al. 2023). */
#include "pipeline/run.h"

#include <string.h>

/* Numbers that the UNet is told of sizes: (height, width) of the original, (top, left) of the crop,
 * and (height, width) of the target or a refiner's aesthetic score. */
enum { SIZES = 6, SIZES_AND_SCORE = 5 };

static dfx__unet_facts unet_facts(const dfx_pipeline *p)
{
    return dfx__unet_get_facts(p->model[DFX__UNET]->net);
}

/* ---- opening ---- */

int dfx__index_flag(json_object *index, const char *key, int missing)
{
    json_object *v = dfx__json_get(index, key, json_type_boolean);
    return v ? json_object_get_boolean(v) : missing;
}

dfx_status dfx__open_xl(dfx_pipeline *p, json_object *index)
{
    static const dfx__model_class *const text_2[] = { &dfx__clip_text_projection_class, NULL };
    p->upcasts_vae = p->denormalises = 1;
    p->force_zeros_for_empty_prompt = dfx__index_flag(index, "force_zeros_for_empty_prompt", 1);
    p->requires_aesthetics_score = dfx__index_flag(index, "requires_aesthetics_score", 0);
    DFX__TRY(dfx__open_tokenizer(p, index, 1, "tokenizer_2"));
    DFX__TRY(dfx__open_component(p, index, DFX__TEXT_ENCODER_2, "text_encoder_2", text_2));
    return dfx__open_components(p, index);
}

/* Numbers of sizes that the pipeline makes, and that the UNet takes beside the pooled text. */
static int size_numbers(const dfx_pipeline *p)
{
    return p->requires_aesthetics_score ? SIZES_AND_SCORE : SIZES;
}

dfx_status dfx__check_xl(const dfx_pipeline *p, int extra)
{
    dfx__unet_facts unet = unet_facts(p);
    int pooled = dfx__tower_facts(p, 1).projection;
    if (!unet.added_width)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's addition_embed_type is null; %s needs text_time", p->path,
                         p->class_name);
    DFX__TRY(dfx__check_text(p));
    if (pooled + size_numbers(p) * unet.size_width != unet.added_width)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: projection_class_embeddings_input_dim is %d, but the text has %d and "
                         "%d sizes %d each (requires_aesthetics_score is %s)",
                         p->path, unet.added_width, pooled, size_numbers(p), unet.size_width,
                         p->requires_aesthetics_score ? "true" : "false");
    return dfx__check_inputs(p, extra);
}

static dfx_status check(const dfx_pipeline *p)
{
    int latent = dfx__autoencoder_get_facts(p->model[DFX__VAE]).latent_channels;
    return dfx__check_xl(p, dfx__only_inpaints(p) ? latent + 1 : 0);
}

/* ---- settings ---- */

static dfx_status check_size(const char *name, int width, int height)
{
    if (width < 0 || height < 0 || !width != !height)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %d x %d is no size", name, width, height);
    return DFX_OK;
}

dfx_status dfx__check_sizes(const dfx_generate_options *o)
{
    const dfx_size_condition *s = &o->size, *n = &o->negative_size;
    DFX__TRY(check_size("original_size", s->original_width, s->original_height));
    DFX__TRY(check_size("target_size", s->target_width, s->target_height));
    DFX__TRY(check_size("negative_original_size", n->original_width, n->original_height));
    return check_size("negative_target_size", n->target_width, n->target_height);
}

enum {
    USES = DFX__USES_IMAGE | DFX__USES_MASK | DFX__USES_STRENGTH | DFX__USES_CLIP_SKIP |
           DFX__USES_RESCALE | DFX__USES_LONG_PROMPTS | DFX__USES_INIT_LATENTS | DFX__USES_XL
};

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    int factor = dfx__autoencoder_get_facts(p->model[DFX__VAE]).factor;
    int starts = o->image || o->init_latents;
    dfx__defaults d = { .steps = 50,
                        .width = unet_facts(p).sample_width * factor,
                        .height = unet_facts(p).sample_height * factor,
                        .guidance_scale = o->mask ? 7.5f : 5,
                        .strength = o->mask ? 0.9999 : 0.3 };
    DFX__TRY(dfx__refuse_unused(p, o, USES));
    DFX__TRY(dfx__check_clip_skip(p, o));
    DFX__TRY(dfx__check_sizes(o));
    DFX__TRY(dfx__check_mask(p, o));
    if (p->requires_aesthetics_score && !starts)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: it refines: an image or a base model's latents are needed", p->path);
    if (o->aesthetic_score == 0)
        o->aesthetic_score = 6;
    if (o->negative_aesthetic_score == 0)
        o->negative_aesthetic_score = 2.5f;
    if (!o->mask || o->init_latents)
        dfx__take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

/* ---- conditions ---- */

/* -> numbers, heights before widths */
static void write_sizes(const dfx__run *r, float *to, const dfx_size_condition *s, float score)
{
    const dfx_generate_options *o = r->o;
    int given = s->original_width != 0, has_target = s->target_width != 0;
    *to++ = (float)(given ? s->original_height : o->height);
    *to++ = (float)(given ? s->original_width : o->width);
    *to++ = (float)s->crop_top;
    *to++ = (float)s->crop_left;
    if (r->p->requires_aesthetics_score) {
        *to = score;
        return;
    }
    *to++ = (float)(has_target ? s->target_height : o->height);
    *to++ = (float)(has_target ? s->target_width : o->width);
}

/* What the negative branch is told: diffusers' pipelines fill it in differently. */
static dfx_size_condition negative_size(const dfx__run *r)
{
    const dfx_generate_options *o = r->o;
    const dfx_size_condition *s = &o->size;
    dfx_size_condition n = o->negative_size;
    int starts = o->image || o->init_latents;
    if (!starts && (!n.original_width || !n.target_width))
        return *s;
    if (!n.original_width) {
        n.original_width = s->original_width;
        n.original_height = s->original_height;
    }
    if (!n.target_width) {
        n.target_width = s->target_width;
        n.target_height = s->target_height;
    }
    if (starts && !r->p->requires_aesthetics_score) {
        n.crop_left = s->crop_left;
        n.crop_top = s->crop_top;
    }
    return n;
}

dfx_status dfx__set_time_ids(dfx__run *r)
{
    int numbers = size_numbers(r->p);
    float ids[2 * SIZES], *at = ids;
    dfx_size_condition negative = negative_size(r);
    dfx_spec spec = { DFX_F32, 2, { r->branches == 2 ? 2 : 1, numbers } };
    if (r->branches == 2) {
        write_sizes(r, at, &negative, r->o->negative_aesthetic_score);
        at += numbers;
    }
    write_sizes(r, at, &r->o->size, r->o->aesthetic_score);
    return dfx__set_condition(r, DFX__TIME_IDS, &spec, ids);
}

/* ---- a run ---- */

static dfx_status draw(dfx__run *r)
{
    r->normalises = 1;
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(dfx__set_time_ids(r));
    DFX__TRY(dfx__embed_guidance(r));
    DFX__TRY(dfx__start(r));
    DFX__TRY(dfx__denoise(r));
    DFX__TRY(dfx__decode(r));
    return dfx__lay_into_image(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, dfx__guided_branches(p, o), draw);
}

static const char *const names[] = { "StableDiffusionXLPipeline",
                                     "StableDiffusionXLImg2ImgPipeline",
                                     "StableDiffusionXLInpaintPipeline", NULL };
const dfx__pipeline_class dfx__stable_diffusion_xl_class = { names, dfx__open_xl, check, settings,
                                                             generate };
