/* mask_crop.c - inpainting of the part of a picture around its mask alone (padding_mask_crop). */
#include "media/image_processor.h"
#include "pipeline/run.h"

dfx_status dfx__check_mask_crop(const dfx_generate_options *o)
{
    if (o->padding_mask_crop < 0 || (!o->mask && o->padding_mask_crop == 0))
        return DFX_OK;
    if (!o->mask || !o->image)
        return dfx__fail(DFX_ERROR_ARGUMENT, "padding_mask_crop: a mask and an image are needed");
    if (o->only_latents)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "padding_mask_crop: what is painted is laid into the image, and "
                         "only_latents makes none");
    if (o->mask->width == o->image->width && o->mask->height == o->image->height)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "padding_mask_crop: the mask has %d x %d pixels and the image %d x %d; they "
                     "have to be equal",
                     o->mask->width, o->mask->height, o->image->width, o->image->height);
}

dfx_status dfx__crop_to_mask(dfx__run *r)
{
    const dfx_generate_options *o = r->o;
    if (o->padding_mask_crop < 0)
        return DFX_OK;
    r->crops = 1;
    return dfx__mask_region(&r->crop, o->mask, o->width, o->height, o->padding_mask_crop);
}

dfx_status dfx__lay_into_image(dfx__run *r)
{
    dfx_result *result = r->result;
    for (int i = 0; r->crops && i < result->count; i++) {
        dfx_image *whole;
        DFX__TRY(dfx__apply_overlay(&whole, r->o->mask, r->o->image, result->image[i], &r->crop));
        dfx_image_free(result->image[i]);
        result->image[i] = whole;
    }
    return DFX_OK;
}
