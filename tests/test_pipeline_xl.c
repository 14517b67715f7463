/* test_pipeline_xl.c - whole runs against diffusers' StableDiffusionXL pipelines: text to image,
 * image to image, inpainting, a base model and its refiner. */
#include "pipeline_test.h"

#include <string.h>

#define STEPS 20

enum { BASE, INPAINT, REFINER, KINDS };

/* The runs of tests/gen/pipelines_xl.py. */
static const struct scenario {
    const char *name, *scheduler;
    int kind;
    dfx_generate_options o;   /* what is 0 here is set below */
    const char *image, *mask; /* of the fixture */
    const char *init;         /* of the fixture, instead of an image */
} scenarios[] = {
    { "given", "euler", BASE, { .guidance_scale = -1 }, NULL, NULL, NULL },
    { "empty",
      "euler_a",
      BASE,
      { .guidance_scale = -1,
        .negative_prompt = "",
        .prompt_2 = "a cat",
        .batch = 2,
        .width = 56,
        .height = 40,
        .guidance_rescale = 0.7f },
      NULL,
      NULL,
      NULL },
    { "sizes",
      "ddim,clip_sample=false",
      BASE,
      { .guidance_scale = -1,
        .negative_prompt = "a cat",
        .negative_prompt_2 = "red",
        .clip_skip = 1,
        .width = 48,
        .height = 40,
        .size = { 700, 1000, 50, 3, 512, 640 },
        .negative_size = { 384, 512, 1, 7, 768, 1024 } },
      NULL,
      NULL,
      NULL },
    { "turbo", "euler_a,timestep_spacing=trailing", BASE, { .steps = 1 }, NULL, NULL, NULL },
    { "early",
      "DPMSolverMultistepScheduler",
      BASE,
      { .guidance_scale = -1, .denoising_end = 0.55 },
      NULL,
      NULL,
      NULL },
    { "image",
      "euler",
      BASE,
      { .guidance_scale = 3,
        .batch = 2,
        .size = { 70, 100, 5, 3, 0, 0 },
        .negative_size = { 0, 0, 1, 7, 0, 0 } },
      "image",
      NULL,
      NULL },
    { "image_start",
      "heun",
      BASE,
      { .guidance_scale = -1, .denoising_start = 0.62, .denoising_end = 0.9 },
      "image",
      NULL,
      NULL },
    { "inpaint", "euler", BASE, { .guidance_scale = -1 }, "image_64", "mask_64", NULL },
    { "inpaint_start",
      "euler_a",
      BASE,
      { .guidance_scale = -1, .denoising_start = 0.4, .batch = 2 },
      "image_64",
      "mask_64",
      NULL },
    { "inpaint_9",
      "DPMSolverMultistepScheduler",
      INPAINT,
      { .guidance_scale = -1, .width = 48, .height = 40, .strength = 1 },
      "image",
      "mask",
      NULL },
    { "inpaint_9_part",
      "euler",
      INPAINT,
      { .guidance_scale = -1, .width = 48, .height = 40, .batch = 2 },
      "image",
      "mask",
      NULL },
    { "refine",
      "euler",
      REFINER,
      { .guidance_scale = -1, .denoising_start = 0.55, .prompt_2 = "a cat" },
      NULL,
      NULL,
      "early/last" },
    { "refine_heun",
      "heun",
      REFINER,
      { .guidance_scale = -1,
        .denoising_start = 0.55,
        .negative_prompt = "a cat",
        .aesthetic_score = 7.5f,
        .negative_aesthetic_score = 1,
        .batch = 2,
        .negative_size = { 0, 0, 4, 9, 0, 0 } },
      NULL,
      NULL,
      "early/last" },
    { "refine_noise",
      "euler",
      REFINER,
      { .guidance_scale = -1, .strength = 0.5 },
      NULL,
      NULL,
      "early/last" },
};

/* ---- one run ---- */

static void check_embeds(const char *name, const char *what, const dfx_tensor *got,
                         const dfx_tensor *wanted)
{
    struct watch w = { 0 };
    if (ok(got->data && same_shape(&got->spec, &wanted->spec), "%s: %s", name, what))
        compare(&w, got->data, wanted);
    ok(w.compared && w.worst_norm < 2e-5, "%s: %s are transformers' (%.0e)", name, what,
       w.worst_norm);
}

static void check_result(const struct scenario *c, const dfx_tensors *all, const dfx_result *r)
{
    check_embeds(c->name, "embeddings", dfx_result_prompt_embeds(r), find(all, c->name, "embeds"));
    check_embeds(c->name, "pooled embeddings", dfx_result_pooled_prompt_embeds(r),
                 find(all, c->name, "pooled"));
    const dfx_tensor *image = find(all, c->name, "image");
    int batch = c->o.batch ? c->o.batch : 1;
    if (image) {
        double error = image_error(dfx_result_floats(r), image);
        ok(error < 1 && dfx_result_count(r) == batch, "%s: the pictures (%.3f/255)", c->name,
           error);
    } else {
        ok(dfx_result_count(r) == 0 && !dfx_result_floats(r)->data &&
               dfx_result_latents(r)->spec.dim[0] == batch,
           "%s: latents alone", c->name);
    }
}

