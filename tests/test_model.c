/* test_model.c - components against diffusers and transformers, and what they refuse. */
#include "tap.h"

#include "dfxcl.h"

#include <limits.h>
#include <math.h>
#include <unistd.h>

/* What tests/gen/models has run: FOLDER[.RUN], whose tensors are in tests/data/forward. */
static const char *const runs[] = {
    "tiny/text_encoder",
    "tiny/unet",
    "tiny/vae.encode",
    "tiny/vae.decode",
    /* text.py */
    "models/text_gelu",
    "models/text_old_eos",
    "models/text_projection",
    /* unets.py */
    "models/unet_cross",
    "models/unet_linear",
    "models/unet_refiner",
    "models/unet_scales",
    "models/unet_sdxl",
    "models/unet_three",
    /* autoencoders.py */
    "models/vae_old.encode",
    "models/vae_old.decode",
    "models/vae_one.encode",
    "models/vae_one.decode",
    "models/vae_sharded.encode",
    "models/vae_sharded.decode",
    /* embedders.py */
    "models/redux",
};

/* Allowed error by dtype, as a part of the result's norm. */
static const double tolerance[] = { [DFX_F32] = 2e-5, [DFX_F16] = 4e-3, [DFX_BF16] = 3e-2 };

static char logged[1024];

static void keep_log(void *user, const char *line)
{
    (void)user;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", line);
}

/* ---- against the references ---- */

/* The tensors "SIDE/NAME" of a run's file, as NAME. */
static dfx_tensors *read_side(const char *run, const char *side)
{
    char path[128];
    dfx_tensors *all, *t;
    size_t n = strlen(side);
    snprintf(path, sizeof path, "forward%s.safetensors", strchr(run, '/'));
    if (dfx_tensors_open(&all, data(path)) != DFX_OK || dfx_tensors_new(&t) != DFX_OK)
        exit(99);
    for (int i = 0; i < dfx_tensors_count(all); i++) {
        const dfx_tensor *x = dfx_tensors_at(all, i);
        if (strncmp(x->name, side, n) == 0)
            dfx_tensors_add(t, x->name + n + 1, &x->spec, x->data);
    }
    dfx_tensors_free(all);
    return t;
}

static int same_spec(const dfx_spec *a, const dfx_spec *b)
{
    int same = a->rank == b->rank && a->dtype == b->dtype;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

/* ||got - wanted|| / ||wanted||; infinite when there is no such tensor of that shape. */
static double error_of(const dfx_tensors *got, const dfx_tensor *wanted)
{
    const dfx_tensor *x = dfx_tensors_find(got, wanted->name);
    double difference = 0, norm = 0;
    if (!x || !same_spec(&x->spec, &wanted->spec))
        return INFINITY;
    for (size_t i = 0; i < x->bytes / sizeof(float); i++) {
        double w = ((const float *)wanted->data)[i], d = ((const float *)x->data)[i] - w;
        difference += d * d;
        norm += w * w;
    }
    return sqrt(difference / norm);
}

static dfx_model *open_model(const char *run)
{
    char folder[128];
    dfx_model *m;
    snprintf(folder, sizeof folder, "%s", run);
    folder[strcspn(folder, ".")] = '\0';
    return dfx_model_open(&m, data(folder)) == DFX_OK ? m : NULL;
}

static void test_run(dfx_device *device, dfx_dtype dtype, const char *run)
{
    dfx_tensors *in = read_side(run, "in"), *wanted = read_side(run, "out");
    dfx_tensors *out;
    dfx_model *m = open_model(run);
    double worst = 0;
    dfx_tensors_new(&out);
    int done = m && dfx_model_forward(m, device, dtype, in, out) == DFX_OK;
    for (int i = 0; done && i < dfx_tensors_count(wanted); i++)
        worst = fmax(worst, error_of(out, dfx_tensors_at(wanted, i)));
    ok(done && dfx_tensors_count(wanted) > 0 && worst <= tolerance[dtype], "%s %s %s: %s %.1e",
       dfx_device_get_info(device)->id, dfx_dtype_name(dtype), run, done ? "" : dfx_error(), worst);
    dfx_model_free(m);
    dfx_tensors_free(in);
    dfx_tensors_free(wanted);
    dfx_tensors_free(out);
}

static void test_device(const char *name)
{
    const char *only = getenv("DFX_DEVICE");
    dfx_device *device;
    if (only && *only && strncmp(only, name, strlen(name)) != 0)
        return;
    if (dfx_device_open(&device, only && *only ? only : name) != DFX_OK) {
        skip(dfx_error(), "%s", name);
        return;
    }
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        for (dfx_dtype dtype = DFX_F32; dtype <= DFX_BF16; dtype++)
            test_run(device, dtype, runs[i]);
    dfx_device_free(device);
}

/* ---- wrong folders ---- */

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int next;
    char *p = path[next++ % 2];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void empty_folder(void)
{
    unlink(in_folder("config.json"));
    unlink(in_folder("diffusion_pytorch_model.safetensors"));
    unlink(in_folder("model.safetensors"));
}

/* A component's file, to be freed. */
static char *read_text(const char *component, const char *name, size_t *bytes)
{
    enum { MOST = 1 << 22 };
    char path[256], *text = calloc(1, MOST);
    snprintf(path, sizeof path, "%s/%s", component, name);
    FILE *f = fopen(data(path), "rb");
    if (!f || !text)
        exit(99);
    *bytes = fread(text, 1, MOST - 1, f);
    fclose(f);
    return text;
}

static void write_text(const char *name, const char *text, size_t bytes)
{
    FILE *f = fopen(in_folder(name), "wb");
    if (!f || fwrite(text, 1, bytes, f) != bytes || fclose(f) != 0)
        exit(99);
}

static const char *weights_name(const char *component)
{
    return strstr(component, "text") ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
}

/* The component's config in the folder, where `from` became `to`. */
static void put_config(const char *component, const char *from, const char *to)
{
    size_t bytes;
    char *text = read_text(component, "config.json", &bytes), *at = strstr(text, from);
    char changed[8192];
    if (!at)
        exit(99);
    int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to,
                     at + strlen(from));
    write_text("config.json", changed, (size_t)n);
    free(text);
}

