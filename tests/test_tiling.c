/* test_tiling.c - pictures coded in tiles: against diffusers' tiling, and against whole ones where
 * the device's memory asks for tiles. */
#include "log_test.h"
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
    use_one_core(p);
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

/* Decoders in a part of the memory that they take as a whole: they are taken apart, and the picture
 * stays; one whose large values attend to all of themselves fades tiles into each other. */
static const struct {
    const char *vae; /* NULL: tiny's */
    int width, height;
    uint64_t part;
    double most; /* mean difference in 1/255 */
} short_of[] = {
    { NULL, 30, 21, 3, 1e-3 },
    { "models/vae_tiny", 30, 21, 2, 1e-3 },
    { "models/vae_attending", 72, 48, 3, 3 },
};

static void test_memory(const char *device, const char *vae, int width, int height, uint64_t part,
                        double most)
{
    dfx_pipeline *p = open_with(device, vae, DFX_TILE_AUTO);
    dfx_result *whole = decode(p, width, height), *r;
    uint64_t peak = dfx_device_memory_peak(dfx_pipeline_device(p));
    ok(whole && dfx_result_tiles(whole) == 1, "a picture that fits is decoded whole");
    dfx_pipeline_free(p);
    p = open_with(device, vae, DFX_TILE_AUTO);
    set_memory(p, peak / part);
    logged[0] = '\0';
    dfx_set_log(keep_log, NULL);
    r = decode(p, width, height);
    double difference = r && whole ? mean_difference(r, whole) : INFINITY;
    ok(r && dfx_result_tiles(r) > 1 && strstr(logged, "tiles of"), "does not fit as a whole: %s",
       r ? "in tiles" : dfx_error());
    ok(difference <= most, "the picture differs by %.5f/255", difference);
    ok(dfx_device_memory_peak(dfx_pipeline_device(p)) <= peak / part, "it stays within the memory");
    dfx_result_free(r);
    logged[0] = '\0';
    r = decode(p, width, height);
    ok(r && whole && mean_difference(r, whole) == difference && !logged[0],
       "the next one is decoded alike, without a word");
    dfx_set_log(NULL, NULL);
    dfx_result_free(r);
    set_memory(p, 0);
    r = decode(p, width, height);
    ok(r && dfx_result_tiles(r) == 1, "with all of the memory it is whole again");
    dfx_result_free(r);
    dfx_result_free(whole);
    dfx_pipeline_free(p);
}

/* A run from a picture, whose encoder and decoder are both short of memory, is planned and drawn.
 */
static void test_run(const char *device)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p = open_with(device, NULL, DFX_TILE_AUTO);
    dfx_result *whole, *r;
    dfx_plan *plan;
    o.prompt = "a red apple";
    o.image = image;
    o.width = 240;
    o.height = 168;
    o.steps = 4;
    o.strength = 0.5;
    o.seed = 7;
    if (!ok(dfx_pipeline_generate(&whole, p, &o) == DFX_OK, "a run from a picture"))
        return;
    set_memory(p, 4 << 20);
    o.last = 1;
    logged[0] = '\0';
    dfx_set_log(keep_log, NULL);
    ok(dfx_pipeline_plan(&plan, p, &o) == DFX_OK && plan->peak <= 4 << 20 && !logged[0],
       "is planned in 4 MiB, without a word");
    int rows = plan ? plan->count : 0;
    ok(rows && plan->parts[1].tiles > 1 && !plan->parts[2].tiles && plan->parts[rows - 1].tiles > 1,
       "the plan tells of tiles");
    dfx_plan_free(plan);
    ok(rows == 4, "in four rows: text encoder, both halves of the VAE, UNet (%d)", rows);
    dfx_status status = dfx_pipeline_generate(&r, p, &o);
    dfx_set_log(NULL, NULL);
    ok(status == DFX_OK && dfx_result_tiles(r) > 1 && strstr(logged, "encoded layer by layer") &&
           strstr(logged, "decoded layer by layer"),
       "is drawn in 4 MiB: %s", status == DFX_OK ? "in tiles" : dfx_error());
    ok(status == DFX_OK && mean_difference(r, whole) < 1e-3, "the picture differs by %.5f/255",
       status == DFX_OK ? mean_difference(r, whole) : INFINITY);
    dfx_result_free(r);
    dfx_result_free(whole);
    dfx_pipeline_free(p);
}

/* Of planes [channels, height, width] the square at (at, at), as a tensor of `all`. */
static void add_square(dfx_tensors *all, const char *name, const float *planes, int channels,
                       int height, int width, int at, int side)
{
    float square[3 * 32 * 32];
    const dfx_spec spec = { DFX_F32, 4, { 1, channels, side, side } };
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < side; i++)
            memcpy(square + (c * side + i) * side, planes + (c * height + at + i) * width + at,
                   (size_t)side * sizeof *square);
    if (dfx_tensors_add(all, name, &spec, square) != DFX_OK)
        exit(99);
}

