/* unconditional.c - pictures without a text: DDPM (Ho et al. 2020), DDIM (Song et al. 2021), PNDM
 * (Liu et al. 2022), score models (Song et al. 2021), consistency models (Song et al. 2023), each
 * of pixels, and latent diffusion (Rombach et al. 2022). All draws are of the run's generator;
 * diffusers draws classes, and noise of LDMPipeline's steps, from torch's own one. Schedulers may
 * scale their noise and input, which diffusers' pipelines of pixels leave out. */
#include "core/dtype.h"
#include "model/unet2d.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A class of diffusers'. */
typedef struct {
    const char *name;
    int steps;             /* num_inference_steps by default */
    const char *scheduler; /* diffusers makes one of this class of the config; NULL: it is kept */
    int only;              /* no other scheduler does */
    int score;             /* its UNet takes noise levels, and pictures lie in 0..1, not -1..1 */
    int labels;            /* it takes class labels */
} kind;

static const kind kinds[] = {
    { "DDPMPipeline", 1000, NULL, 0, 0, 0 },
    { "DDIMPipeline", 50, "DDIMScheduler", 0, 0, 0 },
    { "PNDMPipeline", 50, "PNDMScheduler", 0, 0, 0 },
    { "LDMPipeline", 50, NULL, 0, 0, 0 },
    { "ScoreSdeVePipeline", 2000, "ScoreSdeVeScheduler", 1, 1, 0 },
    { "ConsistencyModelPipeline", 1, "CMStochasticIterativeScheduler", 1, 0, 1 },
};

static const char *const names[] = { "DDPMPipeline",
                                     "DDIMPipeline",
                                     "PNDMPipeline",
                                     "LDMPipeline",
                                     "ScoreSdeVePipeline",
                                     "ConsistencyModelPipeline",
                                     NULL };

static const kind *kind_of(const dfx_pipeline *p)
{
    const kind *k = kinds;
    while (strcmp(k->name, p->class_name) != 0)
        k++;
    return k;
}

static dfx__unet2d_facts unet_facts(const dfx_pipeline *p)
{
    return dfx__unet2d_get_facts(p->model[DFX__UNET]);
}

static dfx_status open_pipeline(dfx_pipeline *p, json_object *index)
{
    static const dfx__model_class *const unet[] = { &dfx__unet2d_class, NULL };
    static const dfx__model_class *const vae[] = { &dfx__vq_model_class, &dfx__autoencoder_kl_class,
                                                   NULL };
    p->is_score = kind_of(p)->score;
    DFX__TRY(dfx__open_component(p, index, DFX__UNET, "unet", unet));
    if (strcmp(p->class_name, "LDMPipeline") == 0)
        return dfx__open_component(p, index, DFX__VAE, "vqvae", vae);
    return DFX_OK;
}

/* ---- whether the components fit ---- */

static dfx_status check_channels(const dfx_pipeline *p)
{
    dfx__unet2d_facts unet = unet_facts(p);
    int channels = unet.in_channels, pictures = channels;
    if (p->model[DFX__VAE]) {
        dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->model[DFX__VAE]);
        channels = vae.latent_channels;
        pictures = vae.out_channels;
    }
    if (unet.in_channels != channels || unet.out_channels != channels * dfx__output_parts(p))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet goes from %d to %d channels; %s needs %d to %d, or to twice "
                         "as many with a learned variance",
                         p->path, unet.in_channels, unet.out_channels, p->class_name, channels,
                         channels);
    if (pictures != 3 && (pictures != 1 || p->model[DFX__VAE]))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: pictures of %d channels are not supported",
                         p->path, pictures);
    return DFX_OK;
}

static dfx_status check(const dfx_pipeline *p)
{
    dfx__unet2d_facts unet = unet_facts(p);
    DFX__TRY(check_channels(p));
    if (unet.labels == DFX__NO_LABELS || (unet.labels == DFX__LABEL_IDS && kind_of(p)->labels))
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the UNet's class_embed_type or num_class_embeds needs class_labels, "
                     "which %s does not make",
                     p->path, p->class_name);
}

/* ---- settings ---- */

static dfx_status refuse_text(const dfx_pipeline *p, const dfx_generate_options *o)
{
    const struct {
        const char *name;
        int given;
    } settings[] = {
        { "prompt", o->prompt || o->prompts },
        { "negative_prompt", o->negative_prompt || o->negative_prompts },
        { "guidance_scale", o->guidance_scale > 1 },
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].given)
            return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %s takes none", settings[i].name,
                             p->class_name);
    return DFX_OK;
}

