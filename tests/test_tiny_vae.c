/* test_tiny_vae.c - pipelines whose vae is an AutoencoderTiny, against diffusers. */
#include "pipeline_test.h"

/* The runs of tests/gen/pipelines_tiny_vae.py. */
static const struct scenario {
    const char *name, *folder, *scheduler;
    int image, mask, calls;
    double strength;
    int batch, width, height;
} scenarios[] = {
    { "text", "tiny", "dpmpp_2m", 0, 0, 20, -1, 2, 56, 40 },
    { "image", "tiny", "euler", 1, 0, 12, 0.6, 1, 0, 0 },
    { "inpaint", "tiny", "euler_a", 1, 1, 12, 0.6, 1, 40, 56 },
    { "xl_image", "tiny_xl", "euler", 1, 0, 12, 0.6, 1, 0, 0 },
};

static dfx_image *image, *mask;
static dfx_model *vae;

static dfx_pipeline *open_with_vae(const char *folder, const char *device, const char *dtype)
{
    dfx_component tiny = { "vae", vae };
    dfx_pipeline_options o = {
        .device = device, .dtype = dtype, .components = &tiny, .component_count = 1
    };
    dfx_pipeline *p;
    return dfx_pipeline_open(&p, data(folder), &o) == DFX_OK ? p : NULL;
}

static void test_scenario(const char *device, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p = open_with_vae(c->folder, device, "f32");
    dfx_result *r;
    o.prompt = "a red apple";
    o.image = c->image ? image : NULL;
    o.mask = c->mask ? mask : NULL;
    o.scheduler = c->scheduler;
    o.steps = 20;
    o.strength = c->strength;
    o.guidance_scale = 2.5f;
    o.batch = c->batch;
    o.width = c->width;
    o.height = c->height;
    o.seed = 7;
    o.on_step = on_step;
    o.user = &w;
    if (!ok(p && dfx_pipeline_generate(&r, p, &o) == DFX_OK, "%s runs on %s", c->name, device)) {
        printf("# %s\n", dfx_error());
        return;
    }
    check_run(&w, c->calls, w.compared == 3, r);
    dfx_result_free(r);
    dfx_pipeline_free(p);
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    for (size_t i = 0; device && i < sizeof scenarios / sizeof *scenarios; i++)
        test_scenario(device, all, &scenarios[i]);
}

/* In place of the folder's own, and back. */
static void test_replaced(void)
{
    dfx_pipeline_options open = { .device = "cpu", .dtype = "f32" };
    dfx_pipeline *p;
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK, "the tiny model opens"))
        return;
    ok(dfx_pipeline_set_component(p, "vae", vae) == DFX_OK &&
           strcmp(dfx_model_class(dfx_pipeline_component(p, "vae")), "AutoencoderTiny") == 0,
       "its vae is replaced by an AutoencoderTiny");
    ok(dfx_pipeline_set_component(p, "unet", vae) == DFX_ERROR_UNSUPPORTED &&
           strstr(dfx_error(), "AutoencoderTiny"),
       "which is no UNet: %s", dfx_error());
    dfx_model *other;
    ok(dfx_model_open(&other, data("models/vae_tiny_mish")) == DFX_OK &&
           dfx_pipeline_set_component(p, "vae", other) == DFX_ERROR_UNSUPPORTED,
       "one of other channels does not fit: %s", dfx_error());
    dfx_model_free(other);
    dfx_pipeline_free(p);
}

int main(void)
{
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("pipelines_tiny_vae.safetensors")) == DFX_OK &&
                dfx_image_read(&image, data("images/scene.png"), 3) == DFX_OK &&
                dfx_image_read(&mask, data("images/scene_mask.png"), 1) == DFX_OK &&
                dfx_model_open(&vae, data("models/vae_tiny")) == DFX_OK,
            "the fixtures open"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    test_replaced();
    dfx_tensors_free(all);
    dfx_model_free(vae);
    dfx_image_free(image);
    dfx_image_free(mask);
    return done();
}
