/* test_picture_pipelines.c - pipelines that start from a picture, against diffusers. */
#include "linked_test.h"

enum { STEPS = 20 };

static const struct linked models[] = {
    { "pix2pix", "picture_pipelines/pix2pix", "tiny", "tiny", NULL },
    { "pix2pix_xl", "picture_pipelines/pix2pix_xl", "tiny_xl", "tiny_xl", NULL },
    { "pix2pix_cosxl", "picture_pipelines/pix2pix_cosxl", "picture_pipelines/pix2pix_xl", "tiny_xl",
      NULL },
    { "depth2img", "picture_pipelines/depth2img", "tiny", "tiny", NULL },
    { "lcm", "picture_pipelines/lcm", "tiny", "tiny", "models/unet_lcm" },
};

/* ---- runs ---- */

static const struct scenario {
    const char *name, *model;
    int calls, depth;
    dfx_generate_options o; /* with the defaults of DFX_GENERATE_DEFAULT where it has 0 */
} scenarios[] = {
    { "pix2pix",
      "pix2pix",
      STEPS,
      0,
      { .negative_prompt = "a cat",
        .guidance_scale = 3,
        .batch = 2,
        .image_guidance_scale = 1.25f } },
    { "pix2pix_text", "pix2pix", STEPS, 0, { .guidance_scale = 3, .image_guidance_scale = 0.5f } },
    { "depth2img",
      "depth2img",
      14,
      1,
      { .negative_prompt = "a cat", .guidance_scale = 3, .batch = 2, .strength = 0.65 } },
    { "xl",
      "pix2pix_xl",
      STEPS,
      0,
      { .negative_prompt = "a cat",
        .negative_prompt_2 = "red",
        .prompt_2 = "blue",
        .guidance_scale = 3,
        .guidance_rescale = 0.6f,
        .image_guidance_scale = 1.25f,
        .batch = 2,
        .width = 72,
        .height = 40,
        .size = { 120, 100, 5, 3, 60, 50 } } },
    { "xl_given", "pix2pix_xl", 12, 0, { .image_guidance_scale = 1, .denoising_end = 0.6 } },
    { "xl_text", "pix2pix_xl", STEPS, 0, { .image_guidance_scale = 0.5f } },
    { "cosxl", "pix2pix_cosxl", STEPS, 0, { .guidance_scale = 3, .width = 72, .height = 40 } },
    { "lcm", "lcm", 4, 0, { .steps = 4, .batch = 2 } },
    { "lcm_given",
      "lcm",
      7,
      0,
      { .steps = 7,
        .strength = 0.43,
        .guidance_scale = 3,
        .scheduler = "lcm,original_inference_steps=30" } },
};

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = c->o;
    dfx_image picture = picture_of(all, "picture");
    dfx_result *r;
    o.prompt = "a red apple";
    o.steps = o.steps ? o.steps : STEPS;
    o.seed = 7;
    o.batch = o.batch ? o.batch : 1;
    o.guidance_scale = o.guidance_scale > 0 ? o.guidance_scale : -1;
    o.image_guidance_scale = o.image_guidance_scale > 0 ? o.image_guidance_scale : -1;
    o.strength = o.strength > 0 ? o.strength : -1;
    o.image = &picture;
    o.latents = find(all, c->name, "latents");
    o.depth = c->depth ? dfx_tensors_find(all, "depth") : NULL;
    if (!run_watched(&r, p, &o, &w))
        return;
    check_run(&w, c->calls, w.compared == 3, r);
    dfx_result_free(r);
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    dfx_pipeline *p = NULL;
    if (!device)
        return;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (i == 0 || strcmp(scenarios[i].model, scenarios[i - 1].model) != 0) {
            close_linked(p);
            p = open_linked(models, scenarios[i].model, device);
        }
        if (p)
            test_scenario(p, all, &scenarios[i]);
    }
    close_linked(p);
}

/* Latent consistency models from text alone, as in test_image_to_image.c by their own class */
static void test_text(const char *name)
{
    const char *device = device_of_kind(name);
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    struct watch w = { NULL, "lcm", 0, 1, 0, -1, 0, 0 };
    dfx_tensors *all;
    dfx_result *r;
    if (!device || dfx_tensors_open(&all, data("pipelines_image.safetensors")) != DFX_OK)
        return;
    dfx_pipeline *p = open_linked(models, "lcm", device);
    w.all = all;
    o.prompt = "a red apple";
    o.seed = 7;
    o.batch = 2;
    o.on_step = on_step;
    o.user = &w;
    if (p && ok(dfx_pipeline_generate(&r, p, &o) == DFX_OK, "lcm runs from text")) {
        check_run(&w, 4, w.compared == 3, r);
        dfx_result_free(r);
    }
    close_linked(p);
    dfx_tensors_free(all);
}

