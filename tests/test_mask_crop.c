/* test_mask_crop.c - inpainting of the part around a mask alone, against diffusers. */
#include "pipeline_test.h"

#include <limits.h>

#define STEPS 20

/* The runs of tests/gen/pipelines_mask_crop.py. */
static const struct scenario {
    const char *name, *model, *unet, *scheduler;
    int calls, padding;
    double strength;
    int batch, width, height;
} scenarios[] = {
    { "part", "tiny", NULL, "ddim,clip_sample=false", 14, 5, 0.7, 2, 56, 40 },
    { "given", "tiny", NULL, "euler", STEPS, 0, 1, 1, 0, 0 },
    { "nine", "tiny", "models/unet_inpaint", "euler", STEPS, 300, -1, 1, 40, 72 },
    { "xl", "tiny_xl", NULL, "euler", 12, 2, 0.6, 1, 0, 0 },
};

/* How many bytes of the pictures [B, H, W, 3] differ; *most: by how much. */
static size_t count_differences(const dfx_result *r, const dfx_tensor *wanted, int *most)
{
    const uint8_t *y = wanted->data;
    size_t n = wanted->bytes / (size_t)wanted->spec.dim[0], different = 0;
    *most = 0;
    for (int b = 0; b < (int)wanted->spec.dim[0]; b++) {
        const dfx_image *image = dfx_result_image(r, b);
        if (!image || image->width != wanted->spec.dim[2] || image->height != wanted->spec.dim[1] ||
            image->channels != 3)
            return SIZE_MAX;
        for (size_t i = 0; i < n; i++) {
            int d = abs(image->pixels[i] - *y++);
            different += d != 0;
            *most = d > *most ? d : *most;
        }
    }
    return different;
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_image image = picture_of(all, "image"), mask = picture_of(all, "mask");
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    int most;
    o.prompt = "a red apple";
    o.image = &image;
    o.mask = &mask;
    o.padding_mask_crop = c->padding;
    o.latents = find(all, c->name, "latents");
    o.scheduler = c->scheduler;
    o.steps = STEPS;
    o.strength = c->strength;
    o.guidance_scale = 2.5f;
    o.batch = c->batch;
    o.width = c->width;
    o.height = c->height;
    o.seed = 7;
    if (!run_watched(&r, p, &o, &w))
        return;
    ok(w.in_order && w.calls == c->calls + 1, "%s: %d calls in order", c->name, w.calls - 1);
    ok(w.compared == 3 && w.worst_norm < 1e-3 && w.worst_one < 1e-3,
       "%s: the latents of %d steps (%.0e, at most %.0e)", c->name, w.compared, w.worst_norm,
       w.worst_one);
    const dfx_tensor *wanted = find(all, c->name, "pictures");
    size_t different = count_differences(r, wanted, &most);
    ok(most <= 1 && different <= wanted->bytes / 1000,
       "%s: whole pictures; %zu of %zu bytes differ, by %d at most", c->name, different,
       wanted->bytes, most);
    dfx_result_free(r);
}

static void run_scenario(const char *device, const dfx_tensors *all, const struct scenario *c)
{
    dfx_pipeline_options o = { .device = device, .dtype = "f32" };
    dfx_model *unet = NULL;
    dfx_pipeline *p;
    if (c->unet && dfx_model_open(&unet, data(c->unet)) != DFX_OK)
        exit(99);
    if (ok(dfx_pipeline_open(&p, data(c->model), &o) == DFX_OK &&
               (!unet || dfx_pipeline_set_component(p, "unet", unet) == DFX_OK),
           "%s opens on %s", c->model, device))
        test_scenario(p, all, c);
    dfx_model_free(unet);
    dfx_pipeline_free(p);
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    for (size_t i = 0; device && i < sizeof scenarios / sizeof *scenarios; i++)
        run_scenario(device, all, &scenarios[i]);
}

static void test_refusals(const dfx_tensors *all)
{
    dfx_pipeline_options open = { .device = "cpu", .dtype = "f32" };
    dfx_image image = picture_of(all, "image"), mask = picture_of(all, "mask"), small = mask;
    dfx_image black = { mask.width, mask.height, 1, calloc(1, 1 << 16) };
    float zeros[4 * 8 * 8] = { 0 };
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 1, 4, 8, 8 } }, zeros, sizeof zeros };
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p;
    if (!ok(black.pixels && dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK, "tiny opens"))
        return;
    base.prompt = "red";
    base.image = &image;
    base.mask = &mask;
    base.padding_mask_crop = 3;
    base.steps = 2;
    small.width--;
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    REFUSED(mask, NULL, "padding_mask_crop: a mask");
    REFUSED(mask, &small, "padding_mask_crop: the mask has 60 x 47");
    REFUSED(mask, &black, "the mask is black");
    REFUSED(only_latents, 1, "padding_mask_crop: ");
    o = base;
    o.image = NULL;
    o.init_latents = &latents;
    refused(p, &o, "padding_mask_crop: ");
#undef REFUSED
    dfx_result *r;
    base.padding_mask_crop = INT_MAX;
    ok(dfx_pipeline_generate(&r, p, &base) == DFX_OK &&
           dfx_result_image(r, 0)->width == image.width,
       "a padding beyond the picture is all of it");
    dfx_result_free(r);
    dfx_pipeline_free(p);
    free(black.pixels);
}

int main(void)
{
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("pipelines_mask_crop.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    test_refusals(all);
    dfx_tensors_free(all);
    return done();
}
