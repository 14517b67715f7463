/* test_upscale.c - the x4 and the latent x2 upscaler, against diffusers. */
#include "linked_test.h"

#include "model/model.h"

enum { STEPS = 20 };

static const struct linked models[] = {
    { "x4", "upscale/x4", "tiny", "tiny", NULL },
    { "x2", "upscale/x2", "tiny", "tiny", NULL },
};

static const char *const texts[] = { "a cat", "a red apple" }, *const negatives[] = { "red", "" };

#define LISTS .prompts = texts, .negative_prompts = negatives, .prompt_count = 2

/* What of the fixture is enlarged, and settings that are not the defaults. */
static const struct scenario {
    const char *name, *model, *from;
    dfx_generate_options o; /* 0 where the default is a negative number */
} scenarios[] = {
    { "x4", "x4", "picture", { .negative_prompt = "a cat", .guidance_scale = 3, .batch = 2 } },
    { "x4_given", "x4", "picture", { .guidance_scale = 1, .noise_level = 55 } },
    { "x4_list", "x4", "small", { LISTS, .guidance_scale = 3, .batch = 2 } },
    { "x2", "x2", "init_latents", { .negative_prompt = "a cat", .guidance_scale = 2.5f } },
    { "x2_picture", "x2", "picture", { .guidance_scale = 0 } },
    { "x2_list", "x2", "small", { LISTS, .guidance_scale = 2.5f } },
};

static dfx_result *run(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c,
                       struct watch *w)
{
    dfx_generate_options o = c->o;
    int latents = strcmp(c->from, "init_latents") == 0;
    dfx_image picture = { 0 };
    dfx_result *r = NULL;
    if (!latents)
        picture = picture_of(all, c->from);
    o.prompt = o.prompts ? NULL : "a red apple";
    o.steps = STEPS;
    o.seed = 7;
    o.batch = o.batch ? o.batch : 1;
    o.image_guidance_scale = -1;
    o.strength = -1;
    o.noise_level = o.noise_level ? o.noise_level : -1;
    o.image = latents ? NULL : &picture;
    o.init_latents = latents ? dfx_tensors_find(all, c->from) : NULL;
    o.latents = find(all, c->name, "latents");
    run_watched(&r, p, &o, w);
    return r;
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    dfx_pipeline *p = NULL;
    if (!device)
        return;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        const struct scenario *c = &scenarios[i];
        struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
        if (i == 0 || strcmp(c->model, c[-1].model) != 0) {
            close_linked(p);
            p = open_linked(models, c->model, device);
        }
        dfx_result *r = p ? run(p, all, c, &w) : NULL;
        if (r)
            check_run(&w, STEPS, w.compared == 3, r);
        dfx_result_free(r);
    }
    close_linked(p);
}

/* ---- settings ---- */

static void test_x4_settings(const dfx_tensors *all)
{
    dfx_image picture = picture_of(all, "picture");
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p = open_linked(models, "x4", "cpu");
    base.prompt = "a red apple";
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    refused(p, &base, "image: ");
    base.image = &picture;
    o = base;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && dfx_pipeline_settings(p, &o) == DFX_OK &&
           o.width == 112 && o.height == 80 && o.noise_level == 20 && o.steps == 75 &&
           o.guidance_scale == 9,
       "the x4 upscaler's sizes and settings");
    REFUSED(noise_level, 61, "noise_level: 61 is more than the model's 60");
    REFUSED(mask, &picture, "mask: ");
    REFUSED(strength, 0.5, "strength: ");
    REFUSED(init_latents, dfx_tensors_find(all, "init_latents"), "init_latents: ");
    REFUSED(guidance_rescale, 0.5f, "guidance_rescale: ");
    REFUSED(prompt, NULL, "prompt: ");
    REFUSED(width, 90, "width: ");
    picture.width = 3;
    REFUSED(image, &picture, "width: 0");
    close_linked(p);
}

static void test_x2_settings(const dfx_tensors *all)
{
    dfx_image picture = picture_of(all, "picture");
    const dfx_tensor *latents = dfx_tensors_find(all, "init_latents");
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p = open_linked(models, "x2", "cpu");
    base.prompt = "a red apple";
    refused(p, &base, "image: ");
    base.init_latents = latents;
    o = base;
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.width == 112 && o.height == 80 &&
           o.steps == 75 && o.guidance_scale == 9,
       "the x2 upscaler's sizes and settings");
    REFUSED(image, &picture, "init_latents: ");
    REFUSED(width, 120, "width: 120 is not a multiple of 16");
    REFUSED(width, 128, "init_latents: ");
    REFUSED(clip_skip, 1, "clip_skip: ");
    REFUSED(noise_level, 20, "noise_level: ");
    REFUSED(scheduler, "ddim", "sigmas");
#undef REFUSED
    dfx_model *plain;
    if (dfx_model_open(&plain, data("tiny/unet")) != DFX_OK)
        exit(99);
    ok(dfx_pipeline_set_component(p, "unet", plain) == DFX_ERROR_UNSUPPORTED,
       "a UNet of another pipeline: %s", dfx_error());
    close_linked(p);
    p = open_linked(models, "x4", "cpu");
    ok(dfx_pipeline_set_component(p, "unet", plain) == DFX_ERROR_UNSUPPORTED,
       "and for the other one: %s", dfx_error());
    dfx_model_free(plain);
    close_linked(p);
}

/* A low_res_scheduler of another kind would add another noise. */
static void test_low_res_scheduler(void)
{
    dfx_pipeline_options o = { .device = "cpu" };
    dfx_pipeline *p = NULL;
    char euler[PATH_MAX];
    for (int i = 0; i < LINKED_PARTS; i++)
        link_part(&models[0], linked_parts[i]);
    unlink(in_folder("low_res_scheduler"));
    if (!realpath(data("upscale/x2/scheduler"), euler) ||
        symlink(euler, in_folder("low_res_scheduler")) != 0)
        exit(99);
    ok(dfx_pipeline_open(&p, folder, &o) == DFX_ERROR_UNSUPPORTED &&
           strstr(dfx_error(), "low_res_scheduler: EulerDiscreteScheduler"),
       "refused: %s", dfx_error());
    close_linked(p);
}

/* The published UNet has several levels of such blocks, which halve sides. */
static void test_sides(void)
{
    dfx_model *m;
    if (!ok(dfx_model_open(&m, data("models/unet_k")) == DFX_OK, "a UNet of three levels"))
        return;
    dfx__unet_facts unet = dfx__unet_get_facts(m->net);
    ok(unet.multiple == 4 && unet.least == 8, "sides are multiples of %d from %d on", unet.multiple,
       unet.least);
    dfx_model_free(m);
}

int main(void)
{
    dfx_tensors *all;
    make_folder("upscale");
    if (!ok(dfx_tensors_open(&all, data("upscale/runs.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    test_x4_settings(all);
    test_x2_settings(all);
    test_low_res_scheduler();
    test_sides();
    dfx_tensors_free(all);
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
