/* test_tiling.c - pictures coded in tiles: against diffusers' tiling, and against whole ones where
 * the device's memory asks for tiles. */
#include "pipeline_test.h"

/* The runs of tests/gen/pipelines_tiled.py, and what it decodes. */
static const struct {
    const char *name, *vae;
    int width, height, tiles;
} runs[] = {
    { "inpaint", NULL, 104, 72, 6 },
    { "inpaint_tiny", "models/vae_tiny", 464, 16, 2 },
};
static const struct {
    const char *name, *vae;
    int width, height, tiles; /* of the latents */
} decoded[] = {
    { "odd", "models/vae_attending", 21, 13, 12 },
    { "narrow", "models/vae_attending", 3, 17, 3 },
    { "corner", "models/vae_tiny", 60, 58, 4 },
};

static dfx_image *image, *mask;

static dfx_pipeline *open_with(const char *device, const char *vae, dfx_tile tile)
{
    dfx_model *m = NULL;
    dfx_component part = { "vae", NULL };
    dfx_pipeline_options o = { .device = device, .dtype = "f32", .tile = tile };
    dfx_pipeline *p = NULL;
    if (vae && dfx_model_open(&m, data(vae)) == DFX_OK) {
        part.model = m;
        o.components = &part;
        o.component_count = 1;
    }
    if (dfx_pipeline_open(&p, data("tiny"), &o) != DFX_OK)
        printf("# %s\n", dfx_error());
    dfx_model_free(m);
    return p;
}

/* The largest difference from a fixture's picture, or its last pixels. */
static double worst(const dfx_tensor *got, const dfx_tensor *wanted)
{
    const int64_t *has = got->spec.dim, *needs = wanted->spec.dim;
    const float *x = got->data, *y = wanted->data;
    double most = has[1] == needs[1] && has[2] >= needs[2] && has[3] >= needs[3] ? 0 : INFINITY;
    for (int64_t c = 0; isfinite(most) && c < needs[1]; c++)
        for (int64_t i = 0; i < needs[2]; i++)
            for (int64_t j = 0; j < needs[3]; j++) {
                int64_t at = (c * has[2] + has[2] - needs[2] + i) * has[3] + has[3] - needs[3] + j;
                double d = fabs((double)x[at] - y[(c * needs[2] + i) * needs[3] + j]);
                most = fmax(most, isnan(d) ? INFINITY : d);
            }
    return most;
}

/* [1, 4, height, width], to be freed */
static dfx_tensor make_latents(int width, int height)
{
    int n = 4 * height * width;
    float *x = malloc((size_t)n * sizeof *x);
    for (int i = 0; x && i < n; i++)
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    return (
        dfx_tensor){ "latents", { DFX_F32, 4, { 1, 4, height, width } }, x, (size_t)n * sizeof *x };
}

static dfx_result *decode(dfx_pipeline *p, int width, int height)
{
    dfx_tensor latents = make_latents(width, height);
    dfx_result *r;
    if (dfx_pipeline_decode(&r, p, &latents, NULL) != DFX_OK)
        printf("# %s\n", dfx_error());
    free((void *)latents.data);
    return r;
}

/* ---- as diffusers tiles ---- */

static void test_runs(const char *device, const dfx_tensors *all)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct watch w = { all, runs[i].name, 0, 1, 0, -1, 0, 0 };
        dfx_generate_options o = DFX_GENERATE_DEFAULT;
        dfx_pipeline *p = open_with(device, runs[i].vae, DFX_TILE_ON);
        dfx_result *r;
        o.prompt = "a red apple";
        o.image = image;
        o.mask = mask;
        o.scheduler = "ddim";
        o.steps = 4;
        o.guidance_scale = 2.5f;
        o.seed = 7;
        o.width = runs[i].width;
        o.height = runs[i].height;
        if (!p || !run_watched(&r, p, &o, &w))
            continue;
        double error = worst(dfx_result_floats(r), find(all, w.name, "image"));
        ok(w.compared == 1 && w.worst_one < 1e-3, "%s: the latents, of a picture encoded in tiles",
           w.name);
        ok(error < 1e-3 && dfx_result_tiles(r) == runs[i].tiles,
           "%s: the picture, decoded in %d tiles (%.0e)", w.name, dfx_result_tiles(r), error);
        dfx_result_free(r);
        dfx_pipeline_free(p);
    }
}

static void test_decoded(const char *device, const dfx_tensors *all)
{
    for (size_t i = 0; i < sizeof decoded / sizeof *decoded; i++) {
        dfx_pipeline *p = open_with(device, decoded[i].vae, DFX_TILE_ON);
        dfx_result *r = p ? decode(p, decoded[i].width, decoded[i].height) : NULL;
        if (!ok(r, "%s is decoded on %s", decoded[i].name, device))
            continue;
        double error = worst(dfx_result_floats(r), find(all, decoded[i].name, "image"));
        ok(error < 1e-3 && dfx_result_tiles(r) == decoded[i].tiles,
           "%s: the picture of %d tiles (%.0e)", decoded[i].name, dfx_result_tiles(r), error);
        dfx_result_free(r);
        dfx_pipeline_free(p);
    }
}

