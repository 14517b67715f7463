/* run.h - one run of a latent diffusion pipeline: what a family's file fills in, and the stages
 * that the families share. */
#ifndef DFX_PIPELINE_RUN_H
#define DFX_PIPELINE_RUN_H

#include "dfxcl/rng.h"
#include "media/image.h"
#include "model/autoencoder.h"
#include "pipeline/pipeline.h"

/* What a UNet may be given beside the latents and the timestep, a row for each branch of each
 * picture: [branches * pictures, ...]. Names are those of diffusers' arguments. */
enum {
    DFX__ENCODER_HIDDEN_STATES, /* [.., T, C] */
    DFX__TEXT_EMBEDS,           /* [.., P] */
    DFX__TIME_IDS,              /* [.., K] */
    DFX__TIMESTEP_COND,         /* [.., D] */
    DFX__CLASS_LABELS,          /* [..] i32 */
    DFX__CONDITIONS
};

typedef struct dfx__run dfx__run;
struct dfx__run {
    dfx_pipeline *p;
    const dfx_generate_options *o;
    dfx_result *result;
    dfx_rng rng;
    dfx_scheduler *scheduler;
    int first, end;  /* the scheduler's calls that the run takes, `end` not with them */
    int pictures;    /* prompts times batch; all pictures of a prompt stand together */
    int branches;    /* predictions for each picture: 1, with guidance 2, without the text first */
    dfx_spec latent; /* [pictures, C, h, w] */
    size_t n;        /* its elements */
    int normalises;  /* encoded images become latents as p->denormalises has them */
    float *x;        /* the latents */
    float *input;    /* what the scheduler makes of them for the UNet */
    float *noise_pred;                     /* [pictures, C, h, w], or 2 C with a learned variance */
    dfx_tensor condition[DFX__CONDITIONS]; /* data NULL: none; the data is the run's */
    /* Channels behind the latents in the UNet's input [branches * pictures, h, w, extra_channels];
     * the run's. */
    float *extra;
    int extra_channels;
    /* The picture that inpainting keeps: its latents [pictures, C, h, w], the noise on them, and
     * the mask [h, w], 1 where it is painted anew. NULL: nothing is kept. */
    float *kept, *noise, *mask;
    /* Whether an autoencoder that takes a mask decodes with it; then the picture [3, H, W] and the
     * mask [H, W] in the settings' size. */
    int decodes_mask;
    float *picture, *hole;
    int crops;        /* only a part of the picture is painted, */
    dfx__region crop; /* this one, in the settings' size */
    /* From the branches' predictions pred [branches][pictures][elements of a picture] to the
     * first one's place; dfx__guide, unless `draw` sets another one. */
    void (*guide)(dfx__run *r, float *pred);
    /* NULL, or the timestep that the UNet is given at a call in place of the scheduler's, and what
     * becomes of its prediction in noise_pred before the scheduler takes it. */
    float (*unet_timestep)(const dfx__run *r, int call);
    void (*precondition)(dfx__run *r, int call);
    float *edge, *timestep; /* rooms of denoise.c */
};

/* ---- run.c ---- */

/* What a pipeline's latents are: the autoencoder's or, where it has none, pictures. */
typedef struct {
    int channels, factor; /* factor: pixels of a latent's side */
} dfx__latent_form;
dfx__latent_form dfx__get_latent_form(const dfx_pipeline *p);

/* A whole run: takes the scheduler, sets sizes, draws, and frees what the run has. */
dfx_status dfx__generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o,
                         int branches, dfx_status (*draw)(dfx__run *r));

/* Makes condition `which` of `rows` different rows, each of them for so many pictures that stand
 * together: rows [branches][prompts] become [branches][pictures]. */
dfx_status dfx__set_condition(dfx__run *r, int which, const dfx_spec *spec, const void *rows);

/* Makes r->extra of planes [channels, h, w], which every row takes. */
dfx_status dfx__set_extra(dfx__run *r, const float *planes, int channels);

/* The same of planes [count, channels, h, w], which the rows take in turn. */
dfx_status dfx__set_extra_rows(dfx__run *r, const float *planes, int channels, int count);

/* ---- start.c ---- */

/* r->x becomes what the settings start from: pure noise at the scheduler's first call; or, with
 * `strength` as in diffusers, an image or latents with the noise of the call at which the steps
 * start; or the same of inpainting, for UNets of latents alone and for those that take the mask and
 * the masked picture too. Sets r->first and r->end. */
dfx_status dfx__start(dfx__run *r);
dfx_status dfx__start_from_noise(dfx__run *r);

/* From the image or latents with the noise of call r->first. */
dfx_status dfx__start_from_image(dfx__run *r);

/* Leaves out the calls after the settings' denoising_end, which dfx__start does itself. */
dfx_status dfx__stop_early(dfx__run *r);

