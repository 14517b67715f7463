/* stable_diffusion.c - StableDiffusionPipeline: text to image in latents (Rombach et al. 2022). */
#include "core/dtype.h"
#include "dfxcl/rng.h"
#include "model/autoencoder.h"
#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 16384, MAX_BATCH = 256, MAX_STEPS = 100000 };

/* One run: its settings, and memory of the host. */
struct run {
    dfx_pipeline *p;
    const dfx_generate_options *o;
    int guided;      /* one batch of [negative; positive] */
    dfx_spec latent; /* [batch, C, h, w] */
    size_t n;        /* elements of all latents */
    dfx_rng rng;
    dfx_scheduler *scheduler;
    float *x, *input, *edge, *noise_pred, *timestep; /* input, edge: of the model's whole batch */
};

static void close_pipeline(dfx_pipeline *p)
{
    dfx_sequence_free(p->unet_kept.sequence);
    dfx_sequence_free(p->vae_kept.sequence);
    dfx_tokenizer_free(p->tokenizer);
    dfx_model_free(p->text_encoder);
    dfx_model_free(p->unet);
    dfx_model_free(p->vae);
}

/* Whether the components' sizes fit together. */
static dfx_status check_fit(const dfx_pipeline *p)
{
    dfx__clip_text_facts text = dfx__clip_text_get_facts(p->text_encoder->net);
    dfx__unet_facts unet = dfx__unet_get_facts(p->unet->net);
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->vae);
    if (dfx_tokenizer_length(p->tokenizer) > text.positions ||
        dfx_tokenizer_vocabulary(p->tokenizer) > text.vocabulary)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: the tokenizer makes %d of %d tokens, the text encoder takes %d of %d",
                         p->path, dfx_tokenizer_length(p->tokenizer),
                         dfx_tokenizer_vocabulary(p->tokenizer), text.positions, text.vocabulary);
    if (unet.added_width)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet's addition_embed_type needs text_embeds and time_ids, which "
                         "%s does not make",
                         p->path, p->class->name);
    if (text.channels != unet.context)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: the text encoder's hidden_size is %d, the UNet's cross_attention_dim "
                         "%d",
                         p->path, text.channels, unet.context);
    if (unet.in_channels != vae.latent_channels || unet.out_channels != vae.latent_channels)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: the UNet goes from %d to %d channels and the VAE has %d; %s needs "
                         "them equal",
                         p->path, unet.in_channels, unet.out_channels, vae.latent_channels,
                         p->class->name);
    return DFX_OK;
}

static dfx_status open_pipeline(dfx_pipeline *p, json_object *index)
{
    const char *path = dfx__component_path(p, "tokenizer");
    const char *tokenizer = dfx__component_class(index, "tokenizer");
    if (!path)
        return dfx__no_memory();
    if (dfx__component_class(index, "image_encoder"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/model_index.json: image_encoder is not supported", p->path);
    if (!tokenizer || strncmp(tokenizer, "CLIPTokenizer", 13) != 0)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/model_index.json: tokenizer is %s and %s needs CLIPTokenizer", p->path,
                         tokenizer ? tokenizer : "missing", p->class->name);
    DFX__TRY(dfx_tokenizer_open(&p->tokenizer, path));
    DFX__TRY(
        dfx__open_component(&p->text_encoder, p, index, "text_encoder", &dfx__clip_text_class));
    DFX__TRY(dfx__open_component(&p->unet, p, index, "unet", &dfx__unet_class));
    DFX__TRY(dfx__open_component(&p->vae, p, index, "vae", &dfx__autoencoder_kl_class));
    return check_fit(p);
}

/* Given latents set the batch and the size. */
static dfx_status settings_of_latents(const dfx_pipeline *p, dfx_generate_options *o)
{
    const dfx_spec *s = &o->latents->spec;
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->vae);
    char shape[DFX__SHAPE_TEXT];
    dfx__shape_text(shape, s->rank, s->dim);
    if (s->rank != 4 || s->dtype != DFX_F32 || s->dim[1] != vae.latent_channels || s->dim[0] < 1 ||
        s->dim[0] > MAX_BATCH || s->dim[2] < 1 || s->dim[3] < 1 ||
        s->dim[2] > MAX_SIDE / vae.factor || s->dim[3] > MAX_SIDE / vae.factor ||
        o->latents->bytes != dfx__spec_bytes(s))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "latents: %s of %s are not [batch, %d, height / %d, width / %d] of f32",
                         shape, dfx_dtype_name(s->dtype), vae.latent_channels, vae.factor,
                         vae.factor);
    int height = (int)s->dim[2] * vae.factor, width = (int)s->dim[3] * vae.factor;
    if ((o->batch != 1 && o->batch != s->dim[0]) || (o->height && o->height != height) ||
        (o->width && o->width != width))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "latents: %s are %lld of %d x %d pixels, not %d of %d x %d", shape,
                         (long long)s->dim[0], width, height, o->batch, o->width ? o->width : width,
                         o->height ? o->height : height);
    o->batch = (int)s->dim[0];
    o->height = height;
    o->width = width;
    return DFX_OK;
}

