/* test_single_file.c - checkpoints in the original layout: each part against diffusers, the names
 * in both directions, and what is refused. */
#include "tap.h"

#include "core/json.h"
#include "dfxcl.h"
#include "weights/key_map.h"
#include "weights/single_config.h"

#include <math.h>
#include <unistd.h>

/* What tests/gen/single_files.py has run: FILE/PART. */
static const char *const parts[] = { "sd1/text_encoder",
                                     "sd1/unet",
                                     "sd1/vae",
                                     "sd1_inpainting/unet",
                                     "sd2/text_encoder",
                                     "sd2/unet",
                                     "sd2/vae",
                                     "sdxl/text_encoder",
                                     "sdxl/text_encoder_2",
                                     "sdxl/unet",
                                     "sdxl/vae",
                                     "sdxl_refiner/text_encoder_2",
                                     "sdxl_refiner/unet",
                                     "x4_upscaler/text_encoder",
                                     "x4_upscaler/unet",
                                     "sd1_inpainting/text_encoder" };

static dfx_tensors *expected;
static char folder[256];

/* ---- against diffusers ---- */

/* The tensors "PART/SIDE.NAME" as NAME. */
static dfx_tensors *read_side(const char *part, const char *side)
{
    char begin[128];
    dfx_tensors *t;
    int n = snprintf(begin, sizeof begin, "%s/%s.", part, side);
    if (dfx_tensors_new(&t) != DFX_OK)
        exit(99);
    for (int i = 0; i < dfx_tensors_count(expected); i++) {
        const dfx_tensor *x = dfx_tensors_at(expected, i);
        if (strncmp(x->name, begin, (size_t)n) == 0)
            dfx_tensors_add(t, x->name + n, &x->spec, x->data);
    }
    return t;
}

/* ||got - wanted|| / ||wanted||; infinite when there is no such tensor of that size. */
static double error_of(const dfx_tensors *got, const dfx_tensor *wanted)
{
    const dfx_tensor *x = dfx_tensors_find(got, wanted->name);
    double difference = 0, norm = 0;
    if (!x || x->bytes != wanted->bytes)
        return INFINITY;
    for (size_t i = 0; i < x->bytes / sizeof(float); i++) {
        double w = ((const float *)wanted->data)[i], d = ((const float *)x->data)[i] - w;
        difference += d * d;
        norm += w * w;
    }
    return sqrt(difference / norm);
}

static const char *file_of(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "single/%.*s.safetensors", (int)strcspn(name, "/"), name);
    return data(path);
}

static void test_part(dfx_device *device, const char *part, const char *path)
{
    dfx_tensors *in = read_side(part, "in"), *wanted = read_side(part, "out"), *out;
    dfx_model *m;
    double worst = 0;
    dfx_tensors_new(&out);
    int done = dfx_model_open(&m, path) == DFX_OK &&
               dfx_model_forward(m, device, DFX_F32, in, out) == DFX_OK;
    for (int i = 0; done && i < dfx_tensors_count(wanted); i++)
        worst = fmax(worst, error_of(out, dfx_tensors_at(wanted, i)));
    ok(done && dfx_tensors_count(wanted) > 0 && worst <= 2e-5, "%s %s: %s %.1e",
       dfx_device_get_info(device)->id, part, done ? "" : dfx_error(), worst);
    dfx_model_free(m);
    dfx_tensors_free(in);
    dfx_tensors_free(wanted);
    dfx_tensors_free(out);
}

/* ---- files made here ---- */

/* A copy of a file in the folder without tensors that begin with `without`, with `rename` in front
 * of names that begin with `from` in its place; `reversed` has its dimensions the other way round.
 */
struct change {
    const char *without, *from, *rename, *only, *reversed;
};

static const char *write_changed(const char *name, const struct change *c)
{
    static char path[512];
    dfx_tensors *from, *to;
    if (dfx_tensors_open(&from, file_of(name)) || dfx_tensors_new(&to))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        dfx_spec spec = t->spec;
        char named[512];
        if ((c->without && strncmp(t->name, c->without, strlen(c->without)) == 0) ||
            (c->only && strncmp(t->name, c->only, strlen(c->only)) != 0))
            continue;
        snprintf(named, sizeof named, "%s", t->name);
        if (c->from && strncmp(t->name, c->from, strlen(c->from)) == 0)
            snprintf(named, sizeof named, "%s%s", c->rename, t->name + strlen(c->from));
        for (int k = 0; c->reversed && strcmp(t->name, c->reversed) == 0 && k < spec.rank; k++)
            spec.dim[k] = t->spec.dim[t->spec.rank - 1 - k];
        dfx_tensors_add(to, named, &spec, t->data);
    }
    snprintf(path, sizeof path, "%s/changed.safetensors", folder);
    if (dfx_tensors_save(to, path) != DFX_OK)
        exit(99);
    dfx_tensors_free(from);
    dfx_tensors_free(to);
    return path;
}

