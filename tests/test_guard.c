/* test_guard.c - values that f16 does not hold: found, named, and computed in f32. */
#include "folder_test.h"
#include "pipeline/pipeline.h"
#include "log_test.h"
#include "pipeline_test.h"
#include "sequence/guard.h"

static const char *device;

/* Components of the tiny model, with matrices so large that f32 alone holds what they give; norms
 * behind them bring it back. */
static const struct part {
    const char *component, *weights, *config, *tensor, *layer; /* layer: as the message names it */
} parts[] = {
    { "vae", "diffusion_pytorch_model.safetensors", "config.json",
      "decoder.up_blocks.2.resnets.0.conv1.weight", "vae.decoder.up_blocks.2.resnets.0" },
    { "unet", "diffusion_pytorch_model.safetensors", "config.json",
      "down_blocks.0.resnets.0.conv1.weight", "unet.down_blocks.0.resnets.0" },
    { "text_encoder", "model.safetensors", "config.json", "encoder.layers.0.mlp.fc1.weight",
      "encoder.layers.0.mlp" },
};

/* ---- the folder of such a component ---- */

static void write_config(const char *from, int upcasts)
{
    static char text[1 << 14];
    FILE *f = fopen(from, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    char *key = strstr(text, "\"force_upcast\": true");
    if (key && !upcasts)
        memcpy(key, "\"force_upcast\":false", 20);
    f = fopen(in_folder("config.json"), "w");
    if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0)
        exit(99);
}

/* f16 values times 2^15 */
static void enlarge(uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] & 0x7fff ? (uint16_t)(x[i] + (15 << 10)) : x[i];
}

static dfx_model *make_model(const struct part *part, int upcasts)
{
    char path[256];
    dfx_tensors *all, *out;
    dfx_model *m;
    snprintf(path, sizeof path, "tiny/%s/%s", part->component, part->config);
    write_config(data(path), upcasts);
    snprintf(path, sizeof path, "tiny/%s/%s", part->component, part->weights);
    if (dfx_tensors_open(&all, data(path)) != DFX_OK || dfx_tensors_new(&out) != DFX_OK)
        exit(99);
    for (int i = 0; i < dfx_tensors_count(all); i++) {
        const dfx_tensor *t = dfx_tensors_at(all, i);
        size_t end = strlen(t->name), tail = strlen(part->tensor);
        void *copy = malloc(t->bytes);
        if (!copy)
            exit(99);
        memcpy(copy, t->data, t->bytes);
        if (end >= tail && strcmp(t->name + end - tail, part->tensor) == 0 &&
            ok(t->spec.dtype == DFX_F16, "%s", t->name))
            enlarge(copy, t->bytes / 2);
        if (dfx_tensors_add(out, t->name, &t->spec, copy) != DFX_OK)
            exit(99);
        free(copy);
    }
    if (dfx_tensors_save(out, in_folder(part->weights)) != DFX_OK)
        exit(99);
    if (!ok(dfx_model_open(&m, folder) == DFX_OK, "the %s opens", part->component)) {
        printf("# %s\n", dfx_error());
        exit(99);
    }
    dfx_tensors_free(all);
    dfx_tensors_free(out);
    return m;
}

static void remove_model(const struct part *part)
{
    unlink(in_folder("config.json"));
    unlink(in_folder(part->weights));
}

/* ---- sequences ---- */

static void test_sequence(void)
{
    static const int64_t shape[] = { 3, 40 };
    float x[120], y[120];
    dfx_device *d;
    dfx_sequence *s;
    dfx__not_finite found;
    if (dfx_device_open(&d, device) != DFX_OK || dfx_sequence_new(&s, d, DFX_F16) != DFX_OK)
        exit(99);
    dfx_value *v = dfx_cast(dfx_input(s, "x", DFX_F32, 2, shape), DFX_F16);
    dfx_push(s, "block");
    v = dfx_scale(v, 300, 0);
    dfx_push(s, "layer");
    v = dfx_scale(dfx_tanh(dfx_scale(v, 300, 0)), 2, 0);
    dfx_pop(s);
    dfx_pop(s);
    dfx_output(dfx_cast(v, DFX_F32), "y");
    for (int i = 0; i < 120; i++)
        x[i] = (float)i / 200;
    ok(dfx_sequence_prepare(s) == DFX_OK && dfx_sequence_write(s, "x", x, sizeof x) == DFX_OK &&
           dfx_sequence_run(s) == DFX_OK && dfx_sequence_read(s, "y", y, sizeof y) == DFX_OK,
       "a sequence runs in f16 on %s", device);
    ok(dfx__find_not_finite(&found, s) == DFX_OK && !found.input && !found.path,
       "all of its values are finite");
    x[119] = 1;
    int named = dfx_sequence_write(s, "x", x, sizeof x) == DFX_OK &&
                dfx__find_not_finite(&found, s) == DFX_OK && !found.input && found.path &&
                strcmp(found.path, "block.layer") == 0 && strcmp(found.op, "scale") == 0;
    ok(named, "a larger input overflows in %s", found.path ? found.path : "no call");
    x[7] = NAN;
    ok(dfx_sequence_write(s, "x", x, sizeof x) == DFX_OK &&
           dfx__find_not_finite(&found, s) == DFX_OK && found.input &&
           strcmp(found.input, "x") == 0,
       "an input that is none is named");
    dfx_sequence_free(s);
    dfx_device_free(d);
}

