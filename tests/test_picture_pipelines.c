/* test_picture_pipelines.c - pipelines that start from a picture, against diffusers. */
#include "folder_test.h"
#include "pipeline_test.h"

#include <limits.h>
#include <unistd.h>

enum { STEPS = 20 };

static const char *const parts[] = { "model_index.json", "scheduler", "text_encoder",
                                     "tokenizer",        "unet",      "vae",
                                     "low_res_scheduler" };
enum { PARTS = sizeof parts / sizeof *parts };

/* Links to a model's own components, and to the tiny model's for the others. */
static void put_folder(const char *model)
{
    for (int i = 0; i < PARTS; i++) {
        char path[256], absolute[PATH_MAX];
        snprintf(path, sizeof path, "picture_pipelines/%s/%s", model, parts[i]);
        if (access(data(path), F_OK) != 0)
            snprintf(path, sizeof path, "tiny/%s", parts[i]);
        if (realpath(data(path), absolute) && symlink(absolute, in_folder(parts[i])) != 0)
            exit(99);
    }
}

static void empty_folder(void)
{
    for (int i = 0; i < PARTS; i++)
        unlink(in_folder(parts[i]));
}

static dfx_pipeline *open_pipeline(const char *model, const char *device)
{
    dfx_pipeline_options o = { .device = device, .dtype = "f32" };
    dfx_pipeline *p;
    put_folder(model);
    dfx_status status = dfx_pipeline_open(&p, folder, &o);
    ok(status == DFX_OK, "%s opens on %s: %s", model, device, status ? dfx_error() : "");
    return p;
}

static void close_pipeline(dfx_pipeline *p)
{
    dfx_pipeline_free(p);
    empty_folder();
}

/* ---- runs ---- */

static const struct scenario {
    const char *name, *model, *negative;
    int calls;
    float guidance;
    int batch;
    float image_guidance;
    double strength;
    int depth;
} scenarios[] = {
    { "pix2pix", "pix2pix", "a cat", STEPS, 3, 2, 1.25f, -1, 0 },
    { "pix2pix_text", "pix2pix", NULL, STEPS, 3, 1, 0.5f, -1, 0 },
    { "depth2img", "depth2img", "a cat", 14, 3, 2, -1, 0.65, 1 },
};

static dfx_image picture_of(const dfx_tensors *all)
{
    const dfx_tensor *t = dfx_tensors_find(all, "picture");
    return (dfx_image){ (int)t->spec.dim[1], (int)t->spec.dim[0], 3, (uint8_t *)t->data };
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_image picture = picture_of(all);
    dfx_result *r;
    o.prompt = "a red apple";
    o.negative_prompt = c->negative;
    o.steps = STEPS;
    o.guidance_scale = c->guidance;
    o.seed = 7;
    o.batch = c->batch;
    o.image = &picture;
    o.image_guidance_scale = c->image_guidance;
    o.strength = c->strength;
    o.depth = c->depth ? dfx_tensors_find(all, "depth") : NULL;
    o.on_step = on_step;
    o.user = &w;
    dfx_status status = dfx_pipeline_generate(&r, p, &o);
    if (!ok(status == DFX_OK, "%s: %s", c->name, status ? dfx_error() : "runs"))
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
            close_pipeline(p);
            p = open_pipeline(scenarios[i].model, device);
        }
        if (p)
            test_scenario(p, all, &scenarios[i]);
    }
    close_pipeline(p);
}

/* ---- refusals ---- */

static void test_settings(const dfx_tensors *all)
{
    dfx_image picture = picture_of(all);
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    const dfx_tensor *depth = dfx_tensors_find(all, "depth");
    dfx_tensor wrong = *depth;
    float flat[4] = { 0 };
    dfx_tensor same = { "depth", { DFX_F32, 2, { 2, 2 } }, flat, sizeof flat };
    base.prompt = "a red apple";
    base.steps = 2;
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    dfx_pipeline *p = open_pipeline("pix2pix", "cpu");
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
    close_pipeline(p);
    p = open_pipeline("depth2img", "cpu");
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
    close_pipeline(p);
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
    test_settings(all);
    dfx_tensors_free(all);
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
