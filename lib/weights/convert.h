/* convert.h - a model that is being rewritten. */
#ifndef DFX_WEIGHTS_CONVERT_H
#define DFX_WEIGHTS_CONVERT_H

#include "core/json.h"
#include "core/memory.h"
#include "dfxcl/convert.h"
#include "weights/weights.h"
#include "weights/writer.h"

typedef struct {
    const char *name;     /* "unet"; "" of a component alone */
    const char *class;    /* "UNet2DConditionModel"; NULL where no config says it */
    const char *folder;   /* its path */
    const char *basename; /* of weight files, "diffusion_pytorch_model"; NULL: it has none */
} dfx__component;

enum { DFX__CONVERT_COMPONENTS = 32 };

typedef struct {
    const char *from, *to;
    const dfx_convert_options *options;
    int typed; /* dtype is to be written */
    dfx_dtype dtype;
    dfx__pool pool;
    json_object *index; /* model_index.json; NULL: a component alone */
    dfx__component component[DFX__CONVERT_COMPONENTS];
    int components;
} dfx__conversion;

dfx_status dfx__convert_to_folder(dfx__conversion *c);
dfx_status dfx__convert_to_single(dfx__conversion *c);

/* Opens a component's weights. */
dfx_status dfx__conversion_weights(dfx__weights **out, const dfx__conversion *c,
                                   const dfx__component *part);

/* A weight as it is to be written, under its own name and shape. */
dfx__written dfx__conversion_tensor(const dfx__conversion *c, const dfx_weight *w);

/* Names in a folder, sorted, of the pool. `weights`: whether those of weight files are meant. */
dfx_status dfx__conversion_list(const char *const **out, int *count, dfx__conversion *c,
                                const char *folder);
int dfx__is_weight_file(const char *name);

#endif