/* The run's settings, with the defaults of DFX_GENERATE_DEFAULT where the table has 0. */
static dfx_generate_options options_of(const struct scenario *c, const dfx_tensors *all)
{
    dfx_generate_options o = c->o;
    o.prompt = "a red apple";
    o.steps = o.steps ? o.steps : STEPS;
    o.batch = o.batch ? o.batch : 1;
    o.strength = o.strength > 0 ? o.strength : -1;
    o.padding_mask_crop = -1;
    o.seed = 7;
    o.scheduler = c->scheduler;
    o.latents = find(all, c->name, "latents");
    o.init_latents = c->init ? dfx_tensors_find(all, c->init) : NULL;
    o.only_latents = !find(all, c->name, "image");
    return o;
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = options_of(c, all);
    dfx_image image = picture_of(all, c->image), mask = picture_of(all, c->mask);
    dfx_result *r;
    int calls = (int)*(const float *)find(all, c->name, "calls")->data;
    o.image = image.pixels ? &image : NULL;
    o.mask = mask.pixels ? &mask : NULL;
    if (run_watched(&r, p, &o, &w)) {
        ok(w.in_order && w.calls == calls + 1, "%s: %d calls in order", c->name, w.calls - 1);
        ok(w.compared == (calls > 1 ? 3 : 1) && w.worst_norm < 2e-5 && w.worst_one < 2e-5,
           "%s: the latents of %d steps (%.0e, at most %.0e)", c->name, w.compared, w.worst_norm,
           w.worst_one);
        check_result(c, all, r);
        dfx_result_free(r);
    }
}

/* ---- a base model and its refiner in one program ---- */

static void test_hand_over(dfx_pipeline *base, dfx_pipeline *refiner, const dfx_tensors *all)
{
    struct watch w = { all, "refine", 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *first, *second;
    o.prompt = "a red apple";
    o.steps = STEPS;
    o.scheduler = "DPMSolverMultistepScheduler";
    o.latents = find(all, "early", "latents");
    o.denoising_end = 0.55;
    o.only_latents = 1;
    if (!ok(dfx_pipeline_generate(&first, base, &o) == DFX_OK, "the base draws to 0.55"))
        return;
    o.latents = NULL;
    o.init_latents = dfx_result_latents(first);
    o.scheduler = NULL;
    o.denoising_end = 0;
    o.denoising_start = 0.55;
    o.only_latents = 0;
    o.on_step = on_step;
    o.user = &w;
    if (ok(dfx_pipeline_generate(&second, refiner, &o) == DFX_OK, "the refiner from there: %s",
           dfx_error())) {
        ok(w.compared == 3 && w.worst_norm < 2e-5, "to the same latents (%.0e)", w.worst_norm);
        dfx_result_free(second);
    }
    dfx_result_free(first);
}

/* ---- settings ---- */

static void test_settings(dfx_pipeline *p, const dfx_tensors *all)
{
    dfx_image image = picture_of(all, "image"), mask = picture_of(all, "mask");
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    o.prompt = "";
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.steps == 50 && o.guidance_scale == 5 &&
           o.width == 64 && o.height == 64 && o.aesthetic_score == 6 &&
           o.negative_aesthetic_score == 2.5f,
       "defaults of text to image");
    o = (dfx_generate_options)DFX_GENERATE_DEFAULT;
    o.prompt = "";
    o.image = &image;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.strength == 0.3 && o.guidance_scale == 5 &&
           o.width == 48 && o.height == 40,
       "defaults of image to image");
    o = (dfx_generate_options)DFX_GENERATE_DEFAULT;
    o.prompt = "";
    o.image = &image;
    o.mask = &mask;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.strength == 0.9999 && o.guidance_scale == 7.5f &&
           o.width == 64 && o.height == 64,
       "defaults of inpainting");
}

static void test_bad_settings(dfx_pipeline *p, dfx_pipeline *refiner, dfx_pipeline *sd,
                              const dfx_tensors *all)
{
    dfx_image image = picture_of(all, "image");
    dfx_tensor latents = *dfx_tensors_find(all, "early/last");
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    base.prompt = "red";
    refused(refiner, &base, "latents are needed");
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    REFUSED(clip_skip, 2, "clip_skip: 2");
    REFUSED(size.original_width, 5, "original_size: 5 x 0");
    REFUSED(size.target_height, -5, "target_size");
    REFUSED(negative_size.original_height, 7, "negative_original_size");
    REFUSED(negative_size.target_height, 7, "negative_target_size");
    REFUSED(denoising_end, 1.5, "denoising_end: 1.5");
    REFUSED(denoising_end, NAN, "denoising_end");
    REFUSED(denoising_end, 0.001, "denoising_end: before 0.001");
    REFUSED(denoising_start, 0.5, "denoising_start");
    REFUSED(mask, &image, "mask");
    base.init_latents = &latents;
    REFUSED(denoising_start, 1, "denoising_start: 1");
    REFUSED(denoising_start, 0.9999, "denoising_start: after 0.9999");
    REFUSED(width, 64, "init_latents");
    REFUSED(image, &image, "init_latents");
    REFUSED(strength, 0.01, "strength");
    base.denoising_end = 0.25;
    REFUSED(denoising_start, 0.25, "denoising_start: 0.25 is not before");
    base.denoising_end = 0;
    latents.bytes--;
    refused(p, &base, "init_latents");
    base.init_latents = NULL;
    p = sd;
    REFUSED(prompt_2, "x", "prompt_2");
    REFUSED(negative_prompt_2, "x", "negative_prompt_2");
    REFUSED(denoising_end, 0.5, "denoising_end");
    REFUSED(aesthetic_score, 1, "aesthetic_score");
    REFUSED(size.crop_top, 1, "size");
#undef REFUSED
}