/* A decoder with a mask sees the same part of the latents, the picture and the mask in each tile:
 * where they do not overlap the picture is what it makes of those parts alone. */
static void test_masked(const char *device)
{
    enum { W = 88, H = 64, TILE = 4, STEP = 3, FACTOR = 8, SIDE = TILE * FACTOR };
    static uint8_t bytes[3 * W * H], gray[W * H];
    static float planes[3 * W * H], hole[W * H], unscaled[4 * W * H / FACTOR / FACTOR];
    dfx_image picture = { W, H, 3, bytes }, where = { W, H, 1, gray };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_tensors *in, *out;
    dfx_result *r;
    dfx_model *m;
    for (int i = 0; i < W * H; i++) {
        gray[i] = (i % W / 10 + i / W / 10) % 2 ? 255 : 0;
        hole[i] = gray[i] ? 1 : 0;
        for (int c = 0; c < 3; c++) {
            bytes[3 * i + c] = (uint8_t)(i * (7 + c) % 251);
            planes[c * W * H + i] = (float)bytes[3 * i + c] / 127.5f - 1;
        }
    }
    o.prompt = "a red apple";
    o.image = &picture;
    o.mask = &where;
    o.width = W;
    o.height = H;
    o.steps = 2;
    o.seed = 7;
    dfx_pipeline *p = open_with(device, "models/vae_asym", DFX_TILE_ON);
    int tiles = dfx_pipeline_generate(&r, p, &o) == DFX_OK ? dfx_result_tiles(r) : 0;
    if (!ok(tiles == 12, "decoded with a mask in %d tiles", tiles) ||
        dfx_model_open(&m, data("models/vae_asym")) != DFX_OK || dfx_tensors_new(&in) != DFX_OK ||
        dfx_tensors_new(&out) != DFX_OK)
        exit(99);
    for (size_t i = 0; i < sizeof unscaled / sizeof *unscaled; i++)
        unscaled[i] = ((const float *)dfx_result_latents(r)->data)[i] / 0.18215f;
    add_square(in, "latent", unscaled, 4, H / FACTOR, W / FACTOR, STEP, TILE);
    add_square(in, "image", planes, 3, H, W, STEP * FACTOR, SIDE);
    add_square(in, "mask", hole, 1, H, W, STEP * FACTOR, SIDE);
    dfx_status status =
        dfx_model_forward(m, (dfx_device *)dfx_pipeline_device(p), DFX_F32, in, out);
    const dfx_tensor *square = status == DFX_OK ? dfx_tensors_find(out, "sample") : NULL;
    const float *x = dfx_result_floats(r)->data, *y = square ? square->data : NULL;
    double most = y ? 0 : INFINITY;
    for (int c = 0; y && c < 3; c++)
        for (int i = FACTOR; i < STEP * FACTOR; i++)
            for (int j = FACTOR; j < STEP * FACTOR; j++) {
                float want = fminf(fmaxf(y[(c * SIDE + i) * SIDE + j] / 2 + 0.5f, 0), 1);
                int at = (c * H + STEP * FACTOR + i) * W + STEP * FACTOR + j;
                most = fmax(most, fabs((double)x[at] - want));
            }
    ok(most < 1e-4, "by what each tile has of the picture and the mask (%.0e)", most);
    dfx_result_free(r);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    dfx_model_free(m);
    dfx_pipeline_free(p);
}

/* Where it may not be tiled it goes elsewhere. */
static void test_off(const char *device)
{
    dfx_pipeline *p = open_with(device, NULL, DFX_TILE_OFF);
    set_memory(p, 1 << 20);
    logged[0] = '\0';
    dfx_set_log(keep_log, NULL);
    dfx_result *r = decode(p, 30, 21);
    ok(strcmp(device, "cpu") == 0 ? !r : r && strstr(logged, "runs on the CPU"),
       "with little memory and no tiling: %s", r ? "on the CPU" : dfx_error());
    dfx_set_log(NULL, NULL);
    dfx_result_free(r);
    dfx_pipeline_free(p);
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
        for (size_t k = 0; k < sizeof short_of / sizeof *short_of; k++)
            test_memory(device, short_of[k].vae, short_of[k].width, short_of[k].height,
                        short_of[k].part, short_of[k].most);
        test_run(device);
        test_masked(device);
        test_off(device);
    }
    test_one_tile();
    dfx_tensors_free(all);
    dfx_image_free(image);
    dfx_image_free(mask);
    return done();
}
