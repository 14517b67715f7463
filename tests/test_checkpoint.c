/* test_checkpoint.c - models in one file and in the Hugging Face cache. */
#include "folder_test.h"

#include "core/file.h"
#include "core/mount.h"
#include "dfxcl.h"

#include <sys/stat.h>
#include <unistd.h>

/* A file that huggingface_hub's export_folder_as_dduf wrote. */
static void test_dduf(void)
{
    const char *path = data("checkpoints/parts.dduf");
    dfx_checkpoint *c;
    dfx_model *inside, *outside;
    dfx_tokenizer *t;
    dfx_scheduler *s;
    char part[600], *text;
    size_t bytes;
    if (!ok(dfx_checkpoint_open(&c, path) == DFX_OK, "a DDUF file"))
        return;
    ok(strcmp(dfx_checkpoint_form(c), "DDUF") == 0 && strcmp(dfx_checkpoint_path(c), path) == 0,
       "its form");
    ok(dfx_checkpoint_has(c, "model_index.json") &&
           dfx_checkpoint_has(c, "tokenizer/tokenizer.json") && dfx_checkpoint_has(c, "") &&
           !dfx_checkpoint_has(c, "text_encoder") && !dfx_checkpoint_has(c, "vae/config.json"),
       "which files it has");
    if (ok(dfx_checkpoint_read(&text, &bytes, c, "text_encoder/config.json") == DFX_OK, "a file")) {
        ok(bytes == strlen(text) && text[0] == '{' && strstr(text, "CLIPTextModel"), "its text");
        free(text);
    }
    ok(dfx_checkpoint_read(&text, &bytes, c, "vae/config.json") == DFX_ERROR_FILE, "no such file");
    dfx_checkpoint_free(c);
    ok(dfx__mount_find(path) == DFX__MOUNT_OUTSIDE, "nothing stays mounted");

    snprintf(part, sizeof part, "%s/text_encoder", path);
    ok(dfx_model_open(&inside, part) == DFX_OK, "its model: %s", dfx_error());
    ok(dfx_model_open(&outside, data("models/text_old_eos")) == DFX_OK, "the same in a folder");
    ok(dfx_model_parameters(inside) == dfx_model_parameters(outside), "of the same size");
    ok(dfx__mount_find(path) == DFX__MOUNT_FOLDER, "a model keeps the file");
    dfx_model_free(inside);
    dfx_model_free(outside);
    ok(dfx__mount_find(path) == DFX__MOUNT_OUTSIDE, "until it goes");
    snprintf(part, sizeof part, "%s/tokenizer", path);
    if (ok(dfx_tokenizer_open(&t, part) == DFX_OK, "its tokenizer"))
        dfx_tokenizer_free(t);
    snprintf(part, sizeof part, "%s/scheduler/", path);
    if (ok(dfx_scheduler_open(&s, part, NULL) == DFX_OK, "its scheduler: %s", dfx_error()))
        dfx_scheduler_free(s);
    snprintf(part, sizeof part, "%s/vae", path);
    ok(dfx_model_open(&inside, part) == DFX_ERROR_FILE && strstr(dfx_error(), part),
       "no such part");
}

/* ---- a pipeline in one file ---- */

static void put(FILE *f, uint64_t n, int bytes)
{
    while (bytes--) {
        fputc((int)(n & 0xff), f);
        n >>= 8;
    }
}

/* A record of a ZIP archive, with or without the fields of its directory. */
static void put_record(FILE *f, const char *name, size_t bytes, const long *place)
{
    fputs(place ? "PK\1\2" : "PK\3\4", f);
    put(f, 20, place ? 4 : 2);
    put(f, 0, 12); /* flags, method, time, sum: not looked at where nothing is packed */
    put(f, bytes, 4);
    put(f, bytes, 4);
    put(f, strlen(name), 4);
    if (place) {
        put(f, 0, 10);
        put(f, (uint64_t)*place, 4);
    }
    fputs(name, f);
}

