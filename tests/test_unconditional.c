/* test_unconditional.c - pipelines without a text, against diffusers. */
#include "folder_test.h"
#include "pipeline_test.h"

#include <limits.h>

#define STEPS 20
#define CM_LISTED "CMStochasticIterativeScheduler,timesteps=[22,0]"

/* The runs of tests/gen/pipelines_unconditional.py; labels and pictures are as many. */
static const struct scenario {
    const char *name, *model, *scheduler;
    int steps, calls, batch, labels;
    int label[2];
} scenarios[] = {
    { "ddpm", "ddpm", NULL, STEPS, STEPS, 2, 0, { 0 } },
    { "ddpm_given", "ddpm", NULL, STEPS, STEPS, 1, 0, { 0 } },
    { "gray", "gray", NULL, STEPS, STEPS, 2, 0, { 0 } },
    { "ddim", "ddim", NULL, STEPS, STEPS, 2, 0, { 0 } },
    { "ddim_given", "ddim", NULL, STEPS, STEPS, 2, 0, { 0 } },
    { "ddim_eta", "ddim", "ddim,eta=0.5,use_clipped_model_output=true", STEPS, STEPS, 1, 0, { 0 } },
    { "pndm", "pndm", NULL, STEPS, 29, 2, 0, { 0 } },
    { "pndm_given", "pndm", NULL, STEPS, 29, 1, 0, { 0 } },
    { "score", "score", NULL, STEPS, 40, 2, 0, { 0 } },
    { "score_given", "score", NULL, STEPS, 40, 1, 0, { 0 } },
    { "score_twice", "score", "score_sde_ve,correct_steps=2", 10, 30, 1, 0, { 0 } },
    { "cm", "cm", NULL, STEPS, STEPS, 2, 2, { 3, 1 } },
    { "cm_given", "cm", NULL, STEPS, STEPS, 1, 1, { 4 } },
    { "cm_drawn", "cm", NULL, 2, 2, 3, 0, { 0 } },
    { "cm_one", "cm", NULL, 0, 1, 1, 1, { 0 } },
    { "cm_listed", "cm", CM_LISTED, 2, 2, 1, 1, { 2 } },
    { "ldm", "ldm", NULL, STEPS, STEPS, 2, 0, { 0 } },
    { "ldm_given", "ldm", NULL, STEPS, STEPS, 1, 0, { 0 } },
};

static dfx_pipeline *open_pipeline(const char *model, const char *device)
{
    char path[128];
    dfx_pipeline_options o = { .device = device, .dtype = "f32" };
    dfx_pipeline *p;
    snprintf(path, sizeof path, "unconditional/%s", model);
    dfx_status status = dfx_pipeline_open(&p, data(path), &o);
    ok(status == DFX_OK, "%s opens on %s: %s", model, device, status ? dfx_error() : "");
    return p;
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    o.steps = c->steps;
    o.scheduler = c->scheduler;
    o.batch = c->batch;
    o.seed = 7;
    o.latents = find(all, c->name, "latents");
    o.class_labels = c->labels ? c->label : NULL;
    o.class_label_count = c->labels;
    if (!run_watched(&r, p, &o, &w))
        return;
    check_run(&w, c->calls, w.compared == (c->calls < 3 ? c->calls : 3), r);
    const dfx_image *image = dfx_result_image(r, c->batch - 1);
    ok(image && image->channels == (strcmp(c->model, "gray") == 0 ? 1 : 3) &&
           !dfx_result_image(r, c->batch),
       "%s: as many pictures, gray or RGB", c->name);
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
            dfx_pipeline_free(p);
            p = open_pipeline(scenarios[i].model, device);
        }
        if (p)
            test_scenario(p, all, &scenarios[i]);
    }
    dfx_pipeline_free(p);
}

/* Models of 2022 have the UNet's files and the scheduler's beside model_index.json. */
static void test_flat_folder(const dfx_tensors *all)
{
    static const struct {
        const char *name, *from;
    } files[] = {
        { "model_index.json", "model_index.json" },
        { "scheduler_config.json", "scheduler/scheduler_config.json" },
        { "config.json", "unet/config.json" },
        { "diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.safetensors" },
    };
    enum { FILES = sizeof files / sizeof *files };
    dfx_pipeline_options o = { .device = "cpu", .dtype = "f32" };
    dfx_pipeline *p;
    make_folder("flat");
    for (int i = 0; i < FILES; i++) {
        char path[128], absolute[PATH_MAX];
        snprintf(path, sizeof path, "unconditional/ddpm/%s", files[i].from);
        if (!realpath(data(path), absolute) || symlink(absolute, in_folder(files[i].name)) != 0)
            exit(99);
    }
    dfx_status status = dfx_pipeline_open(&p, folder, &o);
    if (ok(status == DFX_OK, "a flat folder opens: %s", status ? dfx_error() : ""))
        test_scenario(p, all, &scenarios[0]);
    dfx_pipeline_free(p);
    for (int i = 0; i < FILES; i++)
        unlink(in_folder(files[i].name));
    rmdir(folder);
}

