/* test_pipeline.c - whole runs against diffusers' StableDiffusionPipeline, settings and refusals.
 */
#include "folder_test.h"
#include "log_test.h"
#include "pipeline_test.h"

#include <limits.h>
#include <unistd.h>

#define STEPS 20

/* The runs of tests/gen/pipelines.py with the tiny model. */
static const struct scenario {
    const char *name, *scheduler, *prompt, *negative;
    int calls;
    float guidance;
    int batch, width, height, given; /* given: by latents, which set the size */
} scenarios[] = {
    { "pndm", NULL, "a red apple", "a cat", STEPS + 1, 2.5f, 1, 0, 0, 1 },
    { "ddim", "ddim,clip_sample=false", "a red apple", NULL, STEPS, 1, 2, 104, 72, 0 },
    { "euler", "EulerDiscreteScheduler", NULL, NULL, STEPS, 2.5f, 2, 56, 40, 0 },
    { "dpm", "DPMSolverMultistepScheduler", "a red apple", "", STEPS, 2.5f, 1, 0, 0, 1 },
    { "sde", "dpmpp_sde", "a red apple", NULL, 2 * STEPS - 1, 1, 1, 64, 64, 0 },
};

/* `word` n times; both texts stay until the next call but one. */
static const char *repeat(const char *word, int n)
{
    static char text[2][512];
    static int next;
    char *t = text[next++ % 2];
    t[0] = '\0';
    for (int i = 0; i < n; i++)
        strcat(t, word);
    return t;
}

/* ---- one run ---- */

static void check_result(const struct scenario *c, const dfx_tensors *all, const dfx_result *r)
{
    const dfx_tensor *embeds = dfx_result_prompt_embeds(r), *wanted = find(all, c->name, "embeds");
    struct watch w = { 0 };
    if (ok(same_shape(&embeds->spec, &wanted->spec), "%s: the prompt's embeddings", c->name))
        compare(&w, embeds->data, wanted);
    ok(w.compared && w.worst_norm < 2e-5, "%s: they are transformers' (%.0e)", c->name,
       w.worst_norm);
    double error = image_error(dfx_result_floats(r), find(all, c->name, "image"));
    ok(error < 1, "%s: the pictures (%.3f/255)", c->name, error);
    const dfx_image *last = dfx_result_image(r, c->batch - 1);
    ok(dfx_result_count(r) == c->batch && last && last->channels == 3 &&
           last->width == dfx_result_floats(r)->spec.dim[3] &&
           last->height == dfx_result_floats(r)->spec.dim[2] && !dfx_result_image(r, c->batch) &&
           !dfx_result_image(r, -1),
       "%s: %d pictures", c->name, c->batch);
}

static void test_scenario(dfx_pipeline *p, const dfx_tensors *all, const struct scenario *c)
{
    struct watch w = { all, c->name, 0, 1, 0, -1, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    o.prompt = c->prompt ? c->prompt : repeat("red apple ", 30);
    o.negative_prompt = c->negative && !*c->negative ? repeat("blue ", 40) : c->negative;
    o.steps = STEPS;
    o.guidance_scale = c->guidance;
    o.seed = 7;
    o.scheduler = c->scheduler;
    o.batch = c->batch;
    o.width = c->width;
    o.height = c->height;
    o.latents = c->given ? find(all, c->name, "latents") : NULL;
    if (!run_watched(&r, p, &o, &w))
        return;
    ok(w.in_order && w.calls == c->calls + 1, "%s: %d calls in order", c->name, w.calls);
    ok(w.compared == 5 && w.worst_norm < 1e-3 && w.worst_one < 1e-3,
       "%s: the latents of %d steps (%.0e, at most %.0e)", c->name, w.compared, w.worst_norm,
       w.worst_one);
    check_result(c, all, r);
    dfx_result_free(r);
}

/* ---- the model that ships ---- */

/* Mean distance of two pictures' bytes. */
static double distance(const dfx_image *a, const dfx_image *b)
{
    size_t n = (size_t)a->width * (size_t)a->height * 3;
    double sum = 0;
    if (a->width != b->width || a->height != b->height)
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        sum += abs(a->pixels[i] - b->pixels[i]);
    return sum / (double)n;
}

static dfx_pipeline *open_pipeline(const char *model, const char *device, const char *dtype)
{
    dfx_pipeline_options o = { .device = device, .dtype = dtype };
    dfx_pipeline *p;
    return dfx_pipeline_open(&p, data(model), &o) == DFX_OK ? p : NULL;
}

static void test_picture(dfx_pipeline *p, const char *prompt, const char *file, double allowed)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    dfx_image *wanted = NULL;
    o.prompt = prompt;
    o.seed = 7;
    int done = dfx_image_read(&wanted, data(file), 3) == DFX_OK &&
               dfx_pipeline_generate(&r, p, &o) == DFX_OK;
    double error = done ? distance(dfx_result_image(r, 0), wanted) : INFINITY;
    ok(done && error < allowed, "%s in %s: %s%.3f/255", prompt,
       dfx_dtype_name(dfx_pipeline_dtype(p)), done ? "" : dfx_error(), error);
    dfx_image_free(wanted);
    if (done)
        dfx_result_free(r);
}