/* The settings' image, or the run's crop of it, in the settings' size, [3, H, W] in -1..1, to be
 * freed. */
dfx_status dfx__read_image(const dfx__run *r, float **out);

/* The settings' image resized to another size, without a crop. */
dfx_status dfx__read_resized(const dfx__run *r, int width, int height, dfx_image_filter filter,
                             float **out);

/* ---- mask_crop.c ---- */

/* Whether padding_mask_crop has what it needs. */
dfx_status dfx__check_mask_crop(const dfx_generate_options *o);

/* Sets r->crop where the settings ask for it. */
dfx_status dfx__crop_to_mask(dfx__run *r);

/* The result's pictures of r->crop become the settings' image with them in their place. */
dfx_status dfx__lay_into_image(dfx__run *r);

/* ---- settings.c ---- */

/* How many pictures the settings ask for. */
int dfx__pictures(const dfx_generate_options *o);

/* Checks what all latent pipelines take, and fills in steps, guidance, size (of given latents, else
 * `width` x `height`), and the scheduler's name. */
typedef struct {
    int steps, width, height; /* where nothing says otherwise */
    int multiple;             /* of sides; 0: 8, or the autoencoder's factor where it is more */
    int least;                /* side; 0: the multiple */
    float guidance_scale;
    double strength;
    int enlarges; /* the result's sides are so many times the image's or init_latents'; 0: once */
    /* What the class needs of the scheduler, whose timesteps are set; NULL: nothing. */
    dfx_status (*check_scheduler)(const dfx_pipeline *p, const dfx_generate_options *o,
                                  dfx_scheduler *s);
} dfx__defaults;
dfx_status dfx__settings(dfx_pipeline *p, dfx_generate_options *o, const dfx__defaults *d);

/* Image to image keeps the image's size, cut to what the autoencoder can make, or its latents'. */
void dfx__take_size(const dfx_pipeline *p, const dfx_generate_options *o, dfx__defaults *d);

/* Whether a mask has an image to select from, and a UNet that only inpaints has both. */
dfx_status dfx__check_mask(const dfx_pipeline *p, const dfx_generate_options *o);

/* Fails where a setting is given that the pipeline does not use: the DFX__USES of those it does. */
enum {
    DFX__USES_IMAGE = 1,
    DFX__USES_MASK = 2,
    DFX__USES_STRENGTH = 4,
    DFX__USES_CLIP_SKIP = 8,
    DFX__USES_RESCALE = 16,
    DFX__USES_IMAGE_GUIDANCE = 32,
    DFX__USES_NOISE_LEVEL = 64,
    DFX__USES_DEPTH = 128,
    DFX__USES_LONG_PROMPTS = 256,
    DFX__USES_INIT_LATENTS = 512,
    DFX__USES_XL = 1024, /* what only pipelines of SDXL take */
    DFX__USES_CLASS_LABELS = 2048
};
dfx_status dfx__refuse_unused(const dfx_pipeline *p, const dfx_generate_options *o, int uses);

/* ---- components.c ---- */

/* Opens tokenizer and text_encoder (unless the second one is there and the index has no first),
 * unet and vae. */
dfx_status dfx__open_components(dfx_pipeline *p, json_object *index);

/* The text encoders that there are: tower 0 alone, both, or tower 1 alone in a refiner of SDXL. */
int dfx__first_tower(const dfx_pipeline *p);
int dfx__end_tower(const dfx_pipeline *p);
dfx__clip_text_facts dfx__tower_facts(const dfx_pipeline *p, int tower);

/* Whether tokenizers, text encoders and UNet fit together; _alone: and the UNet is told nothing but
 * the text. */
dfx_status dfx__check_text(const dfx_pipeline *p);
dfx_status dfx__check_text_alone(const dfx_pipeline *p);

/* Whether the UNet takes the latents and `extra` channels beside them, gives latents, and needs no
 * class labels. */
dfx_status dfx__check_inputs(const dfx_pipeline *p, int extra);

/* The two halves of it. */
dfx_status dfx__check_channels(const dfx_pipeline *p, int extra);
dfx_status dfx__check_no_class(const dfx_pipeline *p);

/* The UNet takes latents, the mask, and the latents of the masked picture. */
int dfx__only_inpaints(const dfx_pipeline *p);

/* Whether the text encoders have so many layers to skip. */
dfx_status dfx__check_clip_skip(const dfx_pipeline *p, const dfx_generate_options *o);

/* ---- text.c ---- */

/* Text i of the settings' prompts or, of as many, negative ones; "" where none is given. */
const char *dfx__prompt(const dfx_generate_options *o, int i, int negative);

