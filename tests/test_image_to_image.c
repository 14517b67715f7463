/* test_image_to_image.c - runs from pictures and masks, with other UNets and VAEs than the
 * folder's, and of several prompts, against diffusers; components that are shared and replaced. */
#include "pipeline_test.h"

#define STEPS 20

/* The runs of tests/gen/pipelines_image.py. */
static const struct scenario {
    const char *name, *other, *scheduler; /* other: what replaces a model of the folder */
    int image, mask, steps, calls;
    double strength;
    float guidance, rescale;
    int batch, width, height, clip_skip;
} scenarios[] = {
    { "pndm", NULL, "PNDMScheduler", 1, 0, STEPS, 13, 0.6, 2.5f, 0, 1, 0, 0, 0 },
    { "ddim", NULL, "DDIMScheduler,clip_sample=false", 1, 0, STEPS, 6, 0.31, 2.5f, 0, 2, 0, 0, 0 },
    { "euler", NULL, "EulerDiscreteScheduler", 1, 0, STEPS, 20, 1, 2.5f, 0, 1, 0, 0, 0 },
    { "heun", NULL, "HeunDiscreteScheduler", 1, 0, STEPS, 19, 0.5, 2.5f, 0, 1, 0, 0, 0 },
    { "euler_a", NULL, "euler_a", 1, 0, STEPS, 9, 0.45, 2.5f, 0, 1, 0, 0, 0 },
    { "dpm", NULL, "dpmpp_2m", 1, 0, STEPS, 14, 0.7, 2.5f, 0, 1, 0, 0, 0 },
    { "unipc", NULL, "unipc", 1, 0, STEPS, 15, 0.75, 2.5f, 0, 1, 0, 0, 0 },
    { "inpaint", NULL, "ddim", 1, 1, STEPS, 20, -1, 2.5f, 0, 1, 104, 72, 0 },
    { "inpaint_part", NULL, "euler", 1, 1, STEPS, 12, 0.6, 2.5f, 0, 2, 0, 0, 0 },
    { "inpaint_given", NULL, "pndm", 1, 1, STEPS, 21, 1, 2.5f, 0, 1, 0, 0, 0 },
    { "inpaint_kdpm2", NULL, "kdpm2", 1, 1, STEPS, 19, 0.5, 2.5f, 0, 1, 0, 0, 0 },
    { "nine", "unet_inpaint", "ddim", 1, 1, STEPS, 20, -1, 2.5f, 0, 1, 104, 72, 0 },
    { "nine_part", "unet_inpaint", "euler_a", 1, 1, STEPS, 14, 0.7, 2.5f, 0, 2, 0, 0, 0 },
    { "asymmetric", "vae_asym", "ddim", 1, 1, STEPS, 12, 0.6, 2.5f, 0, 1, 104, 72, 0 },
    { "asymmetric_image", "vae_asym", "euler", 1, 0, STEPS, 8, 0.4, 2.5f, 0, 1, 0, 0, 0 },
    { "rescaled", NULL, "ddim,clip_sample=false", 0, 0, STEPS, 20, -1, 7.5f, 0.7f, 2, 0, 0, 0 },
    { "skipped", NULL, "ddim,clip_sample=false", 0, 0, STEPS, 20, -1, 2.5f, 0, 1, 0, 0, 1 },
    { "turbo", NULL, "euler,timestep_spacing=trailing", 0, 0, 1, 1, -1, 0, 0, 1, 0, 0, 0 },
    { "turbo_image", NULL, "euler,timestep_spacing=trailing", 1, 0, 2, 1, 0.5, 0, 0, 1, 0, 0, 0 },
    { "lcm", "unet_lcm", "lcm", 0, 0, 4, 4, -1, 8.5f, 0, 2, 0, 0, 0 },
    { "lcm_image", "unet_lcm", "lcm", 1, 0, 8, 4, 0.5, 3, 0, 1, 0, 0, 0 },
    { "lists", NULL, "euler", 0, 0, STEPS, 20, -1, 2.5f, 0, 2, 0, 0, 0 },
};