static void link_weights(const char *component)
{
    char path[256], absolute[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", component, weights_name(component));
    if (!realpath(data(path), absolute) ||
        symlink(absolute, in_folder(weights_name(component))) != 0)
        exit(99);
}

/* Whether the folder is refused with that status, in one line with both words. */
static int refused(dfx_status status, const char *word, const char *another)
{
    dfx_model *m;
    dfx_status got = dfx_model_open(&m, folder);
    if (got == status && !m && strstr(dfx_error(), word) && strstr(dfx_error(), another) &&
        !strchr(dfx_error(), '\n'))
        return 1;
    printf("# status %d: %s\n", (int)got, got ? dfx_error() : "it opens");
    dfx_model_free(m);
    return 0;
}

#define UNET "models/unet_cross"
#define SDXL "models/unet_sdxl"
#define VAE "models/vae_one"
#define TEXT "models/text_gelu"
#define PROJECTION "models/text_projection"

static void test_configs(void)
{
    static const struct {
        const char *component, *from, *to;
        dfx_status status;
        const char *word;
    } wrong[] = {
        { UNET, "\"UNet2DConditionModel\"", "\"UNetMotionModel\"", DFX_ERROR_UNSUPPORTED,
          "UNetMotionModel" },
        { UNET, "\"_class_name\"", "\"class\"", DFX_ERROR_FORMAT, "_class_name" },
        { UNET, "{", "[{", DFX_ERROR_FORMAT, "config.json" },
        { UNET, "\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"",
          DFX_ERROR_UNSUPPORTED, "class_embed_type: \"timestep\"" },
        { UNET, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_image\"",
          DFX_ERROR_UNSUPPORTED, "addition_embed_type: text_image" },
        { UNET, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"",
          DFX_ERROR_UNSUPPORTED, "addition_time_embed_dim" },
        { SDXL, "\"addition_time_embed_dim\": 6", "\"addition_time_embed_dim\": 7",
          DFX_ERROR_UNSUPPORTED, "addition_time_embed_dim" },
        { SDXL, "\"addition_time_embed_dim\": 6", "\"addition_time_embed_dim\": 1000000000",
          DFX_ERROR_FORMAT, "addition_time_embed_dim" },
        { SDXL, "\"projection_class_embeddings_input_dim\": 49",
          "\"projection_class_embeddings_input_dim\": 6", DFX_ERROR_UNSUPPORTED,
          "projection_class_embeddings_input_dim" },
        { SDXL, "\"projection_class_embeddings_input_dim\": 49",
          "\"projection_class_embeddings_input_dim\": 50", DFX_ERROR_FORMAT,
          "add_embedding.linear_1.weight" },
        { SDXL, "\"transformer_layers_per_block\": [\n    1,",
          "\"transformer_layers_per_block\": [\n    [1, 1],", DFX_ERROR_FORMAT,
          "transformer_layers_per_block" },
        { SDXL, "\"reverse_transformer_layers_per_block\": null",
          "\"reverse_transformer_layers_per_block\": [3, 2, 1]", DFX_ERROR_UNSUPPORTED,
          "reverse_transformer_layers_per_block" },
        { UNET, "\"time_cond_proj_dim\": null", "\"time_cond_proj_dim\": 256",
          DFX_ERROR_UNSUPPORTED, "time_cond_proj_dim" },
        { UNET, "\"CrossAttnDownBlock2D\"", "\"AttnDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
          "AttnDownBlock2D" },
        { UNET, "\"mid_block_type\": \"UNetMidBlock2DCrossAttn\"", "\"mid_block_type\": null",
          DFX_ERROR_UNSUPPORTED, "mid_block_type" },
        { UNET, "\"act_fn\": \"silu\"", "\"act_fn\": \"mish\"", DFX_ERROR_UNSUPPORTED, "act_fn" },
        { UNET, "\"norm_num_groups\": 4", "\"norm_num_groups\": 3", DFX_ERROR_UNSUPPORTED,
          "norm_num_groups" },
        { UNET, "\"attention_head_dim\": 4", "\"attention_head_dim\": 3", DFX_ERROR_UNSUPPORTED,
          "attention_head_dim" },
        { UNET, "\"layers_per_block\": 1", "\"layers_per_block\": 2147483648", DFX_ERROR_FORMAT,
          "layers_per_block" },
        { UNET, "\"layers_per_block\": 1", "\"layers_per_block\": [1]", DFX_ERROR_FORMAT,
          "layers_per_block" },
        { UNET, "\"in_channels\": 4", "\"in_channels\": 1000000000", DFX_ERROR_FORMAT,
          "in_channels" },
        { UNET, "\"in_channels\": 4", "\"in_channels\": \"4\"", DFX_ERROR_FORMAT, "in_channels" },
        { UNET, "\"mid_block_scale_factor\": 1", "\"mid_block_scale_factor\": 0",
          DFX_ERROR_UNSUPPORTED, "mid_block_scale_factor" },
        { UNET, "\"only_cross_attention\": true", "\"only_cross_attention\": [true]",
          DFX_ERROR_FORMAT, "only_cross_attention" },
        { UNET, "\"only_cross_attention\": true", "\"only_cross_attention\": [true, 1]",
          DFX_ERROR_FORMAT, "only_cross_attention" },
        { VAE, "\"AutoencoderKL\"", "\"ConsistencyDecoderVAE\"", DFX_ERROR_UNSUPPORTED,
          "ConsistencyDecoderVAE" },
        { VAE, "\"DownEncoderBlock2D\"", "\"KDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
          "down_block_types" },
        { VAE, "\"DownEncoderBlock2D\"", "\"AttnDownEncoderBlock2D\"", DFX_ERROR_FORMAT,
          "encoder.down_blocks.0.attentions.0.group_norm.weight" },
        { VAE, "\"latents_mean\": null", "\"latents_mean\": [0.5]", DFX_ERROR_FORMAT,
          "latents_mean" },
        { VAE, "\"latents_std\": null", "\"latents_std\": [1, 2, 3, \"4\"]", DFX_ERROR_FORMAT,
          "latents_std" },
        { VAE, "\"scaling_factor\": 0.18215", "\"scaling_factor\": 0", DFX_ERROR_UNSUPPORTED,
          "scaling_factor" },
        { TEXT, "\"CLIPTextModel\"", "\"CLIPVisionModel\"", DFX_ERROR_UNSUPPORTED,
          "CLIPVisionModel" },
        { TEXT, "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", DFX_ERROR_UNSUPPORTED,
          "hidden_act" },
        { TEXT, "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", DFX_ERROR_UNSUPPORTED,
          "num_attention_heads" },
        { TEXT, "\"eos_token_id\": 39", "\"eos_token_id\": [39, 38]", DFX_ERROR_FORMAT,
          "eos_token_id" },
        { PROJECTION, "\"projection_dim\": 24", "\"projection_dim\": 25", DFX_ERROR_FORMAT,
          "text_projection.weight" },
        { PROJECTION, "\"projection_dim\": 24", "\"projection_dim\": 1000000000", DFX_ERROR_FORMAT,
          "projection_dim" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_config(wrong[i].component, wrong[i].from, wrong[i].to);
        link_weights(wrong[i].component);
        ok(refused(wrong[i].status, wrong[i].word, folder), "refused: %s", wrong[i].to);
        empty_folder();
    }
}

static void test_unknown_key(void)
{
    dfx_model *m;
    put_config(VAE, "{", "{ \"shoe_size\": 42,");
    link_weights(VAE);
    logged[0] = '\0';
    ok(dfx_model_open(&m, folder) == DFX_OK, "an unknown key is no error");
    ok(strstr(logged, "shoe_size") && strstr(logged, folder), "but it is named: %.*s",
       (int)strcspn(logged, "\n"), logged);
    dfx_model_free(m);
    empty_folder();
}

/* The VAE with its weights, without the tensor `left_out`, with the shape of `turned` reversed,
 * with one more called `added`; each may be NULL. */
static void put_weights(const char *left_out, const char *turned, const char *added)
{
    dfx_tensors *from, *to;
    if (dfx_tensors_open(&from, data(VAE "/diffusion_pytorch_model.safetensors")) ||
        dfx_tensors_new(&to))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        dfx_spec spec = t->spec;
        if (left_out && strcmp(t->name, left_out) == 0)
            continue;
        for (int k = 0; turned && strcmp(t->name, turned) == 0 && k < spec.rank; k++)
            spec.dim[k] = t->spec.dim[spec.rank - 1 - k];
        dfx_tensors_add(to, t->name, &spec, t->data);
    }
    if (added)
        dfx_tensors_add(to, added, &(dfx_spec){ DFX_F32, 1, { 1 } }, &(float){ 0 });
    put_config(VAE, "{", "{");
    if (dfx_tensors_save(to, in_folder("diffusion_pytorch_model.safetensors")))
        exit(99);
    dfx_tensors_free(from);
    dfx_tensors_free(to);
}

static void test_weights(void)
{
    dfx_model *m;
    put_weights("decoder.mid_block.attentions.0.to_k.weight", NULL, NULL);
    ok(refused(DFX_ERROR_FORMAT, "decoder.mid_block.attentions.0.to_k.weight is missing", folder),
       "a missing tensor: %s", dfx_error());
    empty_folder();
    put_weights(NULL, "decoder.conv_in.weight", NULL);
    ok(refused(DFX_ERROR_FORMAT, "[3, 3, 4, 32]", "[32, 4, 3, 3]"), "a wrong shape: %s",
       dfx_error());
    empty_folder();
    put_weights(NULL, NULL, "decoder.conv_in.weigth");
    logged[0] = '\0';
    ok(dfx_model_open(&m, folder) == DFX_OK, "an unused tensor is no error");
    ok(strstr(logged, "decoder.conv_in.weigth") && strstr(logged, folder), "but it is named: %.*s",
       (int)strcspn(logged, "\n"), logged);
    dfx_model_free(m);
    empty_folder();
}

static void test_files(void)
{
    size_t bytes;
    char *text = read_text(VAE, "diffusion_pytorch_model.safetensors", &bytes);
    for (size_t part = 0; part < 3; part++) {
        put_config(VAE, "{", "{");
        write_text("diffusion_pytorch_model.safetensors", text, bytes * part / 3);
        ok(refused(DFX_ERROR_FORMAT, "diffusion_pytorch_model.safetensors", folder),
           "weights cut to %zu thirds: %s", part, dfx_error());
        empty_folder();
    }
    free(text);
    ok(refused(DFX_ERROR_FILE, "config.json", folder), "an empty folder: %s", dfx_error());
    put_config(VAE, "{", "{");
    ok(refused(DFX_ERROR_FILE, "diffusion_pytorch_model.safetensors", folder), "no weights");
    empty_folder();
    dfx_model *m;
    ok(dfx_model_open(&m, in_folder("no")) == DFX_ERROR_FILE && !m && strstr(dfx_error(), folder),
       "no folder: %s", dfx_error());
    dfx_model_free(NULL);
}

/* ---- wrong inputs ---- */

/* Runs on one tensor of zeros, but for its first id. */
static int forward_fails(dfx_model *m, dfx_device *d, const char *name, const dfx_spec *spec,
                         int64_t id, const char *word)
{
    const int64_t content[512] = { id };
    dfx_tensors *in, *out;
    dfx_tensors_new(&in);
    dfx_tensors_new(&out);
    dfx_tensors_add(in, name, spec, content);
    int good = dfx_model_forward(m, d, DFX_F32, in, out) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), word);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    return good;
}