/* ---- pipelines ---- */

/* A pipeline in `dtype` whose component is the part's; is_auto: as if it had not been asked for. */
static dfx_pipeline *open_with(const struct part *part, dfx_model *m, const char *dtype,
                               int is_auto)
{
    dfx_component own = { part->component, m };
    dfx_pipeline_options o = {
        .device = device, .dtype = dtype, .components = &own, .component_count = 1
    };
    dfx_pipeline *p;
    if (dfx_pipeline_open(&p, data("tiny"), &o) != DFX_OK) {
        printf("# %s\n", dfx_error());
        exit(99);
    }
    p->dtype_is_auto = is_auto;
    return p;
}

static dfx_result *draw(dfx_pipeline *p)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    o.prompt = "red";
    o.steps = 2;
    o.seed = 3;
    dfx_pipeline_generate(&r, p, &o);
    return r;
}

static double difference(const dfx_result *a, const dfx_result *b)
{
    const dfx_tensor *x = dfx_result_floats(a), *y = dfx_result_floats(b);
    double most = 0;
    for (size_t i = 0; i < x->bytes / sizeof(float); i++) {
        double d = fabs((double)((const float *)x->data)[i] - ((const float *)y->data)[i]);
        most = fmax(most, isnan(d) ? INFINITY : d);
    }
    return most;
}

/* The VAE of that pipeline's runs in f32 takes more memory than there is: in tiles, too. */
static void test_little_memory(dfx_model *m, const dfx_result *want)
{
    dfx_pipeline *p = open_with(&parts[0], m, "f16", 1);
    const dfx_tensor *latents = dfx_result_latents(want);
    dfx_result *r;
    use_one_core(p);
    dfx_device_set_memory_limit((dfx_device *)dfx_pipeline_device(p), 1 << 20);
    logged[0] = '\0';
    dfx_status status = dfx_pipeline_decode(&r, p, latents, NULL);
    ok(status == DFX_OK && logged_lines() > 1 && dfx_result_tiles(r) > 1, "in little memory: %s",
       status == DFX_OK ? "in tiles" : dfx_error());
    ok(status == DFX_OK && difference(r, want) < 1e-4, "the picture stays (%.0e)",
       status == DFX_OK ? difference(r, want) : INFINITY);
    dfx_result_free(r);
    dfx_pipeline_free(p);
}

static void test_part(const struct part *part)
{
    dfx_model *m = make_model(part, 0);
    dfx_pipeline *f32 = open_with(part, m, "f32", 0), *f16 = open_with(part, m, "f16", 0);
    dfx_pipeline *automatic = open_with(part, m, "f16", 1);
    dfx_result *want = draw(f32), *r = draw(f16);
    const char *line = dfx_error();
    ok(want, "%s: f32 holds its values", part->component);
    ok(!r && strstr(line, part->layer) && strstr(line, "--dtype auto") && !strchr(line, '\n'), "%s",
       line);
    dfx_set_log(keep_log, NULL);
    logged[0] = '\0';
    r = draw(automatic);
    ok(r && logged_lines() == 1 && strstr(logged, part->layer) && strstr(logged, "runs in f32"),
       "%.*s", (int)strcspn(logged, "\n"), logged);
    ok(r && want && difference(r, want) < 0.02, "the picture is that of f32 (%.1e)",
       r && want ? difference(r, want) : INFINITY);
    dfx_result_free(r);
    r = draw(automatic);
    ok(r && logged_lines() == 1, "so are all that follow, without a word");
    if (part == parts && want)
        test_little_memory(m, want);
    dfx_set_log(NULL, NULL);
    dfx_result_free(r);
    dfx_result_free(want);
    dfx_pipeline_free(f32);
    dfx_pipeline_free(f16);
    dfx_pipeline_free(automatic);
    dfx_model_free(m);
    remove_model(part);
}

int main(void)
{
    static const char *const kinds[] = { "cpu", "opencl" };
    make_folder("guard");
    for (int i = 0; i < 2; i++) {
        device = device_of_kind(kinds[i]);
        if (!device)
            continue;
        test_sequence();
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            test_part(&parts[k]);
    }
    rmdir(folder);
    return done();
}