static const char *const prompts[] = { "a red apple", "a cat" };
static const char *const negatives[] = { "blue", "" };

static dfx_image *image, *mask;

static dfx_model *open_model(const char *name)
{
    char path[128];
    dfx_model *m;
    snprintf(path, sizeof path, "models/%s", name);
    if (dfx_model_open(&m, data(path)) != DFX_OK)
        exit(99);
    return m;
}

static dfx_generate_options options_of(const struct scenario *c, const dfx_tensors *all)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    o.prompt = "a red apple";
    if (strcmp(c->name, "lists") == 0) {
        o.prompts = prompts;
        o.negative_prompts = negatives;
        o.prompt_count = 2;
    }
    o.image = c->image ? image : NULL;
    o.mask = c->mask ? mask : NULL;
    o.latents = find(all, c->name, "latents");
    o.scheduler = c->scheduler;
    o.steps = c->steps;
    o.strength = c->strength;
    o.guidance_scale = c->guidance;
    o.guidance_rescale = c->rescale;
    o.batch = c->batch;
    o.width = c->width;
    o.height = c->height;
    o.clip_skip = c->clip_skip;
    o.seed = 7;
    return o;
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = options_of(c, all);
    dfx_result *r;
    if (!run_watched(&r, p, &o, &w))
        return;
    check_run(&w, c->calls, w.compared >= (c->calls > 2 ? 3 : 1), r);
    dfx_result_free(r);
}

static void test_device(const char *name, const dfx_tensors *all)
{
    dfx_pipeline_options o = { .device = device_of_kind(name), .dtype = "f32" };
    dfx_pipeline *p;
    if (!o.device || !ok(dfx_pipeline_open(&p, data("tiny"), &o) == DFX_OK, "opens on %s", name))
        return;
    dfx_component own[] = { { "unet", dfx_pipeline_component(p, "unet") },
                            { "vae", dfx_pipeline_component(p, "vae") } };
    dfx_pipeline *keeper; /* of the folder's own models */
    dfx_pipeline_options shares = { .components = own, .component_count = 2, .on = p };
    if (dfx_pipeline_open(&keeper, data("tiny"), &shares) != DFX_OK)
        exit(99);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        const char *other = scenarios[i].other;
        dfx_model *m = other ? open_model(other) : NULL;
        for (int k = 0; k < 2; k++) {
            int replaced = m && strncmp(other, own[k].name, strlen(own[k].name)) == 0;
            ok(dfx_pipeline_set_component(p, own[k].name, replaced ? m : own[k].model) == DFX_OK,
               "%s: its %s", scenarios[i].name, own[k].name);
        }
        dfx_model_free(m);
        test_scenario(p, all, &scenarios[i]);
    }
    dfx_pipeline_free(keeper);
    dfx_pipeline_free(p);
}

/* ---- components ---- */

static void test_components(void)
{
    dfx_pipeline_options o = { .device = "cpu", .dtype = "f32" };
    dfx_pipeline *p, *second;
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &o) == DFX_OK, "the tiny model opens"))
        return;
    dfx_component shared[] = { { "unet", dfx_pipeline_component(p, "unet") },
                               { "vae", dfx_pipeline_component(p, "vae") } };
    o = (dfx_pipeline_options){ .components = shared, .component_count = 2, .on = p };
    ok(dfx_pipeline_open(&second, data("tiny"), &o) == DFX_OK &&
           dfx_pipeline_component(second, "unet") == shared[0].model &&
           dfx_pipeline_device(second) == dfx_pipeline_device(p),
       "a second pipeline shares the UNet, the VAE and the device");
    ok(!dfx_pipeline_component(p, "prior"), "there is no prior");
    ok(dfx_pipeline_set_component(p, "prior", shared[0].model) == DFX_ERROR_ARGUMENT &&
           strstr(dfx_error(), "prior"),
       "nor can it be set: %s", dfx_error());
    ok(dfx_pipeline_set_component(p, "unet", shared[1].model) == DFX_ERROR_UNSUPPORTED &&
           strstr(dfx_error(), "AutoencoderKL"),
       "a VAE is no UNet: %s", dfx_error());
    dfx_model *other = open_model("unet_cross");
    ok(dfx_pipeline_set_component(p, "unet", other) == DFX_ERROR_FORMAT &&
           dfx_pipeline_component(p, "unet") == shared[0].model,
       "another UNet does not fit: %s", dfx_error());
    dfx_model_free(other);
    dfx_pipeline_free(second);
    dfx_pipeline_free(p);
}

