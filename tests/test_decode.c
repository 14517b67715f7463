/* test_decode.c - pictures of given latents, by the pipeline's autoencoder and by others, and the
 * type in which autoencoders run. */
#include "folder_test.h"
#include "pipeline_test.h"

#include <limits.h>

static dfx_model *open_component(const char *path)
{
    dfx_model *m;
    if (dfx_model_open(&m, path) != DFX_OK)
        exit(99);
    return m;
}

/* A model, with another vae unless that is NULL. */
static dfx_pipeline *open_model(const char *model, const char *device, const char *dtype,
                                dfx_model *vae)
{
    dfx_component other = { "vae", vae };
    dfx_pipeline_options o = {
        .device = device, .dtype = dtype, .components = &other, .component_count = vae != NULL
    };
    dfx_pipeline *p;
    if (dfx_pipeline_open(&p, data(model), &o) != DFX_OK)
        exit(99);
    return p;
}

static dfx_generate_options two_pictures(void)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    o.prompt = "a red apple";
    o.scheduler = "euler";
    o.steps = 3;
    o.batch = 2;
    o.width = 56;
    o.height = 40;
    o.seed = 7;
    return o;
}

static int same_tensor(const dfx_tensor *a, const dfx_tensor *b)
{
    return same_shape(&a->spec, &b->spec) && memcmp(a->data, b->data, a->bytes) == 0;
}

/* ---- against the end of a run ---- */

struct previewed {
    dfx_pipeline *p;
    dfx_model *vae;
    int made;
};

static int preview(void *user, int step, int steps, const float *latents, const dfx_spec *spec)
{
    struct previewed *w = user;
    dfx_result *r;
    dfx_tensor t = { "latents", *spec, latents, spec->dim[0] * 4 * 5 * 7 * sizeof *latents };
    if (step > 0 && step <= steps && dfx_pipeline_decode(&r, w->p, &t, w->vae) == DFX_OK) {
        w->made += dfx_result_count(r) == 2;
        dfx_result_free(r);
    }
    return 0;
}

/* A run of two pictures; *previews becomes how many were made by `vae`, unless it is NULL. */
static dfx_result *draw(dfx_pipeline *p, dfx_model *vae, int *previews)
{
    struct previewed w = { p, vae, 0 };
    dfx_generate_options o = two_pictures();
    dfx_result *r;
    o.on_step = previews ? preview : NULL;
    o.user = &w;
    if (dfx_pipeline_generate(&r, p, &o) != DFX_OK)
        exit(99);
    if (previews)
        *previews = w.made;
    return r;
}

static void test_decode(const char *device)
{
    dfx_model *tiny = open_component(data("models/vae_tiny"));
    dfx_pipeline *p = open_model("tiny", device, "f32", NULL),
                 *q = open_model("tiny", device, "f32", tiny);
    int made = 0;
    dfx_result *r = draw(p, NULL, NULL), *own, *other, *by_tiny = draw(q, NULL, NULL), *seen;
    ok(dfx_pipeline_decode(&own, p, dfx_result_latents(r), NULL) == DFX_OK &&
           same_tensor(dfx_result_floats(own), dfx_result_floats(r)) &&
           same_tensor(dfx_result_latents(own), dfx_result_latents(r)) &&
           dfx_result_count(own) == 2,
       "%s: latents of a run decode to its pictures", device);
    ok(dfx_pipeline_decode(&other, p, dfx_result_latents(r), tiny) == DFX_OK &&
           same_tensor(dfx_result_floats(other), dfx_result_floats(by_tiny)),
       "%s: by an AutoencoderTiny, to those of a pipeline with it", device);
    seen = draw(p, tiny, &made);
    ok(made == 3 && same_tensor(dfx_result_floats(seen), dfx_result_floats(r)),
       "%s: %d previews by it change nothing", device, made);
    dfx_result_free(seen);
    seen = draw(p, NULL, &made);
    ok(made == 3 && same_tensor(dfx_result_floats(seen), dfx_result_floats(r)),
       "%s: nor do %d by the pipeline's own", device, made);
    dfx_result *results[] = { r, own, other, by_tiny, seen };
    for (int i = 0; i < 5; i++)
        dfx_result_free(results[i]);
    dfx_model_free(tiny);
    dfx_pipeline_free(p);
    dfx_pipeline_free(q);
}