/* The inputs of SDXL's UNet, where `name` has so many columns of zeros, or is missing with 0. */
static int added_fails(dfx_model *m, dfx_device *d, const char *name, int64_t columns,
                       const char *word)
{
    static const float zeros[64];
    dfx_tensors *from = read_side(SDXL, "in"), *in, *out;
    dfx_tensors_new(&in);
    dfx_tensors_new(&out);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        dfx_spec changed = { DFX_F32, 2, { t->spec.dim[0], columns } };
        if (strcmp(t->name, name) != 0)
            dfx_tensors_add(in, t->name, &t->spec, t->data);
        else if (columns)
            dfx_tensors_add(in, name, &changed, zeros);
    }
    int good = dfx_model_forward(m, d, DFX_F32, in, out) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), word);
    dfx_tensors_free(from);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    return good;
}

static void test_added_inputs(void)
{
    dfx_device *d;
    dfx_model *m = open_model(SDXL);
    if (!ok(m && dfx_device_open(&d, "cpu") == DFX_OK, "SDXL's UNet opens"))
        return;
    ok(added_fails(m, d, "time_ids", 0, "time_ids is missing"), "no sizes: %s", dfx_error());
    ok(added_fails(m, d, "time_ids", 9, "9 entries"), "too many sizes: %s", dfx_error());
    ok(added_fails(m, d, "time_ids", 8, "[3, 1]"), "other sizes need another text: %s",
       dfx_error());
    ok(added_fails(m, d, "text_embeds", 0, "text_embeds is missing"), "no pooled text: %s",
       dfx_error());
    ok(added_fails(m, d, "text_embeds", 12, "[3, 13]"), "a pooled text too short: %s", dfx_error());
    dfx_model_free(m);
    dfx_device_free(d);
}