/* Each picture of a run is decoded with the picture and the mask, where diffusers decodes one. */
static void test_masked_batch(void)
{
    enum { N = 4 * 8 * 8 };
    dfx_model *vae = open_model("vae_asym");
    dfx_component part = { "vae", vae };
    dfx_pipeline_options open = {
        .device = "cpu", .dtype = "f32", .components = &part, .component_count = 1
    };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p;
    dfx_result *r;
    float noise[2 * N];
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 2, 4, 8, 8 } }, noise, sizeof noise };
    for (int i = 0; i < 2 * N; i++)
        noise[i] = sinf((float)(i % N) * 1.7f);
    o.image = image;
    o.mask = mask;
    o.prompt = "red";
    o.latents = &latents;
    o.batch = 2;
    o.steps = 2;
    o.scheduler = "ddim";
    int done = dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK &&
               dfx_pipeline_generate(&r, p, &o) == DFX_OK;
    if (!ok(done, "two pictures by an asymmetric VAE: %s", done ? "run" : dfx_error()))
        return;
    const dfx_tensor *t = dfx_result_floats(r);
    ok(t->spec.dim[0] == 2 && memcmp(t->data, (char *)t->data + t->bytes / 2, t->bytes / 2) == 0,
       "of the same latents they are the same");
    dfx_result_free(r);
    dfx_pipeline_free(p);
    dfx_model_free(vae);
}

/* ---- refusals ---- */

static void test_refusals(void)
{
    dfx_pipeline_options open = { .device = "cpu", .dtype = "f32" };
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    dfx_pipeline *p;
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK, "the tiny model opens"))
        return;
    dfx_image small = { 7, 64, 3, image->pixels };
    base.prompt = "red";
    base.image = image;
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    REFUSED(strength, 1.5, "strength: 1.5");
    REFUSED(strength, NAN, "strength");
    REFUSED(strength, 0.001, "less than one step");
    REFUSED(image, &small, "width: 0");
    REFUSED(clip_skip, 99, "clip_skip: 99");
    REFUSED(clip_skip, -1, "clip_skip: -1");
    REFUSED(guidance_rescale, 2, "guidance_rescale: 2");
    base.mask = mask;
    REFUSED(image, NULL, "mask: an image");
    dfx_model *asymmetric = open_model("vae_asym");
    ok(dfx_pipeline_set_component(p, "vae", asymmetric) == DFX_OK, "an asymmetric VAE fits");
    dfx_model_free(asymmetric);
    static const float zeros[4 * 8 * 8];
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 1, 4, 8, 8 } }, (void *)zeros, sizeof zeros };
    base.image = NULL;
    REFUSED(init_latents, &latents, "the VAE decodes with the picture");
    base.image = image;
    dfx_model *nine = open_model("unet_inpaint");
    ok(dfx_pipeline_set_component(p, "unet", nine) == DFX_OK, "an inpainting UNet fits");
    dfx_model_free(nine);
    REFUSED(mask, NULL, "only inpaints");
#undef REFUSED
    dfx_pipeline_free(p);
}

int main(void)
{
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("pipelines_image.safetensors")) == DFX_OK &&
                dfx_image_read(&image, data("images/scene.png"), 3) == DFX_OK &&
                dfx_image_read(&mask, data("images/scene_mask.png"), 1) == DFX_OK,
            "the fixtures open"))
        return 99;
    test_device("cpu", all);
    test_device("opencl", all);
    dfx_tensors_free(all);
    test_components();
    test_masked_batch();
    test_refusals();
    dfx_image_free(image);
    dfx_image_free(mask);
    return done();
}