static dfx_status check_labels(const dfx_pipeline *p, const dfx_generate_options *o)
{
    dfx__unet2d_facts unet = unet_facts(p);
    if (!o->class_labels)
        return DFX_OK;
    if (unet.labels == DFX__NO_LABELS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "class_labels: %s was not trained with classes",
                         p->path);
    if (o->class_label_count != 1 && o->class_label_count != o->batch)
        return dfx__fail(DFX_ERROR_ARGUMENT, "class_labels: %d of them for %d pictures",
                         o->class_label_count, o->batch);
    for (int i = 0; i < o->class_label_count; i++)
        if (o->class_labels[i] < 0 || o->class_labels[i] >= unet.label_count)
            return dfx__fail(DFX_ERROR_ARGUMENT, "class_labels: %d is not from 0 to %d",
                             o->class_labels[i], unet.label_count - 1);
    return DFX_OK;
}

static dfx_status check_class(const dfx_pipeline *p, const dfx_generate_options *o,
                              dfx_scheduler *s)
{
    const kind *k = kind_of(p);
    (void)o;
    if (!k->only || strcmp(dfx_scheduler_class(s), k->scheduler) == 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler: %s needs %s", k->name, k->scheduler);
}

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet2d_facts unet = unet_facts(p);
    int factor = dfx__get_latent_form(p).factor;
    dfx__defaults d = { .steps = kind_of(p)->steps,
                        .width = unet.sample_width * factor,
                        .height = unet.sample_height * factor,
                        .multiple = unet.multiple * factor,
                        .strength = 1,
                        .check_scheduler = check_class };
    DFX__TRY(dfx__refuse_unused(p, o, kind_of(p)->labels ? DFX__USES_CLASS_LABELS : 0));
    DFX__TRY(refuse_text(p, o));
    if (!unet.sample_width && !o->latents && (!o->width || !o->height))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "width, height: are needed, the config of %s/unet has no sample_size",
                         p->path);
    o->guidance_scale = 1;
    if (!o->scheduler && !p->scheduler) /* the class that diffusers makes of any config */
        o->scheduler = kind_of(p)->scheduler;
    DFX__TRY(dfx__settings(p, o, &d));
    return check_labels(p, o);
}

/* ---- drawing ---- */

/* A class for each picture: given ones, or drawn after the latents. */
static dfx_status set_labels(dfx__run *r)
{
    dfx__unet2d_facts unet = unet_facts(r->p);
    dfx_spec spec = { DFX_I32, 1, { r->pictures } };
    int64_t drawn;
    if (unet.labels == DFX__NO_LABELS)
        return DFX_OK;
    int32_t *labels = dfx__alloc((size_t)r->pictures, sizeof *labels);
    dfx_status status = labels ? DFX_OK : dfx__no_memory();
    for (int i = 0; i < r->pictures && status == DFX_OK; i++) {
        if (!r->o->class_labels)
            status = dfx_rng_integers(&r->rng, 0, unet.label_count, &drawn, 1);
        labels[i] =
            r->o->class_labels ? r->o->class_labels[i % r->o->class_label_count] : (int32_t)drawn;
    }
    if (status == DFX_OK)
        status = dfx__set_condition(r, DFX__CLASS_LABELS, &spec, labels);
    free(labels);
    return status;
}

/* Timesteps that are looked up must be in the table. */
static dfx_status check_timesteps(const dfx__run *r)
{
    int count = unet_facts(r->p).timestep_count;
    for (int i = 0; count && i < dfx_scheduler_calls(r->scheduler); i++) {
        float t = dfx_scheduler_timesteps(r->scheduler)[i];
        if (!(t >= 0 && t < (float)count) || t != floorf(t))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "scheduler %s: timestep %g is not one of the UNet's, 0 to %d",
                             dfx_scheduler_class(r->scheduler), (double)t, count - 1);
    }
    return DFX_OK;
}

static dfx_status draw(dfx__run *r)
{
    r->unet_timestep = r->p->is_score ? dfx__sigma_of_call : NULL;
    DFX__TRY(check_timesteps(r));
    DFX__TRY(dfx__start_from_noise(r));
    DFX__TRY(set_labels(r));
    DFX__TRY(dfx__denoise(r));
    return dfx__decode(r);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    return dfx__generate(result, p, o, 1, draw);
}

const dfx__pipeline_class dfx__unconditional_class = { names, open_pipeline, check, settings,
                                                       generate };