/* The memory that a run takes at most, and its picture, compared with another one or kept. */
static uint64_t peak_of(const char *device, int last, dfx_image **kept, int *same)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p = open_pipeline("../../share/models/emoji", device, "f32");
    uint64_t peak = 0;
    o.prompt = "red apple";
    o.steps = 2;
    o.last = last;
    for (int run = 0; p && run < 2; run++) { /* models come back for a second run */
        dfx_result *r;
        if (dfx_pipeline_generate(&r, p, &o) != DFX_OK)
            break;
        const dfx_tensor *floats = dfx_result_floats(r);
        if (!*kept)
            dfx_image_from_floats(kept, floats->data, (int)floats->spec.dim[3],
                                  (int)floats->spec.dim[2]);
        *same &= *kept && distance(dfx_result_image(r, 0), *kept) == 0;
        dfx_result_free(r);
        peak = dfx_device_memory_peak(dfx_pipeline_device(p));
    }
    dfx_pipeline_free(p);
    return peak;
}

static void test_last(const char *device)
{
    dfx_image *picture = NULL;
    int same = 1;
    uint64_t kept = peak_of(device, 0, &picture, &same);
    uint64_t last = peak_of(device, 1, &picture, &same);
    ok(same && last > 0 && last < kept, "a last run on %s: %llu bytes at most instead of %llu",
       device, (unsigned long long)last, (unsigned long long)kept);
    dfx_image_free(picture);
}

static void test_emoji(const char *device)
{
    static const struct {
        const char *dtype;
        double allowed;
    } types[] = { { "f32", 1 }, { "f16", 2 }, { "bf16", 12 } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        dfx_pipeline *p = open_pipeline("../../share/models/emoji", device, types[i].dtype);
        if (!ok(p != NULL, "the model that ships opens on %s", device))
            continue;
        test_picture(p, "red apple", "emoji/red_apple.png", types[i].allowed);
        if (i == 0) {
            test_picture(p, "cat face", "emoji/cat_face.png", types[i].allowed);
            test_picture(p, "flag: Japan", "emoji/flag_japan.png", types[i].allowed);
            test_picture(p, "grinning face", "emoji/grinning_face.png", types[i].allowed);
        }
        dfx_pipeline_free(p);
    }
}

/* ---- settings ---- */

