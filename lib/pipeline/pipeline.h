/* pipeline.h - one family a file; what all of them share. */
#ifndef DFX_PIPELINE_PIPELINE_H
#define DFX_PIPELINE_PIPELINE_H

#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"
#include "dfxcl/pipeline.h"
#include "dfxcl/tokenizer.h"
#include "model/model.h"
#include "scheduler/scheduler.h"

/* A pipeline's models; a slot has one use, and its folder's name may differ from class to class. */
enum {
    DFX__TEXT_ENCODER,
    DFX__TEXT_ENCODER_2,
    DFX__UNET,
    DFX__VAE,
    DFX__DEPTH_ESTIMATOR,
    DFX__COMPONENTS,
    DFX__PREVIEW = DFX__COMPONENTS /* an autoencoder that dfx_pipeline_decode was given */
};
enum { DFX__TOWERS = 2 }; /* text encoders, each with its tokenizer */

typedef struct dfx__pipeline_class {
    const char *const *names; /* diffusers' class names, ended by NULL */
    /* Opens the components; index is model_index.json. */
    dfx_status (*open)(dfx_pipeline *p, json_object *index);
    /* Whether the components' sizes fit together. */
    dfx_status (*check)(const dfx_pipeline *p);
    /* Checks the settings, and fills in those that are not given. */
    dfx_status (*settings)(dfx_pipeline *p, dfx_generate_options *o);
    dfx_status (*generate)(dfx_result *r, dfx_pipeline *p, const dfx_generate_options *o);
} dfx__pipeline_class;

extern const dfx__pipeline_class dfx__latent_consistency_class, dfx__stable_diffusion_class,
    dfx__stable_diffusion_xl_class, dfx__instruct_pix2pix_class, dfx__instruct_pix2pix_xl_class,
    dfx__depth2img_class, dfx__unconditional_class, dfx__upscale_class, dfx__latent_upscale_class;

/* Settings that a model's folder recommends (dfx.json): 0 and -1 where it says nothing. */
typedef struct {
    int steps;
    float guidance_scale;
} dfx__recommended;

/* In what tiles an autoencoder codes latents of a size where the whole does not fit. */
typedef struct {
    int height, width;
    dfx_dtype dtype;
    uint64_t limit; /* of the device's memory */
    int side;       /* of the tiles, in latents; 0: the whole fits */
    int in_parts;   /* 1: in pixels, of a decoder that is taken apart (parts.h) */
    double more;    /* to compute than for the whole, as a part of it */
    int told;       /* the log says it */
} dfx__tiles;

/* A prepared sequence, kept for the next run of the same model and shapes. */
enum { DFX__KEPT_SHAPE = 5 };
typedef struct {
    dfx_sequence *sequence;
    const dfx_model *model;
    int64_t shape[DFX__KEPT_SHAPE];
    dfx__tiles tiles; /* an autoencoder's */
} dfx__kept;

struct dfx_pipeline {
    const dfx__pipeline_class *class;
    const char *class_name; /* one of class->names */
    dfx__pool pool;
    dfx_checkpoint *checkpoint; /* which keeps `path` readable */
    const char *opened_by, *path, *variant;
    const dfx_pipeline_options *options; /* while it opens */
    dfx_device *device;
    int borrows_device;
    dfx_dtype dtype;
    int dtype_is_auto;
    unsigned in_f32; /* bits of the slots whose values f16 does not hold, as a run has shown */
    dfx_tile tile;
    dfx__recommended recommended;
    char hash[17];
    dfx_tokenizer *tokenizer[DFX__TOWERS];
    dfx_model *model[DFX__COMPONENTS];
    const char *model_name[DFX__COMPONENTS]; /* of their folders */
    const dfx__model_class *const *model_classes[DFX__COMPONENTS];
    const dfx__model_class *expected[DFX__COMPONENTS]; /* of their classes */
    /* of SDXL's model_index.json */
    int force_zeros_for_empty_prompt, requires_aesthetics_score, is_cosxl_edit;
    int is_score; /* its pictures lie in 0..1, those of others without a vae in -1..1 */
    dfx_scheduler *low_res_scheduler; /* of an upscaler; NULL: none */
    int max_noise_level;              /* of an upscaler's model_index.json */
    float scaling_factor; /* of latents, which the class has in place of the vae's own; 0: none */
    int upcasts_vae;      /* force_upcast counts; diffusers' other classes decode in f16 */
    int denormalises;     /* latents are in latents_std about latents_mean where the VAE has them */
    dfx_scheduler *scheduler; /* the caller's; NULL: each run opens its own */
    unsigned repairs;         /* of its config by the settings' pipeline: DFX__REPAIR_... */
    dfx__kept unet_kept, vae_kept;
    dfx__kept encoder_kept; /* of the VAE's other half; nothing is kept between two pictures */
    dfx__kept preview_kept; /* of an autoencoder that dfx_pipeline_decode was given ... */
    dfx_model *preview;     /* ... and that is shared as long */
    int running;
    int denoises;      /* the UNet's sequence is in use */
    dfx_device *spare; /* the native CPU, for what does not fit into the device; NULL before */
    dfx_plan *plan;    /* while a run is rehearsed */
};

