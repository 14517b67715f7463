/* dfxcl/pipeline.h - from a prompt to pictures.
 *
 *     dfx_pipeline *p;
 *     dfx_generate_options g = DFX_GENERATE_DEFAULT;
 *     dfx_result *r;
 *     g.prompt = "red apple";
 *     if (dfx_pipeline_open(&p, NULL, NULL) || dfx_pipeline_generate(&r, p, &g))
 *         return fprintf(stderr, "%s\n", dfx_error()), 1;
 *     dfx_image_write(dfx_result_image(r, 0), "apple.png", NULL, 0); */
#ifndef DFXCL_PIPELINE_H
#define DFXCL_PIPELINE_H

#include "dfxcl/device.h"
#include "dfxcl/image.h"
#include "dfxcl/model.h"
#include "dfxcl/scheduler.h"
#include "dfxcl/tensors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_pipeline dfx_pipeline;
typedef struct dfx_result dfx_result;

/* A component by its folder's name: "unet", "vae", "text_encoder" ... */
typedef struct {
    const char *name;
    dfx_model *model;
} dfx_component;

/* Whether an autoencoder codes pictures tile by tile, which takes less of the device's memory.
 *   AUTO  as a whole where memory suffices, else layer by layer in the largest tiles that fit, with
 *         a line that says so: the same picture
 *   ON    as diffusers does after vae.enable_tiling(): tiles of the autoencoder's sample_size where
 *         the picture is larger, blended where they overlap: another picture (classes that
 * diffusers does not tile are cut like AutoencoderKL) OFF   as a whole */
typedef enum { DFX_TILE_AUTO, DFX_TILE_ON, DFX_TILE_OFF } dfx_tile;

typedef struct {
    const char *device;  /* as dfx_device_open takes it; NULL: $DFX_DEVICE, else auto */
    const char *dtype;   /* "f32", "f16", "bf16" or "auto"; NULL: $DFX_DTYPE, else auto */
    const char *variant; /* "fp16", "ema": weight files *.VARIANT.safetensors, else .bin; a
                          * component without them takes plain ones, at least one has to have them.
                          * NULL: plain ones, else fp16 */
    const dfx_component *components; /* taken instead of the folder's own, which are not read */
    int component_count;
    uint64_t memory_limit;  /* as dfx_device_set_memory_limit takes it; 0: the device's as it is */
    const dfx_pipeline *on; /* NULL; another pipeline, whose device is used: components of both are
                             * on it once. It must live longer */
    dfx_tile tile;          /* DFX_TILE_AUTO */
} dfx_pipeline_options;

/* Opens a Diffusers folder (model_index.json).
 *   model    the folder, or what dfx_checkpoint_open takes for one (a DDUF file, ORG/NAME in the
 *            Hugging Face cache); NULL: $DFX_MODEL, else the model that ships with the library
 *   options  NULL for the defaults
 * Errors: those of its components, each with the component's path. */
DFX_API dfx_status dfx_pipeline_open(dfx_pipeline **out, const char *model,
                                     const dfx_pipeline_options *options);
DFX_API void dfx_pipeline_free(dfx_pipeline *p);

/* A component, to be given to another pipeline; it belongs to p. NULL: there is none of that name.
 */
DFX_API dfx_model *dfx_pipeline_component(const dfx_pipeline *p, const char *name);

/* Runs of p take the component `model` from now on, in place of the one of that name. It is shared:
 * the caller may free it, and give it to other pipelines. Errors: DFX_ERROR_ARGUMENT (no such
 * component), DFX_ERROR_FORMAT and DFX_ERROR_UNSUPPORTED (of another class, or it does not fit the
 * others; the one before stays). */
DFX_API dfx_status dfx_pipeline_set_component(dfx_pipeline *p, const char *name, dfx_model *model);

DFX_API const char *dfx_pipeline_class(const dfx_pipeline *p); /* "StableDiffusionPipeline" */
DFX_API const char *dfx_pipeline_path(const dfx_pipeline *p);  /* or name, that it was opened by */
DFX_API const dfx_device *dfx_pipeline_device(const dfx_pipeline *p);
DFX_API dfx_dtype dfx_pipeline_dtype(const dfx_pipeline *p);
/* 16 hexadecimal digits that tell models apart: a hash of the configs and of samples of the weights
 * (it proves nothing about the rest of them). NULL, and dfx_error() says why, when one of those
 * files cannot be read. */
DFX_API const char *dfx_pipeline_hash(dfx_pipeline *p);

/* Called before the first step (step 0) and after each one; x is the latents there [batch, C, h,
 * w], NULL at step 0. Return 0 to go on; anything else stops with DFX_ERROR_INTERRUPTED. */
typedef int dfx_step_function(void *user, int step, int steps, const float *latents,
                              const dfx_spec *spec);

