/* depth2img.c - StableDiffusionDepth2ImgPipeline: image to image that keeps a depth map. */
#include "core/dtype.h"
#include "media/depth.h"
#include "pipeline/run.h"

#include <stdlib.h>

static dfx_status open_components(dfx_pipeline *p, json_object *index)
{
    DFX__TRY(dfx__open_components(p, index));
    return dfx__expect_depth_estimator(p, index);
}

/* The UNet takes the latents and the depth. */
static dfx_status check(const dfx_pipeline *p)
{
    DFX__TRY(dfx__check_text_alone(p));
    return dfx__check_inputs(p, 1);
}

/* The last two dimensions of [H, W] or [1, H, W]. */
static const int64_t *depth_sides(const dfx_tensor *depth)
{
    return depth->spec.dim + depth->spec.rank - 2;
}

static dfx_status check_estimator(const dfx_pipeline *p, const dfx_generate_options *o)
{
    if (!p->expected[DFX__DEPTH_ESTIMATOR])
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "depth: %s has no depth_estimator: it needs a depth map of the image "
                         "(--depth F.png)",
                         p->path);
    if (!o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "depth: the depth of latents cannot be estimated: give a depth map");
    return DFX_OK;
}

static dfx_status check_depth(const dfx_pipeline *p, const dfx_generate_options *o)
{
    enum { MAX_SIDE = 32768 };
    const dfx_tensor *depth = o->depth;
    if (!depth)
        return check_estimator(p, o);
    const dfx_spec *s = &depth->spec;
    if (s->dtype == DFX_F32 && (s->rank == 2 || (s->rank == 3 && s->dim[0] == 1)) &&
        depth_sides(depth)[0] >= 1 && depth_sides(depth)[0] <= MAX_SIDE &&
        depth_sides(depth)[1] >= 1 && depth_sides(depth)[1] <= MAX_SIDE &&
        depth->bytes == dfx__spec_bytes(s))
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "depth: it is not [height, width] of f32, 1 to %d a side",
                     MAX_SIDE);
}

enum {
    USES = DFX__USES_IMAGE | DFX__USES_STRENGTH | DFX__USES_CLIP_SKIP | DFX__USES_DEPTH |
           DFX__USES_LONG_PROMPTS | DFX__USES_INIT_LATENTS
};

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__defaults d = { .steps = 50, .guidance_scale = 7.5f, .strength = 0.8 };
    if (!o->image && !o->init_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT, "image: %s needs one to start from", p->class_name);
    DFX__TRY(check_depth(p, o));
    DFX__TRY(dfx__refuse_unused(p, o, USES));
    DFX__TRY(dfx__check_clip_skip(p, o));
    dfx__take_size(p, o, &d);
    return dfx__settings(p, o, &d);
}

static dfx_status take_depth(dfx__run *r, const float *depth, int height, int width)
{
    size_t pixels = (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    float *map = dfx__alloc(pixels, sizeof *map);
    if (!map)
        return dfx__no_memory();
    dfx_status status =
        dfx__depth_map(map, (int)r->latent.dim[3], (int)r->latent.dim[2], depth, width, height);
    if (status == DFX_OK)
        status = dfx__set_extra(r, map, 1);
    free(map);
    return status;
}

static dfx_status add_depth(dfx__run *r)
{
    const dfx_tensor *depth = r->o->depth;
    float *estimated = NULL;
    int height, width;
    if (!depth)
        DFX__TRY(dfx__estimate_depth(r, &estimated, &height, &width));
    if (depth) {
        height = (int)depth_sides(depth)[0];
        width = (int)depth_sides(depth)[1];
    }
    dfx_status status = take_depth(r, depth ? depth->data : estimated, height, width);
    free(estimated);
    return status;
}

static dfx_status draw(dfx__run *r)
{
    DFX__TRY(dfx__encode_prompts(r));
    DFX__TRY(add_depth(r));
    DFX__TRY(dfx__start(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, dfx__guided_branches(p, o), draw);
}

static const char *const names[] = { "StableDiffusionDepth2ImgPipeline", NULL };
const dfx__pipeline_class dfx__depth2img_class = { names, open_components, check, settings,
                                                   generate };
