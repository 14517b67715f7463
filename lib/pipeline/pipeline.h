/* pipeline.h - one family a file; what all of them share. */
#ifndef DFX_PIPELINE_PIPELINE_H
#define DFX_PIPELINE_PIPELINE_H

#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"
#include "dfxcl/pipeline.h"
#include "dfxcl/scheduler.h"
#include "dfxcl/tokenizer.h"
#include "model/model.h"

typedef struct dfx__pipeline_class {
    const char *name;
    /* Opens the components; index is model_index.json. */
    dfx_status (*open)(dfx_pipeline *p, json_object *index);
    dfx_status (*settings)(dfx_pipeline *p, dfx_generate_options *o);
    dfx_status (*generate)(dfx_result *r, dfx_pipeline *p, const dfx_generate_options *o);
    void (*close)(dfx_pipeline *p);
} dfx__pipeline_class;

extern const dfx__pipeline_class dfx__stable_diffusion_class;

/* Settings that a model's folder recommends (dfx.json): 0 and -1 where it says nothing. */
typedef struct {
    int steps;
    float guidance_scale;
} dfx__recommended;

/* A prepared sequence, kept for the next run of the same shape. */
typedef struct {
    dfx_sequence *sequence;
    int batch, height, width;
} dfx__kept;

struct dfx_pipeline {
    const dfx__pipeline_class *class;
    dfx__pool pool;
    dfx_checkpoint *checkpoint; /* which keeps `path` readable */
    const char *path, *variant;
    dfx_device *device;
    dfx_dtype dtype;
    dfx__recommended recommended;
    char hash[17];
    dfx_tokenizer *tokenizer;
    dfx_model *text_encoder, *unet, *vae;
    dfx_scheduler *scheduler; /* the caller's; NULL: each run opens its own */
    dfx__kept unet_kept, vae_kept;
};

struct dfx_result {
    int count;
    dfx_image **image;
    dfx_tensor floats, prompt_embeds; /* the data is owned */
};

/* The scheduler of a run: the caller's where the choice is NULL or its name, else opened by the
 * choice. */
dfx_status dfx__take_scheduler(dfx_scheduler **out, dfx_pipeline *p, const char *choice);
void dfx__release_scheduler(dfx_pipeline *p, dfx_scheduler *s);

/* "PATH/NAME" in the pipeline's pool. */
const char *dfx__component_path(dfx_pipeline *p, const char *name);

/* Opens a model component, which the index must name with this class. */
dfx_status dfx__open_component(dfx_model **out, dfx_pipeline *p, json_object *index,
                               const char *name, const dfx__model_class *class);

/* The class that the index names for a component; NULL where it is absent or [null, null]. */
const char *dfx__component_class(json_object *index, const char *name);

/* Takes the floats [count, 3, height, width] of a result, 0..1, which become its, and makes its
 * images. */
dfx_status dfx__result_images(dfx_result *r, float *floats, int count, int height, int width);

/* The shipped model's or the user's folder for a name given to dfx_pipeline_open. */
const char *dfx__model_path(const char *model);

/* Fills p->hash. */
void dfx__pipeline_hash(dfx_pipeline *p);

#endif