/* Opens the scheduler to see that it takes the settings; without a choice it is the config's class.
 */
static dfx_status check_scheduler(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx_scheduler *s;
    DFX__TRY(dfx__take_scheduler(&s, p, o->scheduler));
    if (!o->scheduler)
        o->scheduler = dfx__pool_copy(&p->pool, dfx_scheduler_class(s));
    dfx_status status = dfx_scheduler_set_timesteps(s, o->steps);
    dfx__release_scheduler(p, s);
    return status;
}

static dfx_status settings(dfx_pipeline *p, dfx_generate_options *o)
{
    dfx__unet_facts unet = dfx__unet_get_facts(p->unet->net);
    int factor = dfx__autoencoder_get_facts(p->vae).factor;
    int multiple = factor > 8 ? factor : 8;
    if (!o->prompt)
        return dfx__fail(DFX_ERROR_ARGUMENT, "prompt: %s needs one", p->class->name);
    if (o->latents)
        DFX__TRY(settings_of_latents(p, o));
    if (!o->steps)
        o->steps = p->recommended.steps ? p->recommended.steps : 50;
    if (o->guidance_scale < 0)
        o->guidance_scale =
            p->recommended.guidance_scale >= 0 ? p->recommended.guidance_scale : 7.5f;
    if (!o->height)
        o->height = unet.sample_height * factor;
    if (!o->width)
        o->width = unet.sample_width * factor;
    if (o->steps < 1 || o->steps > MAX_STEPS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "steps: %d is not from 1 to %d", o->steps, MAX_STEPS);
    if (!isfinite(o->guidance_scale))
        return dfx__fail(DFX_ERROR_ARGUMENT, "guidance: it is not a finite number");
    if (o->batch < 1 || o->batch > MAX_BATCH)
        return dfx__fail(DFX_ERROR_ARGUMENT, "batch: %d is not from 1 to %d", o->batch, MAX_BATCH);
    const struct {
        const char *name;
        int value;
    } side[] = { { "width", o->width }, { "height", o->height } };
    for (int i = 0; i < 2; i++)
        if (side[i].value < multiple || side[i].value % multiple || side[i].value > MAX_SIDE)
            return dfx__fail(DFX_ERROR_ARGUMENT, "%s: %d is not a multiple of %d from %d to %d",
                             side[i].name, side[i].value, multiple, multiple, MAX_SIDE);
    return check_scheduler(p, o);
}

/* ---- text ---- */

static dfx_status tokenize(const dfx_pipeline *p, const char *text, const char *what, int32_t *ids)
{
    int lost;
    DFX__TRY(dfx_tokenizer_encode(p->tokenizer, text, ids, NULL, &lost));
    if (lost)
        dfx__log("the %s is %d token%s longer than the %d that the model takes; the end is ignored",
                 what, lost, lost == 1 ? "" : "s", dfx_tokenizer_length(p->tokenizer));
    return DFX_OK;
}

