/* test_weights.c - the weights of a component's folder: one file, shards, variants, and errors. */
#include "tap.h"

#include "weights/weights.h"

#include <sys/stat.h>
#include <unistd.h>

#define BASE "model"

static char folder[256];
static char written[32][300]; /* files to remove */
static int files;

static const char *in_folder(const char *name)
{
    char *path = written[files++];
    snprintf(path, sizeof written[0], "%s/%s", folder, name);
    return path;
}

static void put_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        exit(99);
}

/* A file with f32 tensors [2] of the names, separated by spaces. */
static void put_tensors(const char *name, const char *tensors, float value)
{
    dfx_tensors *t;
    const dfx_spec spec = { DFX_F32, 1, { 2 } };
    char list[64];
    snprintf(list, sizeof list, "%s", tensors);
    int failed = dfx_tensors_new(&t);
    for (char *word = strtok(list, " "); word && !failed; word = strtok(NULL, " "))
        failed = dfx_tensors_add(t, word, &spec, (float[]){ value, value });
    if (failed || dfx_tensors_save(t, in_folder(name)))
        exit(99);
    dfx_tensors_free(t);
}

static void empty_folder(void)
{
    while (files)
        unlink(written[--files]);
}

/* Whether the folder opens and its tensor "a" has that value. */
static int opens(const char *variant, float value)
{
    dfx__weights *w;
    if (dfx__weights_open(&w, folder, BASE, variant)) {
        printf("# %s\n", dfx_error());
        return 0;
    }
    const dfx_weight *a = dfx__weights_take(w, "a");
    int good = a && *(const float *)a->data == value;
    dfx__weights_free(w);
    return good;
}

static int fails(const char *variant, dfx_status status, const char *message)
{
    dfx__weights *w;
    if (dfx__weights_open(&w, folder, BASE, variant) == status && strstr(dfx_error(), message))
        return 1;
    printf("# %s\n", dfx_error());
    return 0;
}

static void test_take(void)
{
    dfx__weights *w;
    const char *name[2];
    put_tensors(BASE ".safetensors", "b c a", 1);
    if (!ok(dfx__weights_open(&w, folder, BASE, NULL) == DFX_OK, "a folder with one file"))
        return;
    ok(dfx__weights_count(w) == 3 && dfx__weights_parameters(w) == 6, "3 tensors, 6 parameters");
    ok(strcmp(dfx__weights_file(w, 0), written[0]) == 0 && !dfx__weights_file(w, 1), "its file");
    ok(dfx__weights_unused(w, NULL, 0) == 3, "all are unused");
    const dfx_tensor *t = dfx__weights_find(w, "b");
    ok(t && dfx__weights_unused(w, NULL, 0) == 3, "finding does not mark");
    dfx_weight *b = dfx__weights_take(w, "b");
    ok(b && b->used && b->data == t->data && b->spec.rank == 1 && strcmp(b->name, "b") == 0 &&
           !b->copies,
       "a weight points to the tensor");
    ok(dfx__weights_take(w, "b") == b, "it can be taken twice");
    ok(!dfx__weights_take(w, "d") && !dfx__weights_find(w, "d"), "a name that is not there");
    ok(dfx__weights_unused(w, name, 2) == 2 && !strcmp(name[0], "a") && !strcmp(name[1], "c"),
       "the unused names");
    ok(dfx__weights_unused(w, name, 1) == 2, "more unused names than room");
    dfx__weights_free(w);
    dfx__weights_free(NULL);
    empty_folder();
}

static void test_variants(void)
{
    put_tensors(BASE ".fp16.safetensors", "a", 16);
    ok(opens(NULL, 16), "fp16 when that is all there is");
    ok(opens("fp16", 16), "fp16 when asked");
    put_tensors(BASE ".safetensors", "a", 32);
    ok(opens(NULL, 32), "the plain file before fp16");
    ok(opens("fp16", 16), "fp16 beside the plain file");
    ok(opens("ema", 32), "plain files where the variant is not there");
    ok(fails("../x", DFX_ERROR_ARGUMENT, "'../x'"), "a variant that leaves the folder");
    empty_folder();
}

