/* image_processor.h - pictures as the floats that models take: diffusers' VaeImageProcessor. */
#ifndef DFX_MEDIA_IMAGE_PROCESSOR_H
#define DFX_MEDIA_IMAGE_PROCESSOR_H

#include "media/image.h"

typedef struct {
    dfx_image_filter filter;
    int factor;              /* sides are cut to multiples of it: the VAE's */
    int gray;                /* one channel instead of three, converted after resizing */
    int normalize;           /* 0..1 becomes -1..1 */
    int binarize;            /* 0.5 and more is 1, less is 0 */
    const dfx__region *crop; /* this part only, resized within the sides and its margins filled
                              * with its border; NULL: all of it, resized to the sides */
} dfx__image_processor;

/* A picture in -1..1, and a mask of zeros and ones; both are resized with Lanczos. */
dfx__image_processor dfx__init_image_processor(int factor);
dfx__image_processor dfx__mask_processor(int factor);

/* Resizes and converts: *out is [channels, *height, *width]. On entry the sides are
 * those wanted, 0 for the picture's own; on return they are multiples of the factor. A gray picture
 * becomes three equal channels, alpha is dropped. `name` stands in errors. */
dfx_status dfx__image_preprocess(float **out, int *width, int *height, const dfx_image *image,
                                 const dfx__image_processor *processor, const char *name);

/* The part around what a mask selects, `padding` pixels wider and of the shape of width x height
 * (padding_mask_crop of diffusers' inpainting). Errors: a mask that selects nothing. */
dfx_status dfx__mask_region(dfx__region *out, const dfx_image *mask, int width, int height,
                            int padding);

/* *out is `init` with `picture` laid over its region `crop` where the mask, of init's size, selects
 * it; gray levels of the mask blend. */
dfx_status dfx__apply_overlay(dfx_image **out, const dfx_image *mask, const dfx_image *init,
                              const dfx_image *picture, const dfx__region *crop);

#endif