/* What a picture's training data would have been, which SDXL's UNet is told (Podell et al. 2023,
 * section 2.2), in pixels. A size of 0 is the picture's own. */
typedef struct {
    int original_width, original_height; /* of the photo before it was resized */
    int crop_left, crop_top;             /* what was cut off of it */
    int target_width, target_height;     /* what was left */
} dfx_size_condition;

/* Settings of one run; start from DFX_GENERATE_DEFAULT. What is 0 or NULL there comes from the
 * model: its own best settings (dfx.json in its folder) or the pipeline class's default. */
typedef struct {
    const char *prompt;          /* "" is allowed; NULL where the pipeline takes none */
    const char *negative_prompt; /* NULL: none */
    /* Several prompts in one run instead, prompt_count of them; negative_prompts are as many, or
     * NULL for the same negative_prompt with each. */
    const char *const *prompts, *const *negative_prompts;
    int prompt_count;
    int clip_skip; /* layers of the text encoder that are left out at its end, 0 */
    /* 1: prompts of any length, with weights as in "a (red:1.3) [apple]", as diffusers' community
     * pipelines lpw_stable_diffusion and lpw_stable_diffusion_xl take them (docs/prompts.md) */
    int long_prompts;
    int max_embeddings_multiples; /* of long prompts: chunks at most; 0: 3, and with SDXL any */
    int no_boseos_middle;   /* of long prompts, not SDXL's: 1: no BOS and EOS between chunks */
    int steps;              /* num_inference_steps; 0: the model's, else the class's, 50 in most */
    float guidance_scale;   /* negative: the model's, else 7.5; guidance acts above 1 */
    float guidance_rescale; /* 0..1, 0: off; the rescaled part (Lin et al. 2023, section 3.4) */
    uint64_t seed;
    int width, height;         /* pixels, multiples of 8 (without an autoencoder: of what the UNet
                                * halves its input by); 0: the model's */
    const char *scheduler;     /* as dfx_scheduler_open's choice; NULL: the model's */
    int batch;                 /* pictures of each prompt, all in one run, 1 */
    const dfx_tensor *latents; /* [pictures, C, h, w] f32, the noise before init_noise_sigma, which
                                * sets batch, width and height too; with an image the noise that is
                                * added to it; NULL: drawn from the seed */
    const dfx_image *image; /* image to image: RGB; its size is the result's where none is given */
    const dfx_image *mask;  /* inpainting: gray, 255 where `image` is painted anew */
    double strength; /* the part of the steps that is taken on the image, 0..1, and so how much of
                      * it is painted anew; negative: the class's */
    float image_guidance_scale; /* InstructPix2Pix: how much the picture stays; negative: 1.5 */
    int noise_level; /* x4 upscaler: noise on the picture, up to the model's; negative: 20 */
    const dfx_tensor *depth; /* depth to image: the image's depth map [H, W] f32 in any size and
                              * unit, near is large; NULL: the model's depth_estimator makes it */
    dfx_step_function *on_step;
    void *user;
    int last; /* 1: no run follows; a model's memory goes as soon as its work is done. 0: models
               * stay prepared for the next run */

    /* Pipelines of SDXL alone take these. */
    const char *prompt_2, *negative_prompt_2; /* for the second text encoder; NULL or "": those of
                                               * the first */
    dfx_size_condition size; /* crop_left and crop_top also for the negative branch of image
                              * to image and inpainting, without aesthetic scores */
    dfx_size_condition negative_size; /* sizes of 0: those of `size`. Text to image takes it where
                                       * both of its sizes are given */
    float aesthetic_score, negative_aesthetic_score; /* a refiner's; 0: 6 and 2.5 */
    double denoising_end;   /* the part of the denoising after which it stops, 0..1; 0: all */
    double denoising_start; /* the part that an earlier run has done: the image or init_latents get
                             * no noise, and `strength` does not matter; 0: none */

    /* Latents in place of `image` [pictures or a divisor, C, h, w] f32, as dfx_result_latents gives
     * them. */
    const dfx_tensor *init_latents;
    int only_latents; /* 1: nothing is decoded, the result has latents alone */

    /* Inpainting: 0 or more: only the part around what the mask selects is painted, so many pixels
     * wider, in width x height, and laid into the image: the result's images are of its size (its
     * floats are what was painted). The mask has the image's size. Negative: off. */
    int padding_mask_crop;

    /* What is drawn, of models that were trained with classes: one for all pictures, or as many as
     * there are pictures. NULL: drawn from the seed, as diffusers does after manual_seed(seed). */
    const int *class_labels;
    int class_label_count;
} dfx_generate_options;
#define DFX_GENERATE_DEFAULT                                                                       \
    {                                                                                              \
        NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, -1.0f, 0, 0, 0, 0, NULL, 1, NULL, NULL, NULL,    \
            -1.0, -1.0f, -1, NULL, NULL, NULL, 0, NULL, NULL, { 0, 0, 0, 0, 0, 0 },                \
            { 0, 0, 0, 0, 0, 0 }, 0, 0, 0, 0, NULL, 0, -1, NULL, 0                                 \
    }

