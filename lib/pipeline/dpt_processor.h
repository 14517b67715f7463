/* dpt_processor.h - pictures as depth estimators take them: transformers' DPTImageProcessor, which
 * was called DPTFeatureExtractor. */
#ifndef DFX_PIPELINE_DPT_PROCESSOR_H
#define DFX_PIPELINE_DPT_PROCESSOR_H

#include "core/config_keys.h"
#include "dfxcl/image.h"

typedef struct {
    int resizes, width, height; /* to a size, */
    int keeps_shape, multiple;  /* or near it, in the picture's shape; sides are such multiples */
    dfx_image_filter filter;
    float scale, mean[3], std[3]; /* a byte becomes (scale byte - mean) / std */
} dfx__dpt_processor;

/* What each key of its preprocessor_config.json does. */
extern const dfx__config_rule dfx__dpt_processor_rules[];

/* Reads FOLDER/preprocessor_config.json. */
dfx_status dfx__dpt_processor_open(dfx__dpt_processor *out, const char *folder);

/* *pixels [*height, *width, 3], to be freed. */
dfx_status dfx__dpt_process(float **pixels, int *width, int *height, const dfx__dpt_processor *p,
                            const dfx_image *image);

#endif