/* Packs tests/data/tiny as it stands; most of its tensors lie on odd places then. */
static void pack_tiny(const char *path)
{
    static const char *const names[] = {
        "model_index.json",         "scheduler/scheduler_config.json",
        "text_encoder/config.json", "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
        "unet/config.json",         "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",          "vae/diffusion_pytorch_model.safetensors",
    };
    enum { FILES = sizeof names / sizeof *names };
    size_t bytes[FILES];
    long place[FILES];
    FILE *f = fopen(path, "wb");
    if (!f)
        exit(99);
    for (int i = 0; i < FILES; i++) {
        char from[128];
        dfx__mapped m;
        snprintf(from, sizeof from, "tiny/%s", names[i]);
        if (dfx__map_file(&m, data(from)) != DFX_OK)
            exit(99);
        place[i] = ftell(f);
        bytes[i] = m.bytes;
        put_record(f, names[i], m.bytes, NULL);
        fwrite(m.data, 1, m.bytes, f);
        dfx__unmap_file(&m);
    }
    long begin = ftell(f);
    for (int i = 0; i < FILES; i++)
        put_record(f, names[i], bytes[i], &place[i]);
    long end = ftell(f);
    fputs("PK\5\6", f);
    put(f, 0, 4);
    put(f, FILES, 2);
    put(f, FILES, 2);
    put(f, (uint64_t)(end - begin), 4);
    put(f, (uint64_t)begin, 4);
    put(f, 0, 2);
    if (fclose(f) != 0)
        exit(99);
}

/* The hash is of configs and weights, so it is the folder's. */
static dfx_result *draw(const char *path, char hash[17])
{
    const dfx_pipeline_options options = { .device = getenv("DFX_DEVICE"), .dtype = "f32" };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p;
    dfx_result *r = NULL;
    o.prompt = "red apple";
    o.steps = 1;
    if (ok(dfx_pipeline_open(&p, path, &options) == DFX_OK, "opened: %s", path)) {
        snprintf(hash, 17, "%s", dfx_pipeline_hash(p));
        ok(dfx_pipeline_generate(&r, p, &o) == DFX_OK, "drawn: %s", r ? "" : dfx_error());
    } else {
        printf("# %s\n", dfx_error());
    }
    dfx_pipeline_free(p);
    return r;
}

static void test_pipeline(void)
{
    char hash[2][17] = { "", "-" };
    char *path = strdup(in_folder("tiny.dduf"));
    pack_tiny(path);
    dfx_result *a = draw(data("tiny"), hash[0]), *b = draw(path, hash[1]);
    if (a && b) {
        const dfx_tensor *x = dfx_result_floats(a), *y = dfx_result_floats(b);
        ok(x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0,
           "a folder and a file draw the same picture");
        ok(strcmp(hash[0], hash[1]) == 0, "and have the same hash");
    }
    dfx_result_free(a);
    dfx_result_free(b);
    unlink(path);
    free(path);
}

/* tests/data/checkpoints/bad/README says what is wrong in each. */
static void test_bad(void)
{
    static const struct {
        const char *name, *message;
    } bad[] = {
        { "no_index", "model_index.json is missing" },
        { "index", "model_index.json is not a JSON object" },
        { "deflated", "'model_index.json' is compressed" },
        { "upwards", "'../x.json' does not lie in the archive" },
        { "absolute", "'/x.json' does not lie in the archive" },
        { "backslash", "a character of its name" },
        { "deep", "folders one deep only" },
        { "extension", "'unet/x.bin': DDUF allows .json" },
        { "folder", "has no component 'vae'" },
        { "no_config", "folder 'unet' has none of the configs" },
        { "no_zip", "it is no ZIP archive" },
        { "pointer", "is a Git LFS pointer" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char name[64];
        dfx_checkpoint *c;
        snprintf(name, sizeof name, "checkpoints/bad/%s.dduf", bad[i].name);
        const char *path = data(name);
        if (!ok(dfx_checkpoint_open(&c, path) == DFX_ERROR_FORMAT && !c &&
                    strncmp(dfx_error(), path, strlen(path)) == 0 &&
                    strstr(dfx_error(), bad[i].message),
                "%s", name))
            printf("# %s\n", dfx_error());
        dfx_checkpoint_free(c);
    }
}

/* ---- the Hugging Face cache ---- */

#define HASH "0123456789abcdef0123456789abcdef01234567"

static void put_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        exit(99);
}