/* [negative; positive] or [positive] -> prompt_embeds of the result, for one picture */
static dfx_status encode_prompt(struct run *r, dfx_tensor *embeds)
{
    dfx_pipeline *p = r->p;
    dfx_sequence *s;
    int tokens = dfx_tokenizer_length(p->tokenizer), texts = 1 + r->guided;
    int channels = dfx__clip_text_get_facts(p->text_encoder->net).channels;
    dfx_spec spec = { DFX_F32, 3, { texts, tokens, channels } };
    int32_t *ids = dfx__alloc((size_t)(texts * tokens), sizeof *ids);
    float *data = dfx__alloc(dfx__elements(&spec), sizeof *data);
    *embeds = (dfx_tensor){ "prompt_embeds", spec, data, dfx__spec_bytes(&spec) };
    dfx_status status = ids && data ? dfx_sequence_new(&s, p->device, p->dtype) : dfx__no_memory();
    if (status == DFX_OK) {
        const char *negative = r->o->negative_prompt ? r->o->negative_prompt : "";
        dfx_value *v = dfx_input(s, "ids", DFX_I32, 2, (int64_t[]){ texts, tokens });
        dfx__clip_text_inputs in = { v, NULL, 0 };
        dfx__clip_text_outputs out;
        dfx__clip_text_record(p->text_encoder->net, &in, DFX__CLIP_LAST, &out);
        dfx_output(dfx_cast(out.last_hidden_state, DFX_F32), "embeds");
        if (r->guided)
            status = tokenize(p, negative, "negative prompt", ids);
        if (status == DFX_OK)
            status = tokenize(p, r->o->prompt, "prompt", ids + r->guided * tokens);
        if (status == DFX_OK)
            status = dfx_sequence_prepare(s);
        if (status == DFX_OK)
            status = dfx_sequence_write(s, "ids", ids, (size_t)(texts * tokens) * sizeof *ids);
        if (status == DFX_OK)
            status = dfx_sequence_run(s);
        if (status == DFX_OK)
            status = dfx_sequence_read(s, "embeds", data, embeds->bytes);
        dfx_sequence_free(s);
    }
    free(ids);
    return status;
}

/* ---- the UNet ---- */

/* Whether a kept sequence has another shape than the run's; it goes then. */
static int needs_recording(dfx__kept *k, int batch, const dfx_spec *latent)
{
    int height = (int)latent->dim[2], width = (int)latent->dim[3];
    if (k->sequence && k->batch == batch && k->height == height && k->width == width)
        return 0;
    dfx_sequence_free(k->sequence);
    *k = (dfx__kept){ NULL, batch, height, width };
    return 1;
}

static dfx_status prepare_unet(struct run *r, const dfx_tensor *embeds)
{
    dfx_pipeline *p = r->p;
    int batch = (int)r->latent.dim[0] * (1 + r->guided);
    dfx__kept *k = &p->unet_kept;
    if (!needs_recording(k, batch, &r->latent))
        return DFX_OK;
    const int64_t *dim = r->latent.dim, *text = embeds->spec.dim;
    DFX__TRY(dfx_sequence_new(&k->sequence, p->device, p->dtype));
    dfx_sequence *s = k->sequence;
    dfx_value *x = dfx_input(s, "sample", DFX_F32, 4, (int64_t[]){ batch, dim[2], dim[3], dim[1] });
    dfx_value *t = dfx_input(s, "timestep", DFX_F32, 1, (int64_t[]){ batch });
    dfx_value *c = dfx_input(s, "text", DFX_F32, 3, (int64_t[]){ batch, text[1], text[2] });
    dfx__unet_inputs in = { dfx_cast(x, p->dtype), t, dfx_cast(c, p->dtype), NULL, NULL };
    x = dfx__unet_record(p->unet->net, &in);
    dfx_output(dfx_cast(x, DFX_F32), "noise_pred");
    dfx_status status = dfx_sequence_prepare(s);
    if (status != DFX_OK) {
        dfx_sequence_free(s);
        k->sequence = NULL;
    }
    return status;
}

/* Each picture has the same text: [negative x batch; positive x batch] */
static dfx_status write_text(struct run *r, const dfx_tensor *embeds)
{
    size_t batch = (size_t)r->latent.dim[0], texts = 1 + (size_t)r->guided;
    size_t bytes = embeds->bytes / texts;
    char *all = dfx__alloc(texts * batch, bytes);
    if (!all)
        return dfx__no_memory();
    for (size_t i = 0; i < texts * batch; i++)
        memcpy(all + i * bytes, (const char *)embeds->data + i / batch * bytes, bytes);
    dfx_status status =
        dfx_sequence_write(r->p->unet_kept.sequence, "text", all, texts * batch * bytes);
    free(all);
    return status;
}

