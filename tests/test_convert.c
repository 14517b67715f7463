/* test_convert.c - models rewritten: the same tensors and texts come back, types and shards, and
 * what has no other form. */
#include "log_test.h"
#include "tap.h"

#include "core/dtype.h"
#include "core/file.h"
#include "dfxcl.h"
#include "weights/weights.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char work[256];

static const char *at(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", work, name);
    return p;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static int converts(const char *from, const char *to, const dfx_convert_options *o)
{
    if (dfx_convert(from, to, o) == DFX_OK)
        return 1;
    printf("# %s\n", dfx_error());
    return 0;
}

static int same_weight(const dfx_weight *a, const dfx_weight *b)
{
    int same = strcmp(a->name, b->name) == 0 && a->spec.dtype == b->spec.dtype &&
               a->spec.rank == b->spec.rank;
    for (int i = 0; same && i < a->spec.rank; i++)
        same = a->spec.dim[i] == b->spec.dim[i];
    return same && memcmp(a->data, b->data, dfx__spec_bytes(&a->spec)) == 0;
}

/* Whether two components have the same tensors, byte for byte; how many goes to *count. */
static int same_weights(const char *a, const char *b, const char *part, int *count)
{
    char path[2][600];
    const char *name = strstr(part, "text") ? "model" : "diffusion_pytorch_model";
    dfx__weights *w[2] = { NULL, NULL };
    snprintf(path[0], sizeof path[0], "%s/%s", a, part);
    snprintf(path[1], sizeof path[1], "%s/%s", b, part);
    int same = dfx__weights_open(&w[0], path[0], name, NULL) == DFX_OK &&
               dfx__weights_open(&w[1], path[1], name, NULL) == DFX_OK &&
               dfx__weights_count(w[0]) == dfx__weights_count(w[1]);
    *count = same ? dfx__weights_count(w[0]) : 0;
    for (int i = 0; same && i < *count; i++)
        same = same_weight(dfx__weights_at(w[0], i), dfx__weights_at(w[1], i));
    dfx__weights_free(w[0]);
    dfx__weights_free(w[1]);
    return same && *count > 0;
}

static int same_file(const char *a, const char *b)
{
    dfx__mapped x, y;
    if (dfx__map_file(&x, a) != DFX_OK)
        return 0;
    int same = dfx__map_file(&y, b) == DFX_OK;
    if (same) {
        same = x.bytes == y.bytes && memcmp(x.data, y.data, x.bytes) == 0;
        dfx__unmap_file(&y);
    }
    dfx__unmap_file(&x);
    return same;
}

/* A folder to one file and back. */
static void test_folder(const char *model, const char *const *parts, const char *const *texts)
{
    char single[600], folder[600], again[600], a[700], b[700];
    snprintf(single, sizeof single, "%s", at("model.safetensors"));
    snprintf(folder, sizeof folder, "%s", at("folder"));
    snprintf(again, sizeof again, "%s", at("again.safetensors"));
    ok(converts(model, single, NULL) && converts(single, folder, NULL), "%s there and back", model);
    for (int count, i = 0; parts[i]; i++) {
        int same = same_weights(model, folder, parts[i], &count);
        ok(same, "%s: %d tensors are the same bytes", parts[i], count);
    }
    for (int i = 0; texts[i]; i++) {
        snprintf(a, sizeof a, "%s/%s", model, texts[i]);
        snprintf(b, sizeof b, "%s/%s", folder, texts[i]);
        ok(same_file(a, b), "%s is the same bytes", texts[i]);
    }
    ok(converts(folder, again, NULL) && same_file(single, again), "one file again, the same");
    unlink(single);
    unlink(again);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A checkpoint to a folder and back: its tensors are those of the first file. */
static void test_checkpoint(const char *name)
{
    char path[64], folder[600], single[600];
    dfx_tensors *a, *b;
    snprintf(path, sizeof path, "single/%s.safetensors", name);
    snprintf(folder, sizeof folder, "%s", at("folder"));
    snprintf(single, sizeof single, "%s", at("single.safetensors"));
    int done = converts(data(path), folder, NULL) && converts(folder, single, NULL);
    if (dfx_tensors_open(&a, data(path)) != DFX_OK)
        exit(99);
    if (!done || dfx_tensors_open(&b, single) != DFX_OK)
        dfx_tensors_new(&b);
    int same = done && dfx_tensors_count(a) == dfx_tensors_count(b);
    for (int i = 0; same && i < dfx_tensors_count(a); i++) {
        const dfx_tensor *x = dfx_tensors_at(a, i), *y = dfx_tensors_find(b, x->name);
        same = y && x->bytes == y->bytes && x->spec.rank == y->spec.rank &&
               memcmp(x->data, y->data, x->bytes) == 0;
        for (int k = 0; same && k < x->spec.rank; k++)
            same = x->spec.dim[k] == y->spec.dim[k];
    }
    ok(same, "%s: %d tensors come back through a folder", name, dfx_tensors_count(a));
    dfx_tensors_free(a);
    dfx_tensors_free(b);
    unlink(single);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Another type, shards and a variant at once. */
static void test_shards(const char *model)
{
    char folder[600], back[600], path[700];
    const dfx_convert_options narrow = { "bf16", 300000, "bf16", NULL };
    const dfx_convert_options wide = { "f32", 0, NULL, "bf16" };
    snprintf(folder, sizeof folder, "%s", at("narrow"));
    snprintf(back, sizeof back, "%s", at("wide"));
    ok(converts(model, folder, &narrow) && converts(folder, back, &wide),
       "bf16 in shards, and f32");
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors.index.bf16.json",
             folder);
    ok(dfx__file_exists(path), "the index has diffusers' name");
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.bf16-00001-of-00006.safetensors",
             folder);
    ok(dfx__file_exists(path), "and so have its shards");
    dfx__weights *w = NULL, *n = NULL, *f = NULL;
    int right = 1, rounded = 0;
    snprintf(path, sizeof path, "%s/unet", model);
    right &= dfx__weights_open(&w, path, "diffusion_pytorch_model", NULL) == DFX_OK;
    snprintf(path, sizeof path, "%s/unet", folder);
    right &= dfx__weights_open(&n, path, "diffusion_pytorch_model", "bf16") == DFX_OK;
    snprintf(path, sizeof path, "%s/unet", back);
    right &= dfx__weights_open(&f, path, "diffusion_pytorch_model", NULL) == DFX_OK;
    for (int i = 0; right && i < dfx__weights_count(w); i++) {
        const dfx_weight *x = dfx__weights_at(w, i), *y = dfx__weights_at(n, i),
                         *z = dfx__weights_at(f, i);
        size_t count = dfx__elements(&x->spec);
        for (size_t k = 0; k < count; k++) {
            float number, kept;
            uint16_t expected;
            dfx__to_f32(&number, (const char *)x->data + k * dfx_dtype_size(x->spec.dtype),
                        x->spec.dtype, 1);
            expected = dfx__f32_to_bf16(number);
            memcpy(&kept, (const float *)z->data + k, sizeof kept);
            right &= memcmp(&expected, (const uint16_t *)y->data + k, 2) == 0;
            right &= kept == dfx__bf16_to_f32(expected);
            rounded += kept != number;
        }
    }
    ok(right, "every number is rounded once (%d changed)", rounded);
    dfx__weights_free(w);
    dfx__weights_free(n);
    dfx__weights_free(f);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    nftw(back, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int fails(const char *from, const char *to, const dfx_convert_options *o, dfx_status status,
                 const char *word)
{
    struct stat info;
    dfx_status got = dfx_convert(from, to, o);
    if (got == status && strstr(dfx_error(), word) && !strchr(dfx_error(), '\n') &&
        (strcmp(word, "there already") == 0 || lstat(to, &info) != 0))
        return 1;
    printf("# status %d: %s\n", (int)got, got ? dfx_error() : "it was converted");
    return 0;
}

/* A copy of the tiny model's UNet in the folder with another tensor, or without one. */
static const char *changed_unet(const char *without, const char *added)
{
    dfx_tensors *from, *to;
    mkdir(at("unet"), 0777);
    if (dfx_tensors_open(&from, data("tiny/unet/diffusion_pytorch_model.safetensors")) ||
        dfx_tensors_new(&to))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        if (!without || strcmp(t->name, without) != 0)
            dfx_tensors_add(to, t->name, &t->spec, t->data);
    }
    if (added)
        dfx_tensors_add(to, added, &(dfx_spec){ DFX_F32, 1, { 1 } }, &(float){ 1 });
    if (dfx_tensors_save(to, at("unet/diffusion_pytorch_model.safetensors")) != DFX_OK)
        exit(99);
    dfx_tensors_free(from);
    dfx_tensors_free(to);
    dfx__mapped config;
    FILE *f = fopen(at("unet/config.json"), "wb");
    if (!f || dfx__map_file(&config, data("tiny/unet/config.json")) != DFX_OK)
        exit(99);
    fwrite(config.data, 1, config.bytes, f);
    dfx__unmap_file(&config);
    fclose(f);
    return at("unet");
}

static void test_refusals(void)
{
    const dfx_convert_options i8 = { .dtype = "i8" }, slash = { .variant = "a/b" },
                              shards = { .shard_size = 1 };
    char to[600], single[600];
    snprintf(to, sizeof to, "%s", at("out"));
    snprintf(single, sizeof single, "%s", at("out.safetensors"));
    ok(fails(at("nothing"), to, NULL, DFX_ERROR_FILE, "nothing"), "no model");
    ok(fails(data("tiny"), to, &i8, DFX_ERROR_ARGUMENT, "i8"), "a type that models do not have");
    ok(fails(data("tiny"), to, &slash, DFX_ERROR_ARGUMENT, "a/b"), "a variant with a slash");
    ok(fails(data("tiny"), single, &shards, DFX_ERROR_ARGUMENT, "shards"), "shards of one file");
    ok(fails(data("tiny"), data("single"), NULL, DFX_ERROR_FILE, "there already"),
       "the target is there");
    ok(fails(data("tiny"), at("no/out"), NULL, DFX_ERROR_FILE, "no/"), "no place for the target");
    ok(fails(data("tiny/scheduler"), to, NULL, DFX_ERROR_FILE, "no model"), "a scheduler alone");
    ok(fails(data("models/vae_tiny"), single, NULL,
             dfx__folder_exists(data("models/vae_tiny")) ? DFX_ERROR_UNSUPPORTED : DFX_ERROR_FILE,
             "vae_tiny"),
       "an autoencoder of another class");
    ok(fails(changed_unet(NULL, "time_embedding.cond_proj.weight"), single, NULL,
             DFX_ERROR_UNSUPPORTED, "time_embedding.cond_proj.weight"),
       "a tensor without a name in the original layout");
    ok(fails(changed_unet("down_blocks.1.resnets.0.conv1.weight", NULL), single, NULL,
             DFX_ERROR_UNSUPPORTED, "no name in the original layout"),
       "a level without its first convolution");
    truncate(at("unet/diffusion_pytorch_model.safetensors"), 100000);
    ok(fails(at("unet"), to, NULL, DFX_ERROR_FORMAT, "diffusion_pytorch_model.safetensors"),
       "a file that is cut short");
    nftw(at("unet"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A component alone, as a file and as a folder; a UNet's width is known from the kept config. */
static void test_component(void)
{
    char single[600], folder[600];
    int count = 0;
    snprintf(single, sizeof single, "%s", at("unet.safetensors"));
    snprintf(folder, sizeof folder, "%s", at("unet"));
    ok(converts(data("tiny/unet"), single, NULL) && converts(single, folder, NULL) &&
           same_weights(data("tiny"), work, "unet", &count),
       "a UNet alone: %d tensors", count);
    unlink(single);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    snprintf(single, sizeof single, "%s", at("vae.safetensors"));
    snprintf(folder, sizeof folder, "%s", at("vae"));
    ok(converts(data("tiny/vae"), single, NULL) && converts(single, folder, NULL) &&
           same_weights(data("tiny"), work, "vae", &count),
       "an autoencoder alone: %d tensors", count);
    unlink(single);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    static const char *const parts[] = { "unet", "vae", "text_encoder", NULL };
    static const char *const texts[] = { "model_index.json",
                                         "unet/config.json",
                                         "vae/config.json",
                                         "text_encoder/config.json",
                                         "scheduler/scheduler_config.json",
                                         "tokenizer/tokenizer.json",
                                         "tokenizer/tokenizer_config.json",
                                         NULL };
    static const char *const checkpoints[] = { "sd1",         "sd1_inpainting", "sd2",
                                               "x4_upscaler", "sdxl",           "sdxl_refiner" };
    char share[1024];
    const char *top = getenv("srcdir"), *temporary = getenv("TMPDIR");
    snprintf(share, sizeof share, "%s/share", top ? top : ".");
    setenv("DFX_DATADIR", share, 1);
    snprintf(work, sizeof work, "%s/dfx-convert-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(work))
        return 99;
    dfx_set_log(keep_log, NULL);
    test_folder(data("tiny"), parts, texts);
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++)
        test_checkpoint(checkpoints[i]);
    test_shards(data("tiny"));
    test_component();
    test_refusals();
    ok(rmdir(work) == 0, "nothing is left behind");
    return done();
}