static void test_settings(dfx_pipeline *p)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    o.prompt = "";
    ok(dfx_pipeline_settings(p, &o) == DFX_OK && o.steps == 50 && o.guidance_scale == 7.5f &&
           o.width == 64 && o.height == 64 && o.batch == 1,
       "defaults of the class");
    ok(strcmp(dfx_pipeline_class(p), "StableDiffusionPipeline") == 0 &&
           strcmp(dfx_pipeline_path(p), data("tiny")) == 0 && dfx_pipeline_dtype(p) == DFX_F32,
       "what it is");
    dfx_pipeline *emoji = open_pipeline("../../share/models/emoji", "cpu", "f32");
    o = (dfx_generate_options)DFX_GENERATE_DEFAULT;
    o.prompt = "x";
    ok(emoji && dfx_pipeline_settings(emoji, &o) == DFX_OK && o.steps == 20 &&
           o.guidance_scale == 2.5f,
       "a model's own settings");
    ok(emoji && strlen(dfx_pipeline_hash(p)) == 16 &&
           strcmp(dfx_pipeline_hash(p), dfx_pipeline_hash(emoji)) != 0,
       "hashes differ");
    dfx_pipeline_free(emoji);
}

static void test_bad_settings(dfx_pipeline *p)
{
    static const float zeros[4 * 64];
    dfx_tensor latents = { "latents", { DFX_F32, 4, { 1, 3, 8, 8 } }, zeros, 3 * 64 * 4 };
    dfx_generate_options base = DFX_GENERATE_DEFAULT, o;
    refused(p, &base, "prompt");
    base.prompt = "red";
#define REFUSED(field, value, word) (o = base, o.field = (value), refused(p, &o, word))
    REFUSED(width, 60, "width: 60");
    REFUSED(height, -8, "height: -8");
    REFUSED(height, 1 << 20, "height");
    REFUSED(steps, -1, "steps: -1");
    REFUSED(steps, 1001, "1000");
    REFUSED(batch, 0, "batch: 0");
    REFUSED(batch, 100000, "batch");
    REFUSED(guidance_scale, INFINITY, "guidance");
    REFUSED(guidance_scale, NAN, "guidance");
    REFUSED(scheduler, "ddim,beta_start=x", "beta_start");
    REFUSED(scheduler, "ddpm,variance_type=learned_range", "variance_type");
    REFUSED(latents, &latents, "latents");
    latents.spec.dim[1] = 4;
    REFUSED(latents, &latents, "latents");
    latents.bytes = sizeof zeros;
    base.latents = &latents;
    REFUSED(width, 128, "latents");
    REFUSED(batch, 3, "latents");
#undef REFUSED
}

/* A callback that stops, then the same run twice. */
static void test_again(dfx_pipeline *p)
{
    struct watch w = { NULL, "", 0, 1, 0, 3, 0, 0 };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r[2] = { NULL };
    o.prompt = "a red apple";
    o.steps = 5;
    o.on_step = on_step;
    o.user = &w;
    ok(dfx_pipeline_generate(&r[0], p, &o) == DFX_ERROR_INTERRUPTED && !r[0] && w.calls == 4,
       "the callback stops after step 3: %s", dfx_error());
    o.on_step = NULL;
    if (ok(!dfx_pipeline_generate(&r[0], p, &o) && !dfx_pipeline_generate(&r[1], p, &o),
           "then it runs twice"))
        ok(memcmp(dfx_result_floats(r[0])->data, dfx_result_floats(r[1])->data,
                  dfx_result_floats(r[0])->bytes) == 0,
           "and gives the same bytes");
    dfx_result_free(r[0]);
    dfx_result_free(r[1]);
}

static void test_long_prompt(dfx_pipeline *p)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r = NULL;
    o.prompt = repeat("red apple ", 15);
    o.negative_prompt = repeat("cat ", 23);
    o.steps = 1;
    logged[0] = '\0';
    ok(dfx_pipeline_generate(&r, p, &o) == DFX_OK, "a prompt too long is no error");
    ok(strstr(logged, "the prompt is 8 tokens longer") &&
           strstr(logged, "the negative prompt is 1 token longer"),
       "but it is said: %.*s", (int)strcspn(logged, "\n"), logged);
    dfx_result_free(r);
}

/* ---- wrong folders ---- */

static const char *const parts[] = { "text_encoder", "tokenizer", "unet", "vae", "scheduler" };
enum { PARTS = sizeof parts / sizeof *parts };

/* The tiny model's index in the folder, where `from` became `to`, and links to its components; but
 * `part`, where not NULL, leads to `target`. */
