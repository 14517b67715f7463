/* dduf.c - DDUF: a Diffusers folder in a ZIP archive whose entries are stored as they are
 * (https://huggingface.co/docs/hub/dduf). */
#include "weights/checkpoint.h"

#include "core/json.h"
#include "core/status.h"
#include "weights/zip.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_BYTES = 1 << 20 };

/* What the mount keeps. */
struct dduf {
    dfx__mapped file;
    dfx__zip zip;
};

static void free_dduf(void *owner)
{
    struct dduf *d = owner;
    dfx__zip_close(&d->zip);
    dfx__unmap_file(&d->file);
    free(d);
}

static int is_one_of(const char *text, const char *const *list)
{
    while (*list && strcmp(text, *list) != 0)
        list++;
    return *list != NULL;
}

/* "FILE" or "FOLDER/FILE", of the kinds that the format allows. */
static dfx_status check_name(const char *name)
{
    static const char *const allowed[] = { ".json", ".model", ".safetensors", ".txt", NULL };
    const char *dot = strrchr(name, '.'), *slash = strchr(name, '/');
    if (!dot || !is_one_of(dot, allowed))
        return dfx__fail(DFX_ERROR_FORMAT,
                         "entry '%.200s': DDUF allows .json, .model, .safetensors and .txt only",
                         name);
    for (const char *c = name; *c; c++)
        if (*c == '\\' || (unsigned char)*c < ' ')
            return dfx__fail(DFX_ERROR_FORMAT,
                             "entry '%.200s': a character of its name is not "
                             "allowed",
                             name);
    if (name[0] == '/' || strncmp(name, "./", 2) == 0 || strncmp(name, "../", 3) == 0)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' does not lie in the archive", name);
    if (slash && (strchr(slash + 1, '/') || !slash[1]))
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s': DDUF has folders one deep only", name);
    return DFX_OK;
}

/* A folder is a component of the index and has a config. */
static dfx_status check_folder(const struct dduf *d, json_object *index, const char *name)
{
    static const char *const configs[] = { "config.json", "tokenizer_config.json",
                                           "preprocessor_config.json", "scheduler_config.json" };
    const char *slash = strchr(name, '/');
    char folder[256], path[320];
    if (!slash)
        return DFX_OK;
    if (slash - name >= (ptrdiff_t)sizeof folder)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s': its name is too long", name);
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    if (!json_object_object_get_ex(index, folder, NULL))
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s': model_index.json has no component '%s'",
                         name, folder);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, configs[i]);
        if (dfx__zip_find(&d->zip, path))
            return DFX_OK;
    }
    return dfx__fail(DFX_ERROR_FORMAT, "folder '%s' has none of the configs that DDUF asks for",
                     folder);
}

static dfx_status check_index(const struct dduf *d)
{
    json_object *index;
    const dfx__zip_entry *e = dfx__zip_find(&d->zip, "model_index.json");
    if (!e || e->bytes > INDEX_BYTES)
        return dfx__fail(DFX_ERROR_FORMAT, "model_index.json is %s", e ? "too large" : "missing");
    DFX__TRY(dfx__json_parse(&index, (const char *)e->data, e->bytes, "model_index.json"));
    dfx_status status = DFX_OK;
    if (!json_object_is_type(index, json_type_object))
        status = dfx__fail(DFX_ERROR_FORMAT, "model_index.json is not a JSON object");
    for (int i = 0; status == DFX_OK && i < d->zip.entries; i++)
        status = check_folder(d, index, d->zip.entry[i].name);
    json_object_put(index);
    return status;
}

/* Fills the mount's entries, which have room for all. */
static dfx_status list_entries(dfx__mount_entry *to, const struct dduf *d)
{
    for (int i = 0; i < d->zip.entries; i++) {
        const dfx__zip_entry *e = &d->zip.entry[i];
        DFX__TRY(check_name(e->name));
        if (e->deflated)
            return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' is compressed, which DDUF forbids",
                             e->name);
        to[i] = (dfx__mount_entry){ e->name, e->data, e->bytes, 1, NULL };
    }
    return check_index(d);
}

static dfx_status mount_entries(dfx__mount **out, struct dduf *d, const char *path)
{
    dfx_status status = dfx__zip_open(&d->zip, d->file.data, d->file.bytes);
    dfx__mount_entry *entry = dfx__alloc((size_t)d->zip.entries, sizeof *entry);
    if (status == DFX_OK)
        status = entry ? list_entries(entry, d) : dfx__no_memory();
    if (status != DFX_OK)
        dfx__fail_in(status, "%s", path);
    else
        status = dfx__mount_add(out, path, entry, d->zip.entries, d, free_dduf);
    free(entry);
    return status;
}

static dfx_status mount(dfx__mount **out, const char *path)
{
    struct dduf *d = calloc(1, sizeof *d);
    if (!d)
        return dfx__no_memory();
    dfx_status status = dfx__map_file(&d->file, path);
    if (status == DFX_OK)
        status = dfx__check_pointer(d->file.data, d->file.bytes, path);
    if (status == DFX_OK)
        status = mount_entries(out, d, path);
    if (status != DFX_OK)
        free_dduf(d);
    return status;
}

static const char *const ends[] = { ".dduf", NULL };
const dfx__checkpoint_kind dfx__dduf = { "DDUF", ends, mount };
