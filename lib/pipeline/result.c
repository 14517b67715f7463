/* result.c - the pictures of a run. */
#include "core/dtype.h"
#include "media/image.h"
#include "pipeline/pipeline.h"

#include <stdlib.h>

void dfx_result_free(dfx_result *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->count; i++)
        dfx_image_free(r->image[i]);
    free(r->image);
    free((void *)r->floats.data);
    free((void *)r->latents.data);
    free((void *)r->prompt_embeds.data);
    free((void *)r->pooled_prompt_embeds.data);
    free(r);
}

int dfx_result_count(const dfx_result *r)
{
    return r->count;
}

int dfx_result_tiles(const dfx_result *r)
{
    return r->tiles;
}

const dfx_image *dfx_result_image(const dfx_result *r, int index)
{
    return index >= 0 && index < r->count ? r->image[index] : NULL;
}

const dfx_tensor *dfx_result_floats(const dfx_result *r)
{
    return &r->floats;
}

const dfx_tensor *dfx_result_latents(const dfx_result *r)
{
    return &r->latents;
}

const dfx_tensor *dfx_result_prompt_embeds(const dfx_result *r)
{
    return &r->prompt_embeds;
}

const dfx_tensor *dfx_result_pooled_prompt_embeds(const dfx_result *r)
{
    return &r->pooled_prompt_embeds;
}

dfx_status dfx__result_images(dfx_result *r, float *floats, const dfx_spec *shape)
{
    dfx_spec spec = *shape;
    int count = (int)spec.dim[0], channels = (int)spec.dim[1];
    size_t n = dfx__elements(&spec) / (size_t)count;
    r->floats = (dfx_tensor){ "image", spec, floats, dfx__spec_bytes(&spec) };
    r->image = dfx__alloc((size_t)count, sizeof *r->image);
    if (!r->image)
        return dfx__no_memory();
    for (; r->count < count; r->count++)
        DFX__TRY(dfx__image_from_planes(&r->image[r->count], floats + (size_t)r->count * n,
                                        channels, (int)spec.dim[3], (int)spec.dim[2]));
    return DFX_OK;
}