static void put_folder(const char *from, const char *to, const char *part, const char *target)
{
    char text[4096], path[256], absolute[PATH_MAX];
    FILE *f = fopen(data("tiny/model_index.json"), "rb");
    if (!f)
        exit(99);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strstr(text, from);
    f = fopen(in_folder("model_index.json"), "wb");
    if (!at || !f || fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) < 0 ||
        fclose(f) != 0)
        exit(99);
    for (int i = 0; i < PARTS; i++) {
        int other = part && strcmp(part, parts[i]) == 0;
        snprintf(path, sizeof path, "tiny/%s", parts[i]);
        if (!realpath(data(other ? target : path), absolute) ||
            symlink(absolute, in_folder(parts[i])) != 0)
            exit(99);
    }
}

static void empty_folder(void)
{
    unlink(in_folder("model_index.json"));
    for (int i = 0; i < PARTS; i++)
        unlink(in_folder(parts[i]));
}

static void cannot_open(const char *path, dfx_status status, const char *word)
{
    dfx_pipeline_options o = { .device = "cpu", .dtype = "f32" };
    dfx_pipeline *p;
    dfx_status got = dfx_pipeline_open(&p, path, &o);
    ok(got == status && !p && strstr(dfx_error(), word) && strstr(dfx_error(), path) &&
           !strchr(dfx_error(), '\n'),
       "refused: %s", got ? dfx_error() : "nothing");
    dfx_pipeline_free(p);
}

/* A folder's class does not say what its model is used for, as with diffusers' AutoPipeline. */
static void test_tasks(void)
{
    static const char *const classes[] = { "StableDiffusionImg2ImgPipeline",
                                           "StableDiffusionInpaintPipeline" };
    dfx_pipeline_options o = { .device = "cpu", .dtype = "f32" };
    uint8_t gray[64 * 64] = { 255 };
    dfx_image image = { 64, 64, 1, gray };
    for (int i = 0; i < 2; i++) {
        char quoted[64];
        dfx_pipeline *p;
        dfx_generate_options g = DFX_GENERATE_DEFAULT;
        dfx_result *r[3] = { NULL, NULL, NULL };
        g.prompt = "a red apple";
        g.steps = 2;
        snprintf(quoted, sizeof quoted, "\"%s\"", classes[i]);
        put_folder("\"StableDiffusionPipeline\"", quoted, NULL, NULL);
        if (ok(dfx_pipeline_open(&p, folder, &o) == DFX_OK &&
                   strcmp(dfx_pipeline_class(p), classes[i]) == 0,
               "%s opens", classes[i])) {
            dfx_status status = dfx_pipeline_generate(&r[0], p, &g);
            g.image = &image;
            status = status ? status : dfx_pipeline_generate(&r[1], p, &g);
            g.mask = &image;
            status = status ? status : dfx_pipeline_generate(&r[2], p, &g);
            ok(status == DFX_OK, "and draws from text, from a picture, and in one: %s",
               status ? dfx_error() : "");
        }
        for (int k = 0; k < 3; k++)
            dfx_result_free(r[k]);
        dfx_pipeline_free(p);
        empty_folder();
    }
}

