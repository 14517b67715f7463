/* test_depth_estimator.c - depth to image whose depth its own estimator makes, against diffusers.
 */
#include "linked_test.h"

#include <sys/stat.h>

#define MODEL "picture_pipelines/depth2img_estimated"
#define ESTIMATOR "models/dpt_hybrid"

static const struct linked models[] = {
    { "depth2img_estimated", MODEL, "picture_pipelines/depth2img", "tiny", NULL },
};

static dfx_tensors *all; /* of tests/gen/picture_pipelines.py */
static dfx_image picture;

static void link_component(const char *name, const char *path)
{
    char absolute[PATH_MAX];
    if (!realpath(data(path), absolute) || symlink(absolute, in_folder(name)) != 0)
        exit(99);
}

static dfx_pipeline *open_pipeline(const char *device)
{
    link_component("depth_estimator", ESTIMATOR);
    link_component("feature_extractor", MODEL "/feature_extractor");
    return open_linked(models, "depth2img_estimated", device);
}

static void close_pipeline(dfx_pipeline *p)
{
    unlink(in_folder("depth_estimator"));
    unlink(in_folder("feature_extractor"));
    close_linked(p);
}

/* ---- runs ---- */

static void test_run(dfx_pipeline *p)
{
    struct watch w = { all, "estimated", 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    o.prompt = "a red apple";
    o.image = &picture;
    o.steps = 20;
    o.strength = 0.65;
    o.guidance_scale = 3;
    o.batch = 2;
    o.seed = 7;
    o.on_step = on_step;
    o.user = &w;
    dfx_status status = p ? dfx_pipeline_generate(&r, p, &o) : DFX_ERROR_FILE;
    if (!ok(status == DFX_OK, "the depth is estimated: %s", status ? dfx_error() : "it runs"))
        return;
    check_run(&w, 14, w.compared == 3, r);
    dfx_result_free(r);
}

static void test_device(const char *name)
{
    const char *device = device_of_kind(name);
    if (!device)
        return;
    dfx_pipeline *p = open_pipeline(device);
    test_run(p);
    test_run(p);
    close_pipeline(p);
}

/* ---- preprocessor_config.json ---- */

#define PROCESSOR                                                                                  \
    "\"image_mean\": [0.5, 0.25, 0.5], \"image_std\": [0.5, 0.5, 0.75], \"resample\": 3, "

static const char *const good_processors[] = {
    "{" PROCESSOR "\"feature_extractor_type\": \"DPTFeatureExtractor\", \"size\": 48}",
    "{" PROCESSOR "\"size\": {\"height\": 38, \"width\": 60}, \"ensure_multiple_of\": 48}",
    "{" PROCESSOR "\"size\": {\"height\": 48, \"width\": 48}, \"rescale_factor\": 1e-8, "
    "\"do_rescale\": false, \"image_mean\": [127.5, 63.75, 127.5], "
    "\"image_std\": [127.5, 127.5, 191.25]}",
};

static const struct {
    const char *processor, *word;
} wrong_processors[] = {
    { "{\"image_processor_type\": \"CLIPImageProcessor\"}", "image_processor_type" },
    { "{\"feature_extractor_type\": 3}", "feature_extractor_type" },
    { "{}", "384 x 384 pixels; the model takes 48 x 48" },
    { "{\"size\": 48, \"keep_aspect_ratio\": true}", "86 x 48 pixels" },
    { "{\"size\": 20, \"ensure_multiple_of\": 48}", "multiples of 48" },
    { "{\"size\": 48, \"do_resize\": false}", "75 x 42 pixels" },
    { "{\"size\": 1000000000}", "size" },
    { "{\"size\": [48, 48]}", "size" },
    { "{\"size\": {\"shortest_edge\": 48}}", "size" },
    { "{\"size\": {\"height\": 48}}", "size" },
    { "{\"size\": 48, \"resample\": 5}", "resample" },
    { "{\"size\": 48, \"ensure_multiple_of\": 0}", "ensure_multiple_of" },
    { "{\"size\": 48, \"image_std\": [1, 0, 1]}", "image_std" },
    { "{\"size\": 48, \"image_mean\": [1, 0]}", "image_mean" },
    { "{\"size\": 48, \"do_pad\": true}", "do_pad" },
    { "{\"size\": 48, \"do_center_crop\": true}", "do_center_crop" },
    { "{\"size\": 48", "preprocessor_config.json" },
    { NULL, "preprocessor_config.json" },
};

/* Another preprocessor_config.json in the pipeline's folder, none if it is NULL; and away. */
static void put_processor(const char *text)
{
    unlink(in_folder("feature_extractor"));
    if (mkdir(in_folder("feature_extractor"), 0700) != 0)
        exit(99);
    FILE *f = text ? fopen(in_folder("feature_extractor/preprocessor_config.json"), "w") : NULL;
    if (text && (!f || fputs(text, f) < 0 || fclose(f) != 0))
        exit(99);
}

static void remove_processor(void)
{
    unlink(in_folder("feature_extractor/preprocessor_config.json"));
    rmdir(in_folder("feature_extractor"));
}

static void test_processors(void)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p = open_pipeline("cpu");
    dfx_result *r;
    o.prompt = "a red apple";
    o.image = &picture;
    o.steps = 2;
    for (size_t i = 0; i < sizeof good_processors / sizeof *good_processors; i++) {
        put_processor(good_processors[i]);
        test_run(p);
        remove_processor();
    }
    for (size_t i = 0; p && i < sizeof wrong_processors / sizeof *wrong_processors; i++) {
        const char *text = wrong_processors[i].processor;
        put_processor(text);
        dfx_status status = dfx_pipeline_generate(&r, p, &o);
        ok(status != DFX_OK && !r && strstr(dfx_error(), wrong_processors[i].word),
           "refused: %s: %s", text ? text : "none", status ? dfx_error() : "it runs");
        remove_processor();
    }
    close_pipeline(p);
}

/* ---- the component ---- */

static void test_component(void)
{
    static const float zeros[4 * 5 * 9];
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 1, 4, 5, 9 } }, (void *)zeros, sizeof zeros };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p = open_pipeline("cpu");
    dfx_model *own, *other;
    dfx_result *r;
    if (!p || dfx_model_open(&own, data(ESTIMATOR)) || dfx_model_open(&other, data("tiny/vae")))
        exit(99);
    o.prompt = "a red apple";
    o.init_latents = &latents;
    refused(p, &o, "depth of latents");
    ok(dfx_pipeline_set_component(p, "depth_estimator", other) == DFX_ERROR_UNSUPPORTED,
       "a VAE is none: %s", dfx_error());
    unlink(in_folder("depth_estimator"));
    o.init_latents = NULL;
    o.image = &picture;
    ok(dfx_pipeline_generate(&r, p, &o) == DFX_ERROR_FILE && strstr(dfx_error(), "depth_estimator"),
       "its folder is missing: %s", dfx_error());
    ok(!dfx_pipeline_component(p, "depth_estimator"), "none is kept");
    ok(dfx_pipeline_set_component(p, "depth_estimator", own) == DFX_OK, "the caller's own");
    test_run(p);
    ok(dfx_pipeline_component(p, "depth_estimator") == own, "which stays");
    dfx_model_free(own);
    dfx_model_free(other);
    close_pipeline(p);
}

int main(void)
{
    make_folder("estimator");
    if (!ok(dfx_tensors_open(&all, data("picture_pipelines/runs.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    picture = picture_of(all, "picture");
    test_device("cpu");
    test_device("opencl");
    test_processors();
    test_component();
    dfx_tensors_free(all);
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