/* A file of one tensor [4, 4]. */
static const char *write_one(const char *name)
{
    static char path[512];
    static const float zeros[16];
    dfx_tensors *t;
    dfx_tensors_new(&t);
    dfx_tensors_add(t, name, &(dfx_spec){ DFX_F32, 2, { 4, 4 } }, zeros);
    snprintf(path, sizeof path, "%s/one.safetensors", folder);
    if (dfx_tensors_save(t, path) != DFX_OK)
        exit(99);
    dfx_tensors_free(t);
    return path;
}

static int says(dfx_status got, dfx_status wanted, const char *word, const char *another)
{
    if (got == wanted && strstr(dfx_error(), word) && strstr(dfx_error(), another) &&
        !strchr(dfx_error(), '\n'))
        return 1;
    printf("# status %d: %s\n", (int)got, got ? dfx_error() : "it opens");
    return 0;
}

static void test_lone(dfx_device *device)
{
    char part[600];
    struct change bare = { .only = "first_stage_model.",
                           .from = "first_stage_model.",
                           .rename = "" };
    test_part(device, "sd1/vae", write_changed("sd1", &bare));
    bare = (struct change){ .only = "model.diffusion_model.",
                            .from = "model.diffusion_model.",
                            .rename = "" };
    dfx_model *m;
    ok(says(dfx_model_open(&m, write_changed("sd1", &bare)), DFX_ERROR_UNSUPPORTED, "width 8",
            "changed.safetensors"),
       "a UNet alone of an unknown width");
    struct change other = { .from = "first_stage_model.", .rename = "vae." };
    snprintf(part, sizeof part, "%s/vae", write_changed("sd1", &other));
    test_part(device, "sd1/vae", part);
    struct change ema = { .from = "model.diffusion_model.", .rename = "model_ema.diffusion_model" };
    snprintf(part, sizeof part, "%s/unet", write_changed("sd1", &ema));
    ok(dfx_model_open(&m, part) != DFX_OK, "averages of training are not taken for the weights");
    dfx_model_free(m);
}

/* A file of SDXL with CosXL's range of sigmas, whose UNet takes `channels`; more than 4 of them are
 * the first ones again. */
static const char *write_cosxl(int channels, float sigma_max)
{
    static const char conv[] = "model.diffusion_model.input_blocks.0.0.weight";
    static char path[512];
    dfx_tensors *from, *to;
    if (dfx_tensors_open(&from, file_of("sdxl")) || dfx_tensors_new(&to))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        if (strcmp(t->name, conv) != 0) {
            dfx_tensors_add(to, t->name, &t->spec, t->data);
            continue;
        }
        dfx_spec spec = t->spec;
        size_t rows = (size_t)spec.dim[0], row = t->bytes / rows, one = row / 4;
        char *wide = malloc(rows * one * (size_t)channels);
        spec.dim[1] = channels;
        for (size_t k = 0; wide && k < rows * (size_t)channels; k++)
            memcpy(wide + k * one,
                   (const char *)t->data + k / (size_t)channels * row +
                       k % (size_t)channels % 4 * one,
                   one);
        dfx_tensors_add(to, conv, &spec, wide);
        free(wide);
    }
    if (sigma_max > 0)
        dfx_tensors_add(to, "edm_vpred.sigma_max", &(dfx_spec){ DFX_F32, 1, { 1 } }, &sigma_max);
    snprintf(path, sizeof path, "%s/changed.safetensors", folder);
    if (dfx_tensors_save(to, path) != DFX_OK)
        exit(99);
    dfx_tensors_free(from);
    dfx_tensors_free(to);
    return path;
}

/* Whether the model has a key with that value. */
static int has_key(const char *path, const char *name, const char *value)
{
    dfx_config_keys *keys;
    int found = 0;
    if (dfx_config_keys_open(&keys, path) != DFX_OK)
        return 0;
    for (int i = 0; i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *k = dfx_config_keys_at(keys, i);
        found |= strcmp(k->name, name) == 0 && strcmp(k->value, value) == 0;
    }
    dfx_config_keys_free(keys);
    return found;
}