/* ---- types ---- */

/* The vae of a folder with a config that says that f16 holds its activations. */
static dfx_model *open_without_upcast(const char *model)
{
    char name[64], config[8192], path[PATH_MAX];
    snprintf(name, sizeof name, "%s/vae/config.json", model);
    FILE *f = fopen(data(name), "rb");
    size_t n = f ? fread(config, 1, sizeof config - 1, f) : 0;
    config[n] = '\0';
    char *at = strstr(config, "\"force_upcast\": true");
    snprintf(name, sizeof name, "%s/vae/diffusion_pytorch_model.safetensors", model);
    if (!at || fclose(f) != 0 || !realpath(data(name), path))
        exit(99);
    memcpy(at, "\"force_upcast\":false", 20);
    f = fopen(in_folder("config.json"), "wb");
    if (!f || fwrite(config, 1, n, f) != n || fclose(f) != 0 ||
        symlink(path, in_folder("diffusion_pytorch_model.safetensors")) != 0)
        exit(99);
    dfx_model *m = open_component(folder);
    unlink(in_folder("config.json"));
    unlink(in_folder("diffusion_pytorch_model.safetensors"));
    return m;
}

/* Whether a pipeline of `dtype` decodes as the component alone does in `runs_in`. */
static int decodes_in(const char *model, dfx_model *vae, float scaling, const char *dtype,
                      dfx_dtype runs_in)
{
    enum { N = 4 * 5 * 7 };
    float x[N], unscaled[N];
    dfx_rng rng;
    dfx_rng_seed(&rng, 3);
    dfx_rng_normal(&rng, x, N);
    for (int i = 0; i < N; i++)
        unscaled[i] = x[i] / scaling;
    const dfx_spec spec = { DFX_F32, 4, { 1, 4, 5, 7 } };
    const dfx_tensor latents = { "latents", spec, x, sizeof x };
    dfx_tensors *in, *out;
    dfx_device *device;
    dfx_result *r;
    dfx_pipeline *p = open_model(model, "cpu", dtype, vae);
    if (dfx_device_open(&device, "cpu") || dfx_tensors_new(&in) || dfx_tensors_new(&out) ||
        dfx_tensors_add(in, "latent", &spec, unscaled) ||
        dfx_model_forward(vae, device, runs_in, in, out) ||
        dfx_pipeline_decode(&r, p, &latents, NULL))
        exit(99);
    const dfx_tensor *wanted = dfx_tensors_find(out, "sample"), *got = dfx_result_floats(r);
    int same = same_shape(&wanted->spec, &got->spec);
    for (size_t i = 0; same && i < got->bytes / sizeof(float); i++) {
        float y = ((const float *)wanted->data)[i] / 2 + 0.5f;
        same = ((const float *)got->data)[i] == fminf(fmaxf(y, 0), 1);
    }
    dfx_result_free(r);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    dfx_pipeline_free(p);
    dfx_device_free(device);
    return same;
}

/* Whether a run from a picture in bf16 does not depend on force_upcast. */
static int encodes_alike(const char *model)
{
    dfx_model *vae = open_without_upcast(model);
    dfx_pipeline *p = open_model(model, "cpu", "bf16", NULL), *q;
    dfx_generate_options o = two_pictures();
    dfx_image *image;
    dfx_result *r, *s;
    q = open_model(model, "cpu", "bf16", vae);
    if (dfx_image_read(&image, data("images/scene.png"), 3) != DFX_OK)
        exit(99);
    o.image = image;
    o.strength = 0.7;
    o.only_latents = 1;
    if (dfx_pipeline_generate(&r, p, &o) || dfx_pipeline_generate(&s, q, &o))
        exit(99);
    int same = same_tensor(dfx_result_latents(r), dfx_result_latents(s));
    dfx_result_free(r);
    dfx_result_free(s);
    dfx_image_free(image);
    dfx_model_free(vae);
    dfx_pipeline_free(p);
    dfx_pipeline_free(q);
    return same;
}