/* A picture of one tile's size is coded as a whole. */
static void test_one_tile(void)
{
    dfx_pipeline *on = open_with("cpu", NULL, DFX_TILE_ON);
    dfx_pipeline *off = open_with("cpu", NULL, DFX_TILE_OFF);
    dfx_result *a = decode(on, 8, 7), *b = decode(off, 8, 7), *c = decode(off, 21, 13);
    ok(a && b && dfx_result_tiles(a) == 1 &&
           memcmp(dfx_result_floats(a)->data, dfx_result_floats(b)->data,
                  dfx_result_floats(a)->bytes) == 0,
       "one tile is the whole picture");
    ok(c && dfx_result_tiles(c) == 1, "without tiling a large picture is one too");
    dfx_result_free(a);
    dfx_result_free(b);
    dfx_result_free(c);
    dfx_pipeline_free(on);
    dfx_pipeline_free(off);
}

/* ---- as memory asks for ---- */

static char said[400];

static void keep_line(void *user, const char *line)
{
    (void)user;
    snprintf(said, sizeof said, "%s", line);
}

/* Sets how much memory buffers of the pipeline's device may take. */
static void set_memory(dfx_pipeline *p, uint64_t bytes)
{
    dfx_device_set_memory_limit((dfx_device *)dfx_pipeline_device(p), bytes);
}

static double mean_difference(const dfx_result *a, const dfx_result *b)
{
    const dfx_tensor *x = dfx_result_floats(a), *y = dfx_result_floats(b);
    size_t n = x->bytes / sizeof(float);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs(255.0 * (((const float *)x->data)[i] - ((const float *)y->data)[i]));
    return sum / (double)n;
}

static void test_memory(const char *device)
{
    enum { WIDTH = 72, HEIGHT = 48 }; /* 288 x 192 pixels */
    const char *vae = "models/vae_attending";
    dfx_pipeline *p = open_with(device, vae, DFX_TILE_AUTO);
    dfx_pipeline *off = open_with(device, vae, DFX_TILE_OFF);
    dfx_result *whole = decode(p, WIDTH, HEIGHT), *r;
    uint64_t peak = dfx_device_memory_peak(dfx_pipeline_device(p));
    ok(whole && dfx_result_tiles(whole) == 1, "a picture that fits is decoded whole");
    dfx_pipeline_free(p);
    p = open_with(device, vae, DFX_TILE_AUTO);
    set_memory(p, peak / 3);
    set_memory(off, peak / 3);
    dfx_set_log(keep_line, NULL);
    r = decode(off, WIDTH, HEIGHT);
    ok(strcmp(device, "cpu") == 0 ? !r : r && strstr(said, "runs on the CPU"),
       "with a third of the memory and no tiling: %s", r ? said : dfx_error());
    dfx_result_free(r);
    r = decode(p, WIDTH, HEIGHT);
    ok(r && dfx_result_tiles(r) > 1 && strstr(said, "tiles of"), "%s", said);
    ok(r && mean_difference(r, whole) < 3, "the picture differs by %.2f/255",
       r ? mean_difference(r, whole) : INFINITY);
    ok(dfx_device_memory_peak(dfx_pipeline_device(p)) <= peak / 3, "it stays within the memory");
    dfx_result_free(r);
    *said = '\0';
    r = decode(p, WIDTH, HEIGHT);
    ok(r && dfx_result_tiles(r) > 1 && !*said, "the next one is decoded alike, without a word");
    dfx_set_log(NULL, NULL);
    dfx_result_free(r);
    dfx_result_free(whole);
    dfx_pipeline_free(p);
    dfx_pipeline_free(off);
}

int main(void)
{
    static const char *const kinds[] = { "cpu", "opencl" };
    dfx_tensors *all;
    if (!ok(dfx_tensors_open(&all, data("pipelines_tiled.safetensors")) == DFX_OK &&
                dfx_image_read(&image, data("images/scene.png"), 3) == DFX_OK &&
                dfx_image_read(&mask, data("images/scene_mask.png"), 1) == DFX_OK,
            "the fixtures open"))
        return 99;
    for (int i = 0; i < 2; i++) {
        const char *device = device_of_kind(kinds[i]);
        if (!device)
            continue;
        test_runs(device, all);
        test_decoded(device, all);
        test_memory(device);
    }
    test_one_tile();
    dfx_tensors_free(all);
    dfx_image_free(image);
    dfx_image_free(mask);
    return done();
}