/* ---- settings ---- */

static void test_defaults(void)
{
    static const struct {
        const char *model, *scheduler;
        int steps, width, height;
    } wanted[] = {
        { "ddpm", "DDPMScheduler", 1000, 12, 8 },
        { "ddim", "DDIMScheduler", 50, 8, 8 },
        { "pndm", "PNDMScheduler", 50, 8, 8 },
        { "score", "ScoreSdeVeScheduler", 2000, 8, 8 },
        { "cm", "CMStochasticIterativeScheduler", 1, 8, 8 },
        { "ldm", "DDIMScheduler", 50, 16, 16 },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        dfx_pipeline *p = open_pipeline(wanted[i].model, "cpu");
        dfx_generate_options o = DFX_GENERATE_DEFAULT;
        ok(dfx_pipeline_settings(p, &o) == DFX_OK && dfx_pipeline_settings(p, &o) == DFX_OK &&
               strcmp(o.scheduler, wanted[i].scheduler) == 0 && o.steps == wanted[i].steps &&
               o.width == wanted[i].width && o.height == wanted[i].height,
           "%s: %d steps, %d x %d", dfx_pipeline_class(p), o.steps, o.width, o.height);
        dfx_pipeline_free(p);
    }
}

#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))

static void test_refusals(void)
{
    static uint8_t pixels[192];
    static float floats[192];
    static const char *const prompts[] = { "a", "b" };
    dfx_image picture = { 8, 8, 3, pixels };
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 1, 3, 8, 8 } }, floats, sizeof floats };
    dfx_tensor depth = { "depth", { DFX_F32, 2, { 8, 8 } }, floats, 64 * sizeof *floats };
    const dfx_generate_options base = DFX_GENERATE_DEFAULT;
    dfx_generate_options o;
    dfx_pipeline *p = open_pipeline("ddim", "cpu");
    REFUSED(prompt, "", "prompt: DDIMPipeline");
    REFUSED(prompts, prompts, "prompt: DDIMPipeline");
    REFUSED(negative_prompt, "a", "negative_prompt: DDIMPipeline");
    REFUSED(guidance_scale, 2, "guidance_scale: DDIMPipeline");
    REFUSED(image, &picture, "image: DDIMPipeline");
    REFUSED(mask, &picture, "mask: DDIMPipeline");
    REFUSED(strength, 0.5, "strength: DDIMPipeline");
    REFUSED(init_latents, &latents, "init_latents: DDIMPipeline");
    REFUSED(depth, &depth, "depth: DDIMPipeline");
    REFUSED(clip_skip, 1, "clip_skip: DDIMPipeline");
    REFUSED(long_prompts, 1, "long_prompts: DDIMPipeline");
    REFUSED(guidance_rescale, 0.5f, "guidance_rescale: DDIMPipeline");
    REFUSED(image_guidance_scale, 2, "image_guidance_scale: DDIMPipeline");
    REFUSED(noise_level, 2, "noise_level: DDIMPipeline");
    REFUSED(prompt_2, "a", "prompt_2: DDIMPipeline");
    REFUSED(denoising_end, 0.5, "denoising_end: DDIMPipeline");
    REFUSED(class_labels, (int[]){ 1 }, "class_labels: DDIMPipeline");
    REFUSED(width, 7, "width: 7");
    REFUSED(steps, 101, "101 steps");
    REFUSED(scheduler, "euler,timestep_spacing=linspace", "timestep");
    latents.spec.dim[1] = 1;
    REFUSED(latents, &latents, "latents: ");
    dfx_pipeline_free(p);
}

static void test_label_refusals(void)
{
    static const int labels[] = { 0, 1, 2 }, high[] = { 5 }, low[] = { -1 };
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p = open_pipeline("cm", "cpu");
    base.class_label_count = 1;
    REFUSED(class_labels, high, "class_labels: 5 is not from 0 to 4");
    REFUSED(class_labels, low, "class_labels: -1 is not from 0 to 4");
    base.class_label_count = 3;
    base.batch = 2;
    REFUSED(class_labels, labels, "class_labels: 3 of them for 2 pictures");
    base.class_label_count = 0;
    REFUSED(class_labels, labels, "class_labels: 0 of them");
    REFUSED(scheduler, "ddim", "CMStochasticIterativeScheduler");
    dfx_pipeline_free(p);
}