static void test_folders(void)
{
    static const struct {
        const char *from, *to, *part, *target;
        dfx_status status;
        const char *word;
    } wrong[] = {
        { "\"StableDiffusionPipeline\"", "\"FluxPipeline\"", NULL, NULL, DFX_ERROR_UNSUPPORTED,
          "FluxPipeline" },
        { "\"StableDiffusionPipeline\"", "\"DiffusionPipeline\"", NULL, NULL, DFX_ERROR_UNSUPPORTED,
          "class DiffusionPipeline" },
        { "\"StableDiffusionPipeline\"", "\"StableDiffusionInpaintPipelineLegacy\"", NULL, NULL,
          DFX_ERROR_UNSUPPORTED, "StableDiffusionInpaintPipelineLegacy" },
        { "\"StableDiffusionPipeline\"", "[\"my_pipeline\", \"MyPipeline\"]", NULL, NULL,
          DFX_ERROR_UNSUPPORTED, "MyPipeline" },
        { "\"StableDiffusionPipeline\"", "[]", NULL, NULL, DFX_ERROR_UNSUPPORTED, "(none)" },
        { "\"_class_name\"", "\"_name\"", NULL, NULL, DFX_ERROR_UNSUPPORTED, "(none)" },
        { "{", "", NULL, NULL, DFX_ERROR_FORMAT, "model_index.json" },
        { "\"CLIPTextModel\"", "\"T5EncoderModel\"", NULL, NULL, DFX_ERROR_UNSUPPORTED,
          "T5EncoderModel" },
        { "\"CLIPTokenizer", "\"T5Tokenizer", NULL, NULL, DFX_ERROR_UNSUPPORTED, "T5Tokenizer" },
        { "\"unet\"", "\"prior\"", NULL, NULL, DFX_ERROR_UNSUPPORTED, "unet is missing" },
        { "{", "{", "unet", "tiny/vae", DFX_ERROR_UNSUPPORTED, "AutoencoderKL" },
        { "{", "{", "unet", "models/unet_cross", DFX_ERROR_FORMAT, "cross_attention_dim" },
        { "{", "{", "vae", "models/vae_sharded", DFX_ERROR_UNSUPPORTED, "channels" },
        { "{", "{", "unet", "models/unet_sdxl", DFX_ERROR_UNSUPPORTED, "text_embeds" },
        { "{", "{", "text_encoder", "models/text_gelu", DFX_ERROR_FORMAT, "522" },
        { "{", "{", "tokenizer", "images", DFX_ERROR_FILE, "tokenizer" },
        { "{", "{", "vae", "images", DFX_ERROR_FILE, "vae/config.json" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_folder(wrong[i].from, wrong[i].to, wrong[i].part, wrong[i].target);
        cannot_open(folder, wrong[i].status, wrong[i].word);
        empty_folder();
    }
    cannot_open(folder, DFX_ERROR_FILE, "model_index.json");
    cannot_open(in_folder("no"), DFX_ERROR_FILE, "no such");
    cannot_open(data("dtypes.safetensors"), DFX_ERROR_UNSUPPORTED, "known family");
    dfx_pipeline *p;
    ok(dfx_pipeline_open(&p, data("tiny"), &(dfx_pipeline_options){ .device = "abacus" }) ==
               DFX_ERROR_ARGUMENT &&
           !p && strstr(dfx_error(), "abacus"),
       "no such device: %s", dfx_error());
    ok(dfx_pipeline_open(&p, data("tiny"),
                         &(dfx_pipeline_options){ .device = "cpu", .dtype = "f8" }) ==
               DFX_ERROR_ARGUMENT &&
           !p && strstr(dfx_error(), "f8"),
       "no such dtype: %s", dfx_error());
    dfx_pipeline_free(NULL);
}

static void test_device(const char *name, const dfx_tensors *all)
{
    const char *device = device_of_kind(name);
    if (!device)
        return;
    dfx_pipeline *p = open_pipeline("tiny", device, "f32");
    if (!ok(p != NULL, "the tiny model opens on %s: %s", device, p ? "" : dfx_error()))
        return;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        test_scenario(p, all, &scenarios[i]);
    test_again(p);
    dfx_pipeline_free(p);
    test_emoji(device);
    test_last(device);
}

int main(void)
{
    dfx_tensors *all;
    make_folder("pipeline");
    if (!ok(dfx_tensors_open(&all, data("pipelines.safetensors")) == DFX_OK, "the fixture opens"))
        return 99;
    dfx_set_log(keep_log, NULL);
    test_device("cpu", all);
    test_device("opencl", all);
    dfx_tensors_free(all);
    dfx_pipeline *p = open_pipeline("tiny", "cpu", "f32");
    if (ok(p != NULL, "the tiny model opens")) {
        test_settings(p);
        test_bad_settings(p);
        test_long_prompt(p);
    }
    dfx_pipeline_free(p);
    test_tasks();
    test_folders();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
