/* unet2d.h - UNet2DModel: what pipelines need of it, and its parts, which unet2d.c builds and
 * unet2d_record.c records. */
#ifndef DFX_MODEL_UNET2D_H
#define DFX_MODEL_UNET2D_H

#include "model/model.h"
#include "nn/attention_block.h"

extern const dfx__model_class dfx__unet2d_class;

typedef struct dfx__unet2d dfx__unet2d;

/* How labels come into the time's embedding, if at all. */
typedef enum {
    DFX__NO_LABELS,
    DFX__LABEL_IDS,      /* [N] i32 from 0 to label_count - 1 */
    DFX__LABEL_TIMES,    /* [N], embedded as timesteps are */
    DFX__LABEL_EMBEDDING /* [N, label_width] f32, added as it is */
} dfx__unet2d_labels;

typedef struct {
    int in_channels, out_channels;
    int sample_width, sample_height; /* 0: the config does not say */
    int multiple;                    /* sides of a sample are multiples of it */
    int timestep_count;              /* over 0: timesteps are whole, below it, and given as i32 */
    dfx__unet2d_labels labels;
    int label_count, label_width;
} dfx__unet2d_facts;
dfx__unet2d_facts dfx__unet2d_get_facts(const dfx_model *m);

typedef struct {
    dfx_value *sample;   /* [N, H, W, in] in the sequence's dtype */
    dfx_value *timestep; /* [N] f32, or i32 where timestep_count is over 0 */
    dfx_value *labels;   /* as facts.labels says; times have timestep's type */
} dfx__unet2d_inputs;

/* -> [N, H, W, out] */
dfx_value *dfx__unet2d_record(const dfx_model *m, const dfx__unet2d_inputs *in);

dfx_status dfx__unet2d_forward(const dfx_model *m, dfx__forward *f);

/* ---- parts ---- */

enum { DFX__UNET2D_LEVELS = 8, DFX__UNET2D_LAYERS = 64 };

/* A type of blocks of the ways down and up. */
typedef struct {
    const char *down, *up; /* names */
    int attends;           /* after resnets */
    int skips;             /* resized copies of the sample run beside (Karras et al. 2020) */
    int resnets;           /* a resnet changes the size, whatever downsample_type says */
} dfx__unet2d_type;

typedef struct {
    const dfx__unet2d_type *type; /* NULL: the middle */
    int layers, attentions;       /* attentions: one for each layer, or one after all */
    dfx__resnet *resnet;
    dfx__attention_block *attention;
    int samples; /* it ends with another size, by */
    dfx__conv conv;
    dfx__resnet resampler; /* where conv has no weight */
    dfx__conv skip_conv;
    dfx__norm skip_norm;
} dfx__unet2d_block;

typedef enum { DFX__TIME_POSITIONAL, DFX__TIME_FOURIER, DFX__TIME_LEARNED } dfx__unet2d_time;

struct dfx__unet2d {
    dfx__unet2d_facts facts;
    int levels, channels[DFX__UNET2D_LEVELS], layers;
    int center_input, flip, down_padding, scale_shift, down_resnets, up_resnets, has_middle;
    int groups;      /* 0: a quarter of the channels, 32 at most */
    int head_dim;    /* 0: one head */
    int attn_groups; /* of the middle; 0: no norm */
    int attends_middle, time_width;
    float freq_shift, eps, middle_scale_factor;
    dfx__activation *act;
    dfx__unet2d_time time;
    dfx_weight *time_proj, *label_table;
    dfx__conv conv_in, conv_out;
    dfx__linear_layer time1, time2, label1, label2;
    dfx__unet2d_block down[DFX__UNET2D_LEVELS], middle, up[DFX__UNET2D_LEVELS];
    dfx__norm norm_out;
};

#endif
