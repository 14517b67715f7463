/* model.h - one architecture a file: config, build, record. */
#ifndef DFX_MODEL_MODEL_H
#define DFX_MODEL_MODEL_H

#include "dfxcl/model.h"
#include "nn/config.h"
#include "nn/nn.h"

struct dfx__autoencoder_functions;        /* model/autoencoder.h */
typedef struct dfx__forward dfx__forward; /* model/forward.h */

typedef struct dfx__model_class {
    const char *name;     /* diffusers' or transformers' class name */
    const char *basename; /* of its weight files */
    /* Reads the config and loads the weights; NULL after a failure, which config or loader keep. */
    void *(*build)(dfx__config *config, dfx__loader *loader);
    /* Runs it once on given tensors, for dfx_model_forward. */
    dfx_status (*forward)(const dfx_model *m, dfx__forward *f);
    const struct dfx__autoencoder_functions *autoencoder; /* NULL: it is none */
} dfx__model_class;

extern const dfx__model_class dfx__unet_class, dfx__autoencoder_kl_class,
    dfx__autoencoder_asym_kl_class, dfx__autoencoder_tiny_class, dfx__clip_text_class,
    dfx__clip_text_projection_class, dfx__dpt_class, dfx__redux_image_encoder_class,
    dfx__vq_model_class;

struct dfx_model {
    const dfx__model_class *class;
    dfx__config config;
    dfx__weights *weights;
    dfx__pool pool;
    char *folder, *dtypes;
    void *net; /* what the class built: a dfx__unet, a dfx__clip_text */
    int users; /* beside the first one */
};

/* As dfx_model_open; the class must be `class` unless that is NULL, the weights of `variant`. */
dfx_status dfx__model_open(dfx_model **out, const char *folder, const dfx__model_class *class,
                           const char *variant);

/* A model of a config, which it takes over, whose weights are all made of the same `bytes` of f16
 * numbers; they must live longer. For timing: it computes nonsense at the right speed. */
dfx_status dfx__model_random(dfx_model **out, json_object *config, const void *numbers,
                             size_t bytes);

/* Counts one more user, each of whom calls dfx_model_free. */
dfx_model *dfx__model_share(dfx_model *m);

/* ---- UNet2DConditionModel ---- */

typedef struct dfx__unet dfx__unet;

/* What class_labels are: [N] i32 ids below class_count; [N] f32 numbers, embedded as timesteps are;
 * [N, class_width] in the sequence's dtype. */
typedef enum {
    DFX__NO_CLASS,
    DFX__CLASS_ID,
    DFX__CLASS_NUMBER,
    DFX__CLASS_VECTOR
} dfx__class_labels;

/* What the pipeline needs to know of a UNet. One of SDXL's kind (Podell et al. 2023) also takes P
 * numbers of a pooled text and K sizes: P + K size_width is added_width, which is 0 for others. */
typedef struct {
    int in_channels, out_channels, sample_width, sample_height, context;
    int added_width, size_width;
    dfx__class_labels class_labels;
    int class_count, class_width; /* ids that there are; numbers of a vector */
    int cond_width;               /* of timestep_cond; 0: it takes none */
    int multiple, least;          /* the sample's sides are multiples of it, from `least` on */
} dfx__unet_facts;
dfx__unet_facts dfx__unet_get_facts(const dfx__unet *m);

typedef struct {
    dfx_value *sample;       /* [N, H, W, in] in the sequence's dtype */
    dfx_value *timestep;     /* [N] f32 */
    dfx_value *text;         /* [N, T, context] in the sequence's dtype */
    dfx_value *text_embeds;  /* [N, P] in the sequence's dtype; NULL where added_width is 0 */
    dfx_value *time_ids;     /* [N, K] f32; likewise */
    dfx_value *class_labels; /* see dfx__class_labels; NULL without */
    dfx_value
        *timestep_cond; /* [N, cond_width] in the sequence's dtype; or NULL: nothing is added */
} dfx__unet_inputs;

/* -> [N, H, W, out] */
dfx_value *dfx__unet_record(const dfx__unet *m, const dfx__unet_inputs *in);

/* ---- CLIPTextModel, CLIPTextModelWithProjection ---- */

typedef struct dfx__clip_text dfx__clip_text;

typedef struct {
    int positions, channels, vocabulary, layers;
    int projection; /* width of text_embeds; 0 for CLIPTextModel */
} dfx__clip_text_facts;
dfx__clip_text_facts dfx__clip_text_get_facts(const dfx__clip_text *m);

typedef struct {
    dfx_value *ids;  /* [N, T] i32 */
    dfx_value *pool; /* [N, 1, T] f32 of dfx__clip_text_pool; NULL: nothing is pooled */
    int skip; /* hidden is hidden_states[-1 - skip]; 0 .. layers, which gives the embeddings */
} dfx__clip_text_inputs;

enum { /* what is recorded; layers that none of it needs are not run */
       DFX__CLIP_LAST = 1,
       DFX__CLIP_HIDDEN = 2,
       DFX__CLIP_POOLED = 4,
       DFX__CLIP_EMBEDS = 8,
};

typedef struct {                  /* NULL where not wanted, or not of the class */
    dfx_value *last_hidden_state; /* [N, T, channels], after the final norm */
    dfx_value *hidden;            /* [N, T, channels], without it */
    dfx_value *pooler_output;     /* [N, channels], of last_hidden_state */
    dfx_value *text_embeds;       /* [N, projection] */
} dfx__clip_text_outputs;

void dfx__clip_text_record(const dfx__clip_text *m, const dfx__clip_text_inputs *in, int wanted,
                           dfx__clip_text_outputs *out);

/* The final norm of a hidden state, which StableDiffusionPipeline's clip skip takes. */
dfx_value *dfx__clip_text_norm(const dfx__clip_text *m, dfx_value *hidden);

/* ids [count, tokens] -> pool: rows of zeros with a 1 at the position that transformers pools. */
void dfx__clip_text_pool(const dfx__clip_text *m, const int32_t *ids, int count, int tokens,
                         float *pool);

/* ---- DPTForDepthEstimation ---- */

typedef struct dfx__dpt dfx__dpt;

/* Whether it takes pictures of that size. Errors: DFX_ERROR_ARGUMENT. */
dfx_status dfx__dpt_check_size(const dfx__dpt *m, int64_t height, int64_t width);

/* pixels [N, height, width, 3] in the sequence's dtype, of a size that it takes -> [N, H, W], near
 * is large */
dfx_value *dfx__dpt_record(const dfx__dpt *m, dfx_value *pixels);

/* ---- layout ---- */

/* NCHW floats to NHWC and back, for n images. */
void dfx__to_channels_last(float *to, const float *from, const dfx_spec *nchw);
void dfx__to_channels_first(float *to, const float *from, const dfx_spec *nchw);

#endif