/* noise_pred = unet(input, t), with guidance [Ho & Salimans 2022] */
static dfx_status predict(struct run *r, float t)
{
    dfx_sequence *s = r->p->unet_kept.sequence;
    size_t n = r->n, copies = 1 + (size_t)r->guided, all = n * copies;
    size_t batch = (size_t)r->latent.dim[0] * copies;
    for (size_t i = 0; i < batch; i++)
        r->timestep[i] = t;
    for (size_t i = 0; i < copies; i++)
        dfx__to_channels_last(r->edge + i * n, r->input, &r->latent);
    DFX__TRY(dfx_sequence_write(s, "sample", r->edge, all * sizeof(float)));
    DFX__TRY(dfx_sequence_write(s, "timestep", r->timestep, batch * sizeof(float)));
    DFX__TRY(dfx_sequence_run(s));
    DFX__TRY(dfx_sequence_read(s, "noise_pred", r->edge, all * sizeof(float)));
    if (r->guided)
        for (size_t i = 0; i < n; i++)
            r->edge[i] += r->o->guidance_scale * (r->edge[n + i] - r->edge[i]);
    dfx__to_channels_first(r->noise_pred, r->edge, &r->latent);
    return DFX_OK;
}

static void draw(void *user, float *out, size_t n)
{
    dfx_rng_normal(user, out, n);
}

static dfx_status report(const struct run *r, int step)
{
    const float *latents = step ? r->x : NULL;
    if (r->o->on_step &&
        r->o->on_step(r->o->user, step, dfx_scheduler_calls(r->scheduler), latents, &r->latent))
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return DFX_OK;
}

static dfx_status denoise(struct run *r)
{
    const dfx_scheduler *s = r->scheduler;
    size_t batch = (size_t)r->latent.dim[0], n = r->n / batch;
    float sigma = dfx_scheduler_init_noise_sigma(s);
    if (r->o->latents)
        memcpy(r->x, r->o->latents->data, r->n * sizeof *r->x);
    else
        dfx_rng_normal(&r->rng, r->x, r->n);
    for (size_t i = 0; i < r->n; i++)
        r->x[i] *= sigma;
    DFX__TRY(report(r, 0));
    for (int i = 0; i < dfx_scheduler_calls(s); i++) {
        dfx_scheduler_scale_model_input(s, i, r->x, r->input, batch, n);
        DFX__TRY(predict(r, dfx_scheduler_timesteps(s)[i]));
        DFX__TRY(dfx_scheduler_step(r->scheduler, i, r->noise_pred, r->x, batch, n, draw, &r->rng));
        DFX__TRY(report(r, i + 1));
    }
    return DFX_OK;
}

/* ---- the VAE ---- */

/* Pictures are decoded one by one: the decoder's activations are the largest of all. In f16 its
 * range does not hold them, so it runs in f32. */
static dfx_status prepare_vae(struct run *r)
{
    dfx_pipeline *p = r->p;
    dfx__kept *k = &p->vae_kept;
    if (!needs_recording(k, 1, &r->latent))
        return DFX_OK;
    const int64_t *dim = r->latent.dim;
    dfx_dtype dtype = p->dtype == DFX_F16 ? DFX_F32 : p->dtype;
    DFX__TRY(dfx_sequence_new(&k->sequence, p->device, dtype));
    dfx_value *x =
        dfx_input(k->sequence, "latent", DFX_F32, 4, (int64_t[]){ 1, dim[2], dim[3], dim[1] });
    x = dfx_cast(dfx__autoencoder_decode(p->vae, dfx_cast(x, dtype)), DFX_F32);
    dfx_output(x, "image");
    dfx_status status = dfx_sequence_prepare(k->sequence);
    if (status != DFX_OK) {
        dfx_sequence_free(k->sequence);
        k->sequence = NULL;
    }
    return status;
}