static void test_cosxl(void)
{
    static const struct {
        int channels;
        float sigma_max;
        const char *class, *edits, *scheduler;
        float first; /* sigma */
    } files[] = {
        { 4, 100, "StableDiffusionXLPipeline", NULL, "EDMEulerScheduler", 100 },
        { 8, 120, "StableDiffusionXLInstructPix2PixPipeline", "true", "EDMEulerScheduler", 120 },
        { 8, 0, "StableDiffusionXLInstructPix2PixPipeline", "false", "EulerDiscreteScheduler", 0 },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = write_cosxl(files[i].channels, files[i].sigma_max);
        char part[600];
        dfx_scheduler *s;
        int count;
        ok(has_key(path, "_class_name", files[i].class) &&
               (!files[i].edits || has_key(path, "is_cosxl_edit", files[i].edits)),
           "SDXL of %d channels, CosXL's sigmas to %g: %s", files[i].channels, files[i].sigma_max,
           files[i].class);
        snprintf(part, sizeof part, "%s/scheduler", path);
        if (!ok(dfx_scheduler_open(&s, part, NULL) == DFX_OK, "its scheduler: %s", dfx_error()))
            continue;
        ok(strcmp(dfx_scheduler_class(s), files[i].scheduler) == 0 &&
               dfx_scheduler_set_timesteps(s, 2) == DFX_OK &&
               (!files[i].first ||
                fabsf(dfx_scheduler_sigmas(s, &count)[0] - files[i].first) < 1e-3f),
           "%s", dfx_scheduler_class(s));
        dfx_scheduler_free(s);
    }
    dfx_checkpoint *c;
    ok(says(dfx_checkpoint_open(&c, write_cosxl(9, 120)), DFX_ERROR_UNSUPPORTED, "CosXL",
            "changed.safetensors"),
       "refused: CosXL that inpaints");
}

/* As diffusers' from_single_file: the scheduler of the noise on the picture is in no checkpoint. */
static void test_upscaler(void)
{
    char part[600];
    dfx_scheduler *s = NULL;
    const char *path = file_of("x4_upscaler/");
    ok(has_key(path, "_class_name", "StableDiffusionUpscalePipeline") &&
           has_key(path, "max_noise_level", "350"),
       "the x4 upscaler's pipeline");
    snprintf(part, sizeof part, "%s/low_res_scheduler", path);
    ok(dfx_scheduler_open(&s, part, NULL) == DFX_OK &&
           strcmp(dfx_scheduler_class(s), "DDPMScheduler") == 0,
       "and its low_res_scheduler");
    dfx_scheduler_free(s);
}

/* ---- what is refused ---- */