/* Whether a name leads to a file "a" with that text. */
static int finds(const char *name, const char *text)
{
    dfx_checkpoint *c;
    char *read = NULL;
    size_t bytes;
    if (dfx_checkpoint_open(&c, name) != DFX_OK)
        return 0;
    int good = dfx_checkpoint_read(&read, &bytes, c, "a") == DFX_OK && strcmp(read, text) == 0;
    free(read);
    dfx_checkpoint_free(c);
    return good;
}

static int fails(const char *name, const char *message)
{
    dfx_checkpoint *c;
    dfx_status status = dfx_checkpoint_open(&c, name);
    dfx_checkpoint_free(c);
    return status == DFX_ERROR_FILE && strstr(dfx_error(), message);
}

static const char *const cache_folders[] = {
    "hub",
    "hub/models--org--name",
    "hub/models--org--name/refs",
    "hub/models--org--name/snapshots",
    "hub/models--org--name/snapshots/" HASH,
    "hub/models--org--name/snapshots/" HASH "/unet",
};
enum { CACHE_FOLDERS = sizeof cache_folders / sizeof *cache_folders };

static void test_hub(void)
{
    for (int i = 0; i < CACHE_FOLDERS; i++)
        if (mkdir(in_folder(cache_folders[i]), 0700) != 0)
            exit(99);
    put_text("hub/models--org--name/refs/main", HASH);
    put_text("hub/models--org--name/refs/bad", "../../../..");
    put_text("hub/models--org--name/snapshots/" HASH "/a", "model");
    put_text("hub/models--org--name/snapshots/" HASH "/unet/a", "unet");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    setenv("HF_HOME", folder, 1);
    ok(finds("org/name", "model"), "ORG/NAME under HF_HOME");
    ok(finds("org/name/unet", "unet"), "a part of it");
    ok(finds("org/name@main", "model") && finds("org/name@" HASH "/unet", "unet"),
       "a branch and a commit");
    setenv("HF_HOME", "/nowhere", 1);
    setenv("HUGGINGFACE_HUB_CACHE", in_folder("hub"), 1);
    ok(finds("org/name", "model"), "HUGGINGFACE_HUB_CACHE before HF_HOME");
    setenv("HF_HUB_CACHE", "/nowhere", 1);
    ok(fails("org/name", "in /nowhere does not have it; `hf download org/name --revision main`"),
       "HF_HUB_CACHE before both: %s", dfx_error());
    setenv("HF_HUB_CACHE", in_folder("hub"), 1);
    ok(fails("org/other", "org/other: is no path"), "a model that is not there");
    ok(fails("org/name@dev", "--revision dev"), "a revision that is not there");
    ok(fails("org/name@bad", "does not have it"), "a reference that is no hash");
    dfx_checkpoint *c;
    ok(dfx_checkpoint_open(&c, "org/../name") == DFX_OK &&
           !strcmp(dfx_checkpoint_path(c), "org/../name"),
       "a path is no name of the hub");
    dfx_checkpoint_free(c);

    char *here = getcwd(NULL, 0);
    if (!here || chdir(folder) != 0 || mkdir("org", 0700) != 0)
        exit(99);
    ok(finds("org/name", "model"), "a folder ORG does not hide it");
    ok(dfx_checkpoint_open(&c, "org/other") == DFX_OK &&
           !strcmp(dfx_checkpoint_path(c), "org/other"),
       "but what is not in the cache is a path then");
    dfx_checkpoint_free(c);
    if (mkdir("org/name", 0700) != 0)
        exit(99);
    put_text("org/name/a", "local");
    ok(finds("org/name", "local"), "a local folder comes first");
    unlink("org/name/a");
    rmdir("org/name");
    rmdir("org");
    if (chdir(here) != 0)
        exit(99);
    free(here);
    unlink(in_folder("hub/models--org--name/refs/main"));
    unlink(in_folder("hub/models--org--name/refs/bad"));
    unlink(in_folder("hub/models--org--name/snapshots/" HASH "/a"));
    unlink(in_folder("hub/models--org--name/snapshots/" HASH "/unet/a"));
    for (int i = CACHE_FOLDERS; i--;)
        rmdir(in_folder(cache_folders[i]));
}

int main(void)
{
    make_folder("checkpoint");
    test_dduf();
    test_pipeline();
    test_bad();
    test_hub();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