static void test_inputs(void)
{
    dfx_device *d;
    dfx_model *unet = open_model(UNET), *vae = open_model(VAE), *text = open_model(TEXT);
    dfx_model *deep = open_model("tiny/vae");
    if (!ok(unet && vae && text && deep && dfx_device_open(&d, "cpu") == DFX_OK,
            "four components open"))
        return;
    ok(strcmp(dfx_model_class(unet), "UNet2DConditionModel") == 0 &&
           strcmp(dfx_model_class(vae), "AutoencoderKL") == 0 &&
           strcmp(dfx_model_class(text), "CLIPTextModel") == 0,
       "their classes");
    ok(dfx_model_parameters(unet) == 51876, "parameters: %lld",
       (long long)dfx_model_parameters(unet));
    ok(forward_fails(unet, d, "x", &(dfx_spec){ DFX_F32, 4, { 1, 4, 8, 8 } }, 0,
                     "sample is missing"),
       "no sample: %s", dfx_error());
    ok(forward_fails(unet, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 3, 8, 8 } }, 0,
                     "[-1, 4, -1, -1]"),
       "wrong channels: %s", dfx_error());
    ok(forward_fails(unet, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 4, 8, 8 } }, 0, "timestep"),
       "no timestep: %s", dfx_error());
    ok(forward_fails(vae, d, "latent", &(dfx_spec){ DFX_F32, 3, { 4, 8, 8 } }, 0, "latent"),
       "wrong rank: %s", dfx_error());
    ok(forward_fails(vae, d, "latent", &(dfx_spec){ DFX_F32, 4, { 0, 4, 8, 8 } }, 0, "latent"),
       "nothing: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_F32, 2, { 1, 8 } }, 0, "input_ids"),
       "ids that are floats: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_I32, 2, { 1, 33 } }, 0, "33 tokens"),
       "too many tokens: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_I64, 2, { 1, 8 } }, 40, "id 40"),
       "an id that is not in the vocabulary: %s", dfx_error());
    ok(forward_fails(deep, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 3, 1, 1 } }, 0, "encoder"),
       "a picture too small: %s", dfx_error());
    dfx_model_free(unet);
    dfx_model_free(deep);
    dfx_model_free(vae);
    dfx_model_free(text);
    dfx_device_free(d);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/dfx-model-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 99;
    dfx_set_log(keep_log, NULL);
    test_device("cpu");
    test_device("opencl");
    ok(!strstr(logged, "not used") && !strstr(logged, "ignored"), "all of right folders is used");
    test_added_inputs();
    test_configs();
    test_unknown_key();
    test_weights();
    test_files();
    test_inputs();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