static void test_families(void)
{
    static const struct {
        const char *tensor, *family;
    } other[] = {
        { "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias",
          "Stable Diffusion 3" },
        { "double_blocks.0.img_attn.norm.key_norm.scale", "Flux" },
        { "clip_txt_mapper.weight", "Stable Cascade" },
        { "control_model.time_embed.0.weight", "ControlNet" },
        { "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight",
          "Stable Video Diffusion" },
        { "lora_unet_mid_block.alpha", "LoRA" },
        { "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "AnimateDiff" },
        { "model.diffusion_model.patchify_proj.weight", "LTX" },
        { "first_stage_model.quantize.embedding.weight", "VQ" },
        { "edm_mean", "Playground" },
        { "down_blocks.0.resnets.0.conv1.weight", "under Diffusers' names" },
        { "nothing.known", "no checkpoint of a known family" },
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        dfx_checkpoint *c;
        ok(says(dfx_checkpoint_open(&c, write_one(other[i].tensor)), DFX_ERROR_UNSUPPORTED,
                other[i].family, "one.safetensors"),
           "refused: %s", other[i].family);
        dfx_checkpoint_free(c);
    }
}

static void test_wrong(void)
{
    static const struct {
        const char *file, *part;
        struct change change;
        const char *word, *another;
    } wrong[] = {
        { "sd1",
          "unet",
          { .without = "model.diffusion_model.input_blocks.1.0.in_layers.0.weight" },
          "down_blocks.0.resnets.0.norm1.weight",
          "model.diffusion_model.input_blocks.1.0.in_layers.0.weight in the file" },
        { "sd1",
          "unet",
          { .without = "model.diffusion_model.out.2.weight" },
          "is missing",
          "model.diffusion_model.out.2.weight" },
        { "sd1",
          "unet",
          { .reversed = "model.diffusion_model.time_embed.0.weight" },
          "time_embedding.linear_1.weight",
          "model.diffusion_model.time_embed.0.weight" },
        { "sd2",
          "text_encoder",
          { .without = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias" },
          "q_proj.bias",
          "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias" },
        { "sd1",
          "vae",
          { .without = "first_stage_model.decoder.mid.attn_1.q.weight" },
          "is missing",
          "first_stage_model.decoder.mid.attn_1.q.weight" },
        { "sd1",
          "unet",
          { .without = "model.diffusion_model.input_blocks.1." },
          "layers",
          "changed.safetensors" },
        { "sdxl",
          "unet",
          { .without = "conditioner.embedders.0.",
            .from = "conditioner.embedders.1.",
            .rename = "cond_stage_model." },
          "parts of different models",
          "20" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dfx_model *m = NULL;
        char path[600];
        snprintf(path, sizeof path, "%s/%s", write_changed(wrong[i].file, &wrong[i].change),
                 wrong[i].part);
        dfx_status status = dfx_model_open(&m, path);
        ok(status != DFX_OK && says(status, status, wrong[i].word, wrong[i].another),
           "refused: %s without a right %s", wrong[i].file, wrong[i].another);
    }
}

static void test_damaged(void)
{
    char path[512], bytes[4096];
    dfx_checkpoint *c;
    snprintf(path, sizeof path, "%s/cut.safetensors", folder);
    for (size_t size = 0; size < sizeof bytes; size = size * 4 + 3) {
        FILE *from = fopen(file_of("sd1"), "rb"), *to = fopen(path, "wb");
        if (!from || !to || fread(bytes, 1, size, from) != size ||
            fwrite(bytes, 1, size, to) != size)
            exit(99);
        fclose(from);
        fclose(to);
        ok(says(dfx_checkpoint_open(&c, path), DFX_ERROR_FORMAT, "cut.safetensors", ""),
           "a file of %zu bytes", size);
        dfx_checkpoint_free(c);
    }
    unlink(path);
}

/* ---- names and configs ---- */

struct names {
    const char *file, *prefix;
    dfx__layout layout;
};

/* Every name of a part gives Diffusers' names, and each of these comes back. */
static void test_names(const struct names *n)
{
    dfx_tensors *t;
    dfx__key_shape shape;
    dfx__key_map *map;
    dfx__key to[3], back;
    int names = 0, wrong = 0;
    if (dfx_tensors_open(&t, file_of(n->file)) ||
        dfx__find_blocks(&shape, n->layout, t, n->prefix) || dfx__key_map_new(&map, &shape))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(t); i++) {
        const char *name = dfx_tensors_at(t, i)->name;
        if (strncmp(name, n->prefix, strlen(n->prefix)) != 0)
            continue;
        name += strlen(n->prefix);
        int count = dfx__key_to_diffusers(map, name, to);
        names++;
        wrong += count == 0 || (count != 1 && count != 3);
        for (int k = 0; k < count; k++)
            wrong += !dfx__key_to_original(map, to[k].name, &back) ||
                     strcmp(back.name, name) != 0 || back.how != to[k].how ||
                     back.part != to[k].part;
    }
    ok(names > 10 && wrong == 0, "%d names of %s %s there and back", names, n->file, n->prefix);
    dfx__key_map_free(map);
    dfx_tensors_free(t);
}

static void test_old_names(void)
{
    dfx__key_map *map;
    dfx__key to[3];
    dfx__key_map_new(&map, &(dfx__key_shape){ DFX__LAYOUT_VAE, 4, 2, 0, 0 });
    ok(dfx__key_to_original(map, "decoder.mid_block.attentions.0.proj_attn.weight", to) &&
           strcmp(to->name, "decoder.mid.attn_1.proj_out.weight") == 0,
       "old names of the autoencoder: %s", to->name);
    ok(dfx__key_to_original(map, "decoder.up_blocks.0.upsamplers.0.conv.bias", to) &&
           strcmp(to->name, "decoder.up.3.upsample.conv.bias") == 0,
       "the decoder's levels are reversed: %s", to->name);
    ok(!dfx__key_to_original(map, "decoder.other.weight", to) &&
           !dfx__key_to_diffusers(map, "loss.logvar", to) && !dfx__key_to_diffusers(map, "", to) &&
           !dfx__key_to_diffusers(map, "....", to),
       "names without a place");
    dfx__key_map_free(map);
    dfx__key_map_new(&map, &(dfx__key_shape){ DFX__LAYOUT_CLIP, 0, 12, 0, 0 });
    ok(dfx__key_to_original(map, "encoder.layers.3.mlp.fc1.weight", to) &&
           strcmp(to->name, "text_model.encoder.layers.3.mlp.fc1.weight") == 0,
       "names of transformers 5: %s", to->name);
    dfx__key_map_free(map);
}

static void test_configs(void)
{
    int count = 0, complete = 0;
    for (const dfx__config_source *s = dfx__config_sources; s->name; s++, count++) {
        json_object *files;
        if (dfx__published_configs(&files, s->name) != DFX_OK)
            continue;
        complete += json_object_object_get_ex(files, "model_index.json", NULL) &&
                    json_object_object_get_ex(files, "unet/config.json", NULL) &&
                    json_object_object_get_ex(files, "scheduler/scheduler_config.json", NULL);
        json_object_put(files);
    }
    ok(count == 14 && complete == count, "%d of %d published models have their configs", complete,
       count);
}

/* A checkpoint's tokenizer is CLIP's, padded as its family does. */
static void test_tokenizer(void)
{
    static const struct {
        const char *path;
        int pad;
    } cases[] = { { "sd1/tokenizer", 49407 }, { "sd2/tokenizer", 0 }, { "sdxl/tokenizer_2", 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[600];
        int32_t ids[77] = { 0 };
        dfx_tokenizer *t = NULL;
        snprintf(path, sizeof path, "%s%s", file_of(cases[i].path), strchr(cases[i].path, '/'));
        int right = dfx_tokenizer_open(&t, path) == DFX_OK && dfx_tokenizer_length(t) == 77 &&
                    dfx_tokenizer_encode(t, "a photo of a cat", ids, NULL, NULL) == DFX_OK;
        ok(right && ids[0] == 49406 && ids[5] == 2368 && ids[6] == 49407 && ids[7] == cases[i].pad,
           "%s: %d %d", cases[i].path, (int)ids[5], (int)ids[7]);
        dfx_tokenizer_free(t);
    }
}

static void quiet(void *user, const char *line)
{
    (void)user;
    (void)line;
}

int main(void)
{
    static const struct names names[] = {
        { "sd1", "model.diffusion_model.", DFX__LAYOUT_UNET },
        { "sd1", "first_stage_model.", DFX__LAYOUT_VAE },
        { "sd1", "cond_stage_model.transformer.", DFX__LAYOUT_CLIP },
        { "sd2", "cond_stage_model.model.", DFX__LAYOUT_OPEN_CLIP },
        { "sdxl", "model.diffusion_model.", DFX__LAYOUT_UNET },
        { "x4_upscaler", "model.diffusion_model.", DFX__LAYOUT_UNET },
    };
    dfx_device *device;
    char share[1024];
    const char *top = getenv("srcdir"), *temporary = getenv("TMPDIR");
    snprintf(share, sizeof share, "%s/share", top ? top : ".");
    setenv("DFX_DATADIR", share, 1);
    snprintf(folder, sizeof folder, "%s/dfx-single-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(folder) || dfx_tensors_open(&expected, data("single/expected.safetensors")))
        return 99;
    dfx_set_log(quiet, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        test_names(&names[i]);
    test_old_names();
    test_configs();
    test_tokenizer();
    test_cosxl();
    test_upscaler();
    test_families();
    test_wrong();
    test_damaged();
    if (dfx_device_open(&device, getenv("DFX_DEVICE")) == DFX_OK) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char path[600];
            snprintf(path, sizeof path, "%s%s", file_of(parts[i]), strchr(parts[i], '/'));
            test_part(device, parts[i], path);
        }
        test_lone(device);
        dfx_device_free(device);
    } else {
        skip(dfx_error(), "parts against diffusers");
    }
    snprintf(share, sizeof share, "%s/changed.safetensors", folder);
    unlink(share);
    snprintf(share, sizeof share, "%s/one.safetensors", folder);
    unlink(share);
    rmdir(folder);
    dfx_tensors_free(expected);
    return done();
}