static void test_scheduler_refusals(void)
{
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p = open_pipeline("gray", "cpu");
    REFUSED(scheduler, "ddim", "variance");
    REFUSED(scheduler, "ddpm,variance_type=fixed_small", "variance");
    dfx_pipeline_free(p);
    p = open_pipeline("ddpm", "cpu");
    REFUSED(scheduler, "ddpm,variance_type=learned", "variance");
    dfx_pipeline_free(p);
    p = open_pipeline("score", "cpu");
    REFUSED(scheduler, "ddpm", "ScoreSdeVeScheduler");
    dfx_pipeline_free(p);
}

/* A scheduler of the caller's own is kept, of whatever class. */
static void test_own_scheduler(void)
{
    dfx_pipeline *p = open_pipeline("ddim", "cpu");
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_scheduler *s;
    dfx_result *r;
    if (dfx_scheduler_open(&s, data("unconditional/ddim/scheduler"), "dpmpp_2m") != DFX_OK)
        exit(99);
    dfx_pipeline_set_scheduler(p, s);
    o.steps = 3;
    ok(dfx_pipeline_generate(&r, p, &o) == DFX_OK && dfx_pipeline_settings(p, &o) == DFX_OK &&
           strcmp(o.scheduler, "DPMSolverMultistepScheduler") == 0,
       "a scheduler of the caller's own");
    dfx_result_free(r);
    dfx_pipeline_free(p);
    dfx_scheduler_free(s);
}

/* Latents of pixels are pictures, also between steps. */
static void test_decode(void)
{
    dfx_pipeline *p = open_pipeline("gray", "cpu");
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r, *again = NULL;
    o.steps = 3;
    o.batch = 2;
    if (dfx_pipeline_generate(&r, p, &o) != DFX_OK)
        exit(99);
    const dfx_tensor *floats = dfx_result_floats(r);
    dfx_tensor latents = *dfx_result_latents(r);
    ok(dfx_pipeline_decode(&again, p, &latents, NULL) == DFX_OK &&
           memcmp(dfx_result_floats(again)->data, floats->data, floats->bytes) == 0 &&
           dfx_result_image(again, 1)->channels == 1,
       "latents are pictures");
    dfx_result_free(again);
    latents.spec.dim[1] = 2;
    ok(dfx_pipeline_decode(&again, p, &latents, NULL) == DFX_ERROR_ARGUMENT && !again &&
           strstr(dfx_error(), "latents"),
       "refused: %s", dfx_error());
    dfx_result_free(r);
    dfx_pipeline_free(p);
}

static void does_not_fit(const char *model, dfx_model *unet, const char *word)
{
    dfx_pipeline *p = open_pipeline(model, "cpu");
    ok(dfx_pipeline_set_component(p, "unet", unet) == DFX_ERROR_UNSUPPORTED &&
           strstr(dfx_error(), word),
       "refused: %s", dfx_error());
    dfx_pipeline_free(p);
}

static void test_components(void)
{
    dfx_pipeline *cm = open_pipeline("cm", "cpu"), *gray = open_pipeline("gray", "cpu");
    dfx_pipeline *p = open_pipeline("ddpm", "cpu");
    dfx_model *unet;
    does_not_fit("ddpm", dfx_pipeline_component(cm, "unet"), "num_class_embeds");
    does_not_fit("ldm", dfx_pipeline_component(gray, "unet"), "from 1 to 2 channels");
    ok(dfx_pipeline_set_component(p, "unet", dfx_pipeline_component(gray, "unet")) == DFX_OK,
       "another UNet fits");
    if (dfx_model_open(&unet, data("models/unet2d_resnets")) != DFX_OK)
        exit(99);
    does_not_fit("cm", unet, "class_embed_type");
    dfx_model_free(unet);
    dfx_pipeline_free(p);
    dfx_pipeline_free(gray);
    dfx_pipeline_free(cm);
}

int main(void)
{
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("unconditional/runs.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    test_flat_folder(all);
    dfx_tensors_free(all);
    test_defaults();
    test_refusals();
    test_label_refusals();
    test_scheduler_refusals();
    test_own_scheduler();
    test_decode();
    test_components();
    return done();
}