static void test_types(void)
{
    dfx_model *kl = open_component(data("tiny/vae")), *tiny;
    dfx_model *in_f16 = open_without_upcast("tiny");
    tiny = open_component(data("models/vae_tiny"));
    ok(decodes_in("tiny_xl", kl, 0.18215f, "f16", DFX_F32), "SDXL, force_upcast: f32, not f16");
    ok(!decodes_in("tiny_xl", kl, 0.18215f, "f16", DFX_F16), "which differs");
    ok(decodes_in("tiny_xl", kl, 0.18215f, "bf16", DFX_BF16), "but bf16 stays");
    ok(decodes_in("tiny_xl", in_f16, 0.18215f, "f16", DFX_F16), "without it f16 stays too");
    ok(decodes_in("tiny", kl, 0.18215f, "f16", DFX_F16), "and in pipelines that do not look at it");
    ok(decodes_in("tiny", kl, 0.18215f, "f32", DFX_F32), "and f32 is f32");
    ok(encodes_alike("tiny"), "pictures are encoded in bf16");
    ok(!encodes_alike("tiny_xl"), "SDXL encodes them in f32 where force_upcast is set");
    ok(decodes_in("tiny", tiny, 1, "f16", DFX_F16), "AutoencoderTiny runs in f16");
    dfx_model_free(kl);
    dfx_model_free(in_f16);
    dfx_model_free(tiny);
}

/* ---- refusals ---- */

static void fails(dfx_pipeline *p, const dfx_spec *spec, size_t bytes, dfx_model *vae,
                  dfx_status status, const char *word)
{
    const float zeros[1024] = { 0 };
    const dfx_tensor t = { "latents", *spec, zeros, bytes };
    dfx_result *r;
    ok(dfx_pipeline_decode(&r, p, &t, vae) == status && !r && strstr(dfx_error(), word),
       "refused: %s", dfx_error());
}

static void test_refusals(void)
{
    dfx_pipeline *p = open_model("tiny", "cpu", "f32", NULL);
    dfx_model *five = open_component(data("models/vae_tiny_mish"));
    const dfx_spec right = { DFX_F32, 4, { 1, 4, 2, 2 } }, wide = { DFX_F32, 4, { 1, 5, 2, 2 } };
    fails(p, &wide, 80, NULL, DFX_ERROR_ARGUMENT, "[B, 4, h, w]");
    fails(p, &right, 64, five, DFX_ERROR_ARGUMENT, "[B, 5, h, w]");
    fails(p, &wide, 80, five, DFX_ERROR_UNSUPPORTED, "4 x 4 pixels of 2 channels");
    fails(p, &right, 60, NULL, DFX_ERROR_ARGUMENT, "f32");
    fails(p, &right, 64, dfx_pipeline_component(p, "unet"), DFX_ERROR_ARGUMENT,
          "UNet2DConditionModel decodes no latents");
    fails(p, &(dfx_spec){ DFX_F16, 4, { 1, 4, 2, 2 } }, 32, NULL, DFX_ERROR_ARGUMENT, "f32");
    fails(p, &(dfx_spec){ DFX_F32, 3, { 4, 2, 2 } }, 64, NULL, DFX_ERROR_ARGUMENT, "f32");
    fails(p, &(dfx_spec){ DFX_F32, 4, { 1, 4, 0, 2 } }, 0, NULL, DFX_ERROR_ARGUMENT, "f32");
    dfx_model_free(five);
    dfx_pipeline_free(p);
}

int main(void)
{
    static const char *const devices[] = { "cpu", "opencl" };
    make_folder("decode");
    for (int i = 0; i < 2; i++)
        if (device_of_kind(devices[i]))
            test_decode(device_of_kind(devices[i]));
    test_types();
    test_refusals();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