/* ---- pipelines ---- */

static dfx_pipeline *open_with(const char *model, const char *device, dfx_pipeline *base,
                               const dfx_component *components, int count)
{
    dfx_pipeline_options o = { .device = device,
                               .dtype = "f32",
                               .components = components,
                               .component_count = count,
                               .on = base };
    dfx_pipeline *p = NULL;
    dfx_status status = dfx_pipeline_open(&p, data(model), &o);
    ok(status == DFX_OK, "%s opens on %s: %s", model, device, status ? dfx_error() : "");
    return p;
}

/* The base, the same with the UNet that inpaints, and the refiner with the base's parts. */
static int open_all(dfx_pipeline *p[KINDS], const char *device)
{
    dfx_model *unet;
    memset(p, 0, KINDS * sizeof *p);
    p[BASE] = open_with("tiny_xl", device, NULL, NULL, 0);
    if (!p[BASE] || dfx_model_open(&unet, data("tiny_xl_inpaint")) != DFX_OK)
        return 0;
    const dfx_component shared[] = {
        { "text_encoder_2", dfx_pipeline_component(p[BASE], "text_encoder_2") },
        { "vae", dfx_pipeline_component(p[BASE], "vae") },
    };
    p[INPAINT] = open_with("tiny_xl", device, p[BASE], &(dfx_component){ "unet", unet }, 1);
    p[REFINER] = open_with("tiny_xl_refiner", device, p[BASE], shared, 2);
    dfx_model_free(unet);
    return p[INPAINT] && p[REFINER];
}

static void close_all(dfx_pipeline *p[KINDS])
{
    for (int i = KINDS - 1; i >= 0; i--) /* the first one has the device */
        dfx_pipeline_free(p[i]);
}

static void cannot_open(const char *model, const dfx_component *part, const char *word)
{
    dfx_pipeline_options o = {
        .device = "cpu", .dtype = "f32", .components = part, .component_count = part ? 1 : 0
    };
    dfx_pipeline *p;
    ok(dfx_pipeline_open(&p, data(model), &o) != DFX_OK && !p && strstr(dfx_error(), word) &&
           !strchr(dfx_error(), '\n'),
       "refused: %s", dfx_error());
    dfx_pipeline_free(p);
}

static void test_parts(void)
{
    static const struct {
        const char *name, *model, *word;
    } wrong[] = {
        { "unet", "tiny/unet", "addition_embed_type" },
        { "unet", "tiny_xl_refiner/unet", "cross_attention_dim" },
        { "unet", "models/unet_sdxl", "cross_attention_dim" },
        { "text_encoder", "tiny/text_encoder", "hidden_size" },
        { "text_encoder_2", "tiny_xl/text_encoder", "CLIPTextModel" },
        { "text_encoder_2", "models/text_projection", "tokenizer_2" },
        { "vae", "models/vae_sharded", "channels" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dfx_model *m;
        if (dfx_model_open(&m, data(wrong[i].model)) == DFX_OK) {
            cannot_open("tiny_xl", &(dfx_component){ wrong[i].name, m }, wrong[i].word);
            dfx_model_free(m);
        } else {
            ok(0, "%s opens: %s", wrong[i].model, dfx_error());
        }
    }
    cannot_open("tiny_xl_refiner", NULL, "text_encoder_2");
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    dfx_pipeline *p[KINDS];
    if (!device)
        return;
    if (open_all(p, device)) {
        for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
            test_scenario(p[scenarios[i].kind], all, &scenarios[i]);
        test_hand_over(p[BASE], p[REFINER], all);
    }
    close_all(p);
}

int main(void)
{
    dfx_pipeline *p[KINDS];
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("pipelines_xl.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    if (open_all(p, "cpu")) {
        dfx_pipeline *sd = open_with("tiny", "cpu", p[BASE], NULL, 0);
        test_settings(p[BASE], all);
        test_bad_settings(p[BASE], p[REFINER], sd, all);
        dfx_pipeline_free(sd);
    }
    close_all(p);
    test_parts();
    dfx_tensors_free(all);
    return done();
}