/* Texts for one of the text encoders. */
typedef struct {
    int tower; /* whose tokenizer and text encoder */
    const char *const *text;
    int count, negative; /* the first so many are negative prompts */
    int skip, norm;      /* states are hidden_states[-1 - skip], after the final norm or not */
    int clip_skip;       /* more layers that are left out, but not of negative prompts */
    int quiet;           /* says nothing where a text is too long */
    int pooler;          /* what is pooled: pooler_output in place of text_embeds */
} dfx__texts;

/* Texts -> states [count, tokens, C]; text_embeds [count, P] or pooler_output [count, C] into
 * `pooled` unless that is NULL */
dfx_status dfx__encode_texts(dfx__run *r, const dfx__texts *t, float *states, float *pooled);

/* The same of ids [count, tokens] in place of `text` */
dfx_status dfx__encode_ids(dfx__run *r, const dfx__texts *t, const int32_t *ids, float *states,
                           float *pooled);

/* Makes the result's prompt_embeds [texts, tokens, channels of all towers] and, of a tower with a
 * projection, pooled_prompt_embeds [texts, P], of zeros. */
dfx_status dfx__make_prompt_embeds(dfx__run *r, int64_t texts, int64_t tokens);

/* They become conditions DFX__ENCODER_HIDDEN_STATES and DFX__TEXT_EMBEDS. */
dfx_status dfx__take_prompt_embeds(dfx__run *r);

/* Encodes prompts and, with guidance, negative prompts into the result's embeds and the conditions:
 * the states of all towers side by side, pooled by the last one. */
dfx_status dfx__encode_prompts(dfx__run *r);

/* ---- long_prompts.c ---- */

/* The same as the setting long_prompts asks for. */
dfx_status dfx__encode_long_prompts(dfx__run *r);

/* ---- guidance.c ---- */

/* How many predictions guidance needs: 1 without, and of a UNet that was distilled with it. */
int dfx__guided_branches(const dfx_pipeline *p, const dfx_generate_options *o);

/* Condition DFX__TIMESTEP_COND, the guidance scale, for UNets that were distilled with it (Meng et
 * al. 2022; Luo et al. 2023); nothing for others. */
dfx_status dfx__embed_guidance(dfx__run *r);

/* Classifier-free guidance (Ho & Salimans 2022) of two branches, with guidance_rescale. */
void dfx__guide(dfx__run *r, float *pred);

/* Brings guided predictions nearer to the text's standard deviations, by guidance_rescale (Lin et
 * al. 2023, section 3.4). */
void dfx__rescale_guided(const dfx__run *r, float *guided, const float *text);

/* ---- stable_diffusion_xl.c ---- */

/* Opens the second text encoder and its tokenizer beside the rest, and takes the index's flags. */
dfx_status dfx__open_xl(dfx_pipeline *p, json_object *index);
int dfx__index_flag(json_object *index, const char *key, int missing);

/* Whether the UNet takes both texts, the sizes, and `extra` channels beside the latents. */
dfx_status dfx__check_xl(const dfx_pipeline *p, int extra);
dfx_status dfx__check_sizes(const dfx_generate_options *o);

/* Condition DFX__TIME_IDS; the same for all branches unless there are two. */
dfx_status dfx__set_time_ids(dfx__run *r);

/* ---- denoise.c ---- */

/* The scheduler's sigma at a call; it must have some. Fits r->unet_timestep. */
float dfx__sigma_of_call(const dfx__run *r, int call);

/* Goes through the scheduler's calls from r->first on; r->x becomes the result. */
dfx_status dfx__denoise(dfx__run *r);

/* ---- depth_estimator.c ---- */

/* Takes note of the component, which is opened and freed by each run that needs it. */
dfx_status dfx__expect_depth_estimator(dfx_pipeline *p, json_object *index);

/* The depth of the settings' image, *out [*height, *width], near is large; to be freed. */
dfx_status dfx__estimate_depth(dfx__run *r, float **out, int *height, int *width);

/* ---- encode.c ---- */

/* Latents of a diffusion are encoded ones times it: the pipeline's own, else the autoencoder's. */
float dfx__scaling_factor(const dfx_pipeline *p, const dfx_model *vae);

/* Latents [draws, C, height / factor, width / factor] of an image [1, 3, height, width] in -1..1:
 * so many draws from the autoencoder's distribution, or the mean where it has none; 0: [1, ..], the
 * mean. All are times `scale`, which is dfx__scaling_factor or, for UNets that see the image, 1. */
dfx_status dfx__encode_image(dfx__run *r, const float *image, int width, int height, int draws,
                             float scale, float *latents);

/* ---- decode.c ---- */

/* What the autoencoder of a slot runs in. */
dfx_dtype dfx__vae_dtype(const dfx_pipeline *p, int slot);

/* r->x becomes the result's latents; decodes it, unless only latents are asked for, and makes the
 * result's pictures. */
dfx_status dfx__decode(dfx__run *r);

#endif
