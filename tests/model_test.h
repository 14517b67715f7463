/* model_test.h - components of tests/data, their runs, and folders that are wrong in one place. */
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include "folder_test.h"

#include "dfxcl.h"

#include <limits.h>
#include <unistd.h>

/* The tensors "SIDE/NAME" of a run's file, as NAME. */
__attribute__((unused)) static dfx_tensors *read_side(const char *run, const char *side)
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

/* The component that a run is of. */
__attribute__((unused)) static dfx_model *open_model(const char *run)
{
    char path[128];
    dfx_model *m;
    snprintf(path, sizeof path, "%s", run);
    path[strcspn(path, ".")] = '\0';
    return dfx_model_open(&m, data(path)) == DFX_OK ? m : NULL;
}

/* ---- wrong folders ---- */

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
    return strstr(component, "text") || strstr(component, "dpt") ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
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

/* A component whose config is refused once `from` became `to`. */
struct wrong_config {
    const char *component, *from, *to;
    dfx_status status;
    const char *word; /* of the message */
};

static void test_wrong_configs(const struct wrong_config *wrong, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_config(wrong[i].component, wrong[i].from, wrong[i].to);
        link_weights(wrong[i].component);
        ok(refused(wrong[i].status, wrong[i].word, folder), "refused: %s", wrong[i].to);
        empty_folder();
    }
}

/* ---- wrong inputs ---- */

/* Runs on one tensor of zeros, but for its first id. */
__attribute__((unused)) static int forward_fails(dfx_model *m, dfx_device *d, const char *name,
                                                 const dfx_spec *spec, int64_t id, const char *word)
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

#endif