struct dfx_result {
    int count;
    int tiles; /* 0: nothing was decoded */
    dfx_image **image;
    dfx_tensor floats, latents, prompt_embeds, pooled_prompt_embeds; /* the data is owned */
};

/* The scheduler of a run: the caller's where the choice is NULL or its name, else opened by the
 * choice. */
dfx_status dfx__take_scheduler(dfx_scheduler **out, dfx_pipeline *p, const char *choice);
void dfx__release_scheduler(dfx_pipeline *p, dfx_scheduler *s);

/* 2 where the UNet has learned a variance, which stands behind its mean, else 1. */
int dfx__output_parts(const dfx_pipeline *p);

/* "PATH/NAME" in the pipeline's pool. */
const char *dfx__component_path(dfx_pipeline *p, const char *name);

/* Opens the model of a slot from the folder `name`, or takes the caller's; the index must name it
 * with one of the classes, a list that ends with NULL and stays. */
dfx_status dfx__open_component(dfx_pipeline *p, json_object *index, int slot, const char *name,
                               const dfx__model_class *const *classes);

/* The same in two parts: what is expected is opened when it is needed, unless it is the caller's.
 */
dfx_status dfx__expect_component(dfx_pipeline *p, json_object *index, int slot, const char *name,
                                 const dfx__model_class *const *classes);
dfx_status dfx__need_component(dfx_pipeline *p, int slot);

/* The caller's model for a component's name while the pipeline opens; NULL: none is given. */
dfx_model *dfx__component_given(const dfx_pipeline *p, const char *name);

/* Opens the tokenizer of a tower from the folder `name`, which must be CLIP's. */
dfx_status dfx__open_tokenizer(dfx_pipeline *p, json_object *index, int tower, const char *name);

/* The class that the index names for a component; NULL where it is absent or [null, null]. */
const char *dfx__component_class(json_object *index, const char *name);

/* Whether a kept sequence is of another model or shape (`count` numbers, at most DFX__KEPT_SHAPE)
 * than is needed now; it goes then, and is to be recorded. */
int dfx__needs_recording(dfx__kept *k, const dfx_model *model, const int64_t *shape, int count);
void dfx__forget(dfx__kept *k);
void dfx__forget_all(dfx_pipeline *p);

/* ---- half_guard.c ---- */

/* What the component of a slot runs in: p->dtype, or f32 where that does not hold its values. */
dfx_dtype dfx__component_dtype(const dfx_pipeline *p, int slot);

/* After a run of a component's sequence: is its result finite? Else says which call's is not first:
 * the run fails with it; or, in f16 that the user did not ask for, the log says it, *again is set,
 * and the component is to be recorded and run once more, in f32, as dfx__component_dtype has it. */
dfx_status dfx__guard(dfx_pipeline *p, int slot, dfx_sequence *s, const float *result, size_t n,
                      int *again);

/* Takes the floats of a result, 0..1, of shape [count, 1 or 3, height, width], which become its,
 * and makes its images. */
dfx_status dfx__result_images(dfx_result *r, float *floats, const dfx_spec *shape);

/* Fills p->hash. */
dfx_status dfx__pipeline_hash(dfx_pipeline *p);

#endif