/* latents [batch, C, h, w] -> floats [batch, 3, H, W] in 0..1 */
static dfx_status decode(struct run *r, float *image)
{
    dfx_sequence *s = r->p->vae_kept.sequence;
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->vae);
    dfx_spec one = r->latent, rgb = { DFX_F32, 4, { 1, 3, r->o->height, r->o->width } };
    one.dim[0] = 1;
    size_t n = dfx__elements(&one), pixels = dfx__elements(&rgb);
    float *room = dfx__alloc(pixels, sizeof *room);
    dfx_status status = room ? DFX_OK : dfx__no_memory();
    for (int64_t b = 0; b < r->latent.dim[0] && status == DFX_OK; b++, image += pixels) {
        for (size_t i = 0; i < n; i++)
            r->input[i] = r->x[(size_t)b * n + i] / vae.scaling_factor;
        dfx__to_channels_last(r->edge, r->input, &one);
        status = dfx_sequence_write(s, "latent", r->edge, n * sizeof *r->edge);
        if (status == DFX_OK)
            status = dfx_sequence_run(s);
        if (status == DFX_OK)
            status = dfx_sequence_read(s, "image", room, pixels * sizeof *room);
        if (status != DFX_OK)
            break;
        dfx__to_channels_first(image, room, &rgb);
        for (size_t i = 0; i < pixels; i++)
            image[i] = fminf(fmaxf(image[i] / 2 + 0.5f, 0), 1);
    }
    free(room);
    return status;
}

/* ---- all of it ---- */

static dfx_status allocate(struct run *r)
{
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(r->p->vae);
    size_t batch = (size_t)r->o->batch, copies = 1 + (size_t)r->guided;
    r->latent = (dfx_spec){ DFX_F32,
                            4,
                            { r->o->batch, vae.latent_channels, r->o->height / vae.factor,
                              r->o->width / vae.factor } };
    r->n = dfx__elements(&r->latent);
    r->x = dfx__alloc(r->n, sizeof(float));
    r->input = dfx__alloc(r->n, sizeof(float));
    r->noise_pred = dfx__alloc(r->n, sizeof(float));
    r->edge = dfx__alloc(r->n * copies, sizeof(float));
    r->timestep = dfx__alloc(batch * copies, sizeof(float));
    return r->x && r->input && r->noise_pred && r->edge && r->timestep ? DFX_OK : dfx__no_memory();
}

/* After its work, to make room. */
static void release_unet(dfx_pipeline *p)
{
    dfx_sequence_free(p->unet_kept.sequence);
    p->unet_kept.sequence = NULL;
}

static dfx_status run_all(struct run *r, dfx_result *result)
{
    const dfx_generate_options *o = r->o;
    DFX__TRY(dfx__take_scheduler(&r->scheduler, r->p, o->scheduler));
    DFX__TRY(dfx_scheduler_set_timesteps(r->scheduler, o->steps));
    dfx_scheduler_set_generator(r->scheduler, &r->rng);
    DFX__TRY(allocate(r));
    DFX__TRY(encode_prompt(r, &result->prompt_embeds));
    DFX__TRY(prepare_unet(r, &result->prompt_embeds));
    DFX__TRY(write_text(r, &result->prompt_embeds));
    DFX__TRY(denoise(r));
    if (o->last)
        release_unet(r->p);
    dfx_status status = prepare_vae(r);
    if (status == DFX_ERROR_MEMORY) {
        release_unet(r->p);
        status = prepare_vae(r);
    }
    DFX__TRY(status);
    float *image = dfx__alloc((size_t)o->batch * 3 * (size_t)o->height, (size_t)o->width * 4);
    if (!image)
        return dfx__no_memory();
    status = decode(r, image);
    if (status != DFX_OK) {
        free(image);
        return status;
    }
    return dfx__result_images(result, image, o->batch, o->height, o->width);
}

static dfx_status generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o)
{
    struct run r = { .p = p, .o = o, .guided = o->guidance_scale > 1 };
    dfx_rng_seed(&r.rng, o->seed);
    dfx_status status = run_all(&r, result);
    dfx__release_scheduler(p, r.scheduler);
    free(r.x);
    free(r.input);
    free(r.noise_pred);
    free(r.edge);
    free(r.timestep);
    return status;
}

const dfx__pipeline_class dfx__stable_diffusion_class = { "StableDiffusionPipeline", open_pipeline,
                                                          settings, generate, close_pipeline };