/* ---- refusals ---- */

static void test_settings(const dfx_tensors *all)
{
    dfx_image picture = picture_of(all, "picture");
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    const dfx_tensor *depth = dfx_tensors_find(all, "depth");
    dfx_tensor wrong = *depth;
    float flat[4] = { 0 };
    dfx_tensor same = { "depth", { DFX_F32, 2, { 2, 2 } }, flat, sizeof flat };
    base.prompt = "a red apple";
    base.steps = 2;
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    dfx_pipeline *p = open_linked(models, "pix2pix", "cpu");
    refused(p, &base, "image: ");
    base.image = &picture;
    o = base;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && dfx_pipeline_settings(p, &o) == DFX_OK &&
           o.width == 72 && o.height == 40 && o.image_guidance_scale == 1.5f,
       "the picture's size, cut, and the class's settings");
    REFUSED(image_guidance_scale, INFINITY, "image_guidance_scale");
    REFUSED(mask, &picture, "mask: ");
    REFUSED(depth, depth, "depth: ");
    REFUSED(strength, 0.5, "strength: ");
    REFUSED(clip_skip, 1, "clip_skip: ");
    REFUSED(noise_level, 20, "noise_level: ");
    close_linked(p);
    p = open_linked(models, "pix2pix_xl", "cpu");
    o = base;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && dfx_pipeline_settings(p, &o) == DFX_OK &&
           o.width == 64 && o.height == 64 && o.steps == 2 && o.guidance_scale == 5 &&
           o.image_guidance_scale == 1.5f,
       "SDXL's class has the model's size, and its own settings");
    REFUSED(image, NULL, "image: ");
    REFUSED(mask, &picture, "mask: ");
    REFUSED(strength, 0.5, "strength: ");
    REFUSED(clip_skip, 1, "clip_skip: ");
    REFUSED(init_latents, depth, "init_latents: ");
    REFUSED(denoising_start, 0.5, "denoising_start: ");
    REFUSED(aesthetic_score, 6, "aesthetic_score: ");
    REFUSED(negative_aesthetic_score, 6, "negative_aesthetic_score: ");
    REFUSED(negative_size.crop_top, 6, "negative_size: ");
    REFUSED(size.original_width, 6, "original_size: ");
    REFUSED(denoising_end, 0.001, "denoising_end: ");
    close_linked(p);
    p = open_linked(models, "lcm", "cpu");
    o = base;
    o.steps = 0;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.steps == 4 && o.strength == 0.8 &&
           o.guidance_scale == 8.5f && o.width == 72 && o.height == 40,
       "settings of latent consistency models");
    REFUSED(negative_prompt, "a cat", "negative_prompt: ");
    REFUSED(guidance_rescale, 0.5f, "guidance_rescale: ");
    REFUSED(strength, 0.02, "take fewer");
    REFUSED(strength, 0.0, "take fewer");
    REFUSED(scheduler, "ddim", "LCMScheduler");
    REFUSED(scheduler, "tcd", "LCMScheduler");
    REFUSED(scheduler, "lcm,timesteps=[999,499]", "strength: ");
    dfx_model *plain;
    if (dfx_model_open(&plain, data("tiny/unet")) != DFX_OK)
        exit(99);
    ok(dfx_pipeline_set_component(p, "unet", plain) == DFX_ERROR_UNSUPPORTED &&
           strstr(dfx_error(), "time_cond_proj_dim"),
       "a UNet that was not distilled: %s", dfx_error());
    dfx_model_free(plain);
    close_linked(p);
    p = open_linked(models, "depth2img", "cpu");
    refused(p, &base, "--depth");
    base.depth = depth;
    REFUSED(image, NULL, "image: ");
    REFUSED(image_guidance_scale, 1.5f, "image_guidance_scale: ");
    REFUSED(strength, 0.0, "strength: ");
    wrong.spec.dim[0] = 12;
    REFUSED(depth, &wrong, "depth: ");
    wrong.spec.dtype = DFX_I32;
    REFUSED(depth, &wrong, "depth: ");
    REFUSED(depth, &same, "everywhere");
    picture.width = picture.height = 7;
    REFUSED(image, &picture, "width: 0");
#undef REFUSED
    close_linked(p);
}

int main(void)
{
    dfx_tensors *all;
    make_folder("pictures");
    if (!ok(dfx_tensors_open(&all, data("picture_pipelines/runs.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    test_text("cpu");
    test_text("opencl");
    test_settings(all);
    dfx_tensors_free(all);
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