/* Runs of p take the scheduler s in place of the model's, unless their options name another one;
 * NULL: the model's again. s stays the caller's and must live as long; one run at a time uses it.
 */
DFX_API void dfx_pipeline_set_scheduler(dfx_pipeline *p, dfx_scheduler *s);

/* One component's work in a run. Sizes are in bytes. */
typedef struct {
    const char *component; /* "unet", "vae decoder" */
    char device[16];       /* "cpu" where the pipeline's device is too small for it */
    dfx_dtype dtype;
    int calls;
    int tiles; /* of a picture that is too large as a whole; 0: it is not */
    uint64_t weight_bytes;
    uint64_t streamed_bytes; /* of these: they stay on the host and move to the device */
    uint64_t moved_bytes; /* of those: in each run of the component, not only in a picture's first
                           * one */
    uint64_t activation_bytes, largest_buffer;
    double flops;        /* of one run of the component; multiply and add count as two */
    const char *kernels; /* "linear:panels 184, conv2d:winograd 33": operators, variants, calls */
} dfx_plan_part;

/* What a run will take of the pipeline's device. */
typedef struct {
    uint64_t peak;  /* the most bytes at any time */
    uint64_t limit; /* of the device */
    int count;
    dfx_plan_part *parts; /* in the order of their work */
} dfx_plan;

/* Finds out what dfx_pipeline_generate would take with these options, without allocating device
 * memory or computing. Kernels that were not measured on this device yet are the usual ones. What
 * p keeps prepared for its next run goes. Errors: as dfx_pipeline_generate, DFX_ERROR_MEMORY among
 * them where nothing fits. */
DFX_API dfx_status dfx_pipeline_plan(dfx_plan **out, dfx_pipeline *p,
                                     const dfx_generate_options *options);
DFX_API void dfx_plan_free(dfx_plan *plan);

/* Draws. That all of it fits is found out before work begins, unless p has drawn before; where
 * memory is short, components make room for each other, weights are streamed, or the CPU takes
 * over, and dfx_set_log's function is told. Errors: DFX_ERROR_ARGUMENT (a setting),
 * DFX_ERROR_INTERRUPTED, and those of running. */
DFX_API dfx_status dfx_pipeline_generate(dfx_result **out, dfx_pipeline *p,
                                         const dfx_generate_options *options);

/* The settings of one run with every default filled in, as dfx_pipeline_generate would use them.
 * Errors: DFX_ERROR_ARGUMENT, as dfx_pipeline_generate. */
DFX_API dfx_status dfx_pipeline_settings(dfx_pipeline *p, dfx_generate_options *options);

/* Pictures of latents [B, C, h, w] in f32, as dfx_result_latents and on_step give them, which are
 * pictures already where the pipeline has no autoencoder; the result has no prompts. It may be
 * called from on_step, for a preview.
 *   vae  decodes them: an autoencoder of as many latent channels, such as an
 *        AutoencoderTiny, which is fast; NULL: the pipeline's own
 * Errors: DFX_ERROR_ARGUMENT (the latents' shape or type, a model that decodes none),
 * DFX_ERROR_UNSUPPORTED (it does not make RGB of the size that its config says), and those of
 * running. */
DFX_API dfx_status dfx_pipeline_decode(dfx_result **out, dfx_pipeline *p, const dfx_tensor *latents,
                                       dfx_model *vae);

DFX_API void dfx_result_free(dfx_result *r);
DFX_API int dfx_result_count(const dfx_result *r);
DFX_API int dfx_result_tiles(const dfx_result *r); /* each was decoded in; 0: it was not */
DFX_API const dfx_image *dfx_result_image(const dfx_result *r, int index);
/* [B, 3, H, W] in 0..1; of models of gray pictures [B, 1, H, W] */
DFX_API const dfx_tensor *dfx_result_floats(const dfx_result *r);
DFX_API const dfx_tensor *dfx_result_latents(const dfx_result *r); /* [B, C, h, w] */
/* [negative; positive] of pipelines that take a prompt, else data NULL */
DFX_API const dfx_tensor *dfx_result_prompt_embeds(const dfx_result *r);
/* The pooled text of pipelines that use one, as [negative; positive]; data NULL: none */
DFX_API const dfx_tensor *dfx_result_pooled_prompt_embeds(const dfx_result *r);

#ifdef __cplusplus
}
#endif
#endif