static void test_shards(void)
{
    dfx__weights *w;
    put_tensors(BASE "-00001-of-00002.safetensors", "a b", 1);
    put_tensors(BASE "-00002-of-00002.safetensors", "c", 2);
    put_text(BASE ".safetensors.index.json",
             "{\"metadata\": {\"total_size\": 24}, \"weight_map\": {"
             "\"c\": \"" BASE "-00002-of-00002.safetensors\","
             "\"a\": \"" BASE "-00001-of-00002.safetensors\","
             "\"b\": \"" BASE "-00001-of-00002.safetensors\"}}");
    if (ok(dfx__weights_open(&w, folder, BASE, NULL) == DFX_OK, "a folder with two shards")) {
        const dfx_weight *b = dfx__weights_take(w, "b"), *c = dfx__weights_take(w, "c");
        ok(b && c && *(const float *)b->data == 1 && *(const float *)c->data == 2, "both are read");
        ok(dfx__weights_count(w) == 3 && dfx__weights_file(w, 1) && !dfx__weights_file(w, 2),
           "each is opened once");
        dfx__weights_free(w);
    }
    put_tensors(BASE ".safetensors", "a", 32);
    ok(opens(NULL, 32), "one file before shards");
    empty_folder();
    put_tensors(BASE ".fp16-00001-of-00001.safetensors", "a", 16);
    put_text(BASE ".safetensors.index.fp16.json",
             "{\"weight_map\": {\"a\": \"" BASE ".fp16-00001-of-00001.safetensors\"}}");
    ok(opens(NULL, 16) && opens("fp16", 16), "shards of fp16");
    empty_folder();
    put_tensors(BASE "-00001-of-00001.fp16.safetensors", "a", 16);
    put_text(BASE ".safetensors.fp16.index.json",
             "{\"weight_map\": {\"a\": \"" BASE "-00001-of-00001.fp16.safetensors\"}}");
    ok(opens(NULL, 16) && opens("fp16", 16), "shards of fp16, as older versions named them");
    empty_folder();
}

/* What a file is tells its content: safetensors will do. */
static void test_bin(void)
{
    put_tensors("pytorch_model.bin", "a", 1);
    ok(opens(NULL, 1) && opens("ema", 1), "pytorch_model.bin");
    put_tensors("pytorch_model.ema.bin", "a", 2);
    ok(opens("ema", 2) && opens(NULL, 1), "pytorch_model.ema.bin");
    put_tensors("pytorch_model-00001-of-00001.bin", "a", 3);
    put_text("pytorch_model.bin.index.json",
             "{\"weight_map\": {\"a\": \"pytorch_model-00001-of-00001.bin\"}}");
    ok(opens(NULL, 1), "one file before shards in .bin");
    unlink(written[0]);
    ok(opens(NULL, 3), "shards in .bin");
    put_tensors(BASE ".safetensors", "a", 4);
    ok(opens(NULL, 4) && opens("ema", 2), "safetensors before .bin of the same variant");
    empty_folder();
}

static void test_bad_index(void)
{
    static const struct {
        const char *index, *message, *what;
    } bad[] = {
        { "{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "'../x.safetensors' is not",
          "a path upwards" },
        { "{\"weight_map\": {\"a\": \"/x.safetensors\"}}", "'/x.safetensors' is not",
          "an absolute path" },
        { "{\"weight_map\": {\"a\": \"x.pt\"}}", "'x.pt' is not", "a shard of another format" },
        { "{\"weight_map\": {\"a\": 1}}", "must give a file name", "a number for a shard" },
        { "{\"weight_map\": []}", "has no weight_map", "a map that is an array" },
        { "[]", "has no weight_map", "no map" },
        { "{", "ends too early", "no JSON" },
        { "{\"weight_map\": {\"z\": \"x.safetensors\"}}", "'z' is not in x.safetensors",
          "a missing tensor" },
        { "{\"weight_map\": {\"a\": \"x.safetensors\", \"b\": \"y.safetensors\"}}",
          "'b' is also in", "a tensor in two shards" },
    };
    put_tensors("x.safetensors", "a b", 1);
    put_tensors("y.safetensors", "b", 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(BASE ".safetensors.index.json", bad[i].index);
        files--; /* it is written again */
        ok(fails(NULL, DFX_ERROR_FORMAT, bad[i].message), "index: %s", bad[i].what);
    }
    put_text(BASE ".safetensors.index.json", "{\"weight_map\": {\"a\": \"none.safetensors\"}}");
    ok(fails(NULL, DFX_ERROR_FILE, "none.safetensors: No such"), "index: a missing shard");
    empty_folder();
}

static void test_missing(void)
{
    dfx__weights *w;
    ok(fails(NULL, DFX_ERROR_FILE, BASE ".safetensors.index.json"), "an empty folder");
    put_text("flax_model.msgpack", "");
    ok(fails(NULL, DFX_ERROR_UNSUPPORTED, "flax_model.msgpack"), "only files of other formats");
    put_text(BASE ".safetensors", "version https://git-lfs.github.com/spec/v1\n");
    ok(fails(NULL, DFX_ERROR_FORMAT, "Git LFS pointer"), "a Git LFS pointer");
    ok(dfx__weights_open(&w, in_folder("no"), BASE, NULL) == DFX_ERROR_FILE &&
           strstr(dfx_error(), "no such folder"),
       "no folder");
    empty_folder();
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/dfx-weights-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 99;
    test_take();
    test_variants();
    test_shards();
    test_bin();
    test_bad_index();
    test_missing();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
