/* unet.h - the parts of a UNet2DConditionModel: built by unet.c, recorded by unet_record.c. */
#ifndef DFX_MODEL_UNET_H
#define DFX_MODEL_UNET_H

#include "model/model.h"

enum { DFX__UNET_LEVELS = 8 };

struct block {
    int layers, attention;
    dfx__resnet *resnet;           /* one for each layer (mid: two) */
    dfx__transformer *transformer; /* likewise, where there is attention (mid: one) */
    dfx__conv sampler;             /* down or up; without weight at the last level */
};

struct dfx__unet {
    dfx__unet_facts facts;
    int levels, channels[DFX__UNET_LEVELS], layers[DFX__UNET_LEVELS], depth[DFX__UNET_LEVELS];
    int heads[DFX__UNET_LEVELS], context[DFX__UNET_LEVELS], only_cross[DFX__UNET_LEVELS];
    int center_input, flip, groups, use_linear, down_padding;
    int kernel_in, kernel_out, time_width;
    float freq_shift, eps, mid_scale; /* mid_scale: 1 / mid_block_scale_factor */
    dfx__conv conv_in, conv_out;
    dfx__linear_layer time1, time2;
    dfx__linear_layer added1, added2; /* where facts.added_width is not 0 */
    struct block down[DFX__UNET_LEVELS], mid, up[DFX__UNET_LEVELS];
    dfx__norm norm_out;
};

dfx_status dfx__unet_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                             const dfx_tensors *in, dfx_tensors *out);

#endif
