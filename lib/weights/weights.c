/* weights.c - finds a component's weight files, and gives its tensors to the blocks by name. */
#include "weights/weights.h"

#include "core/dtype.h"
#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"
#include "weights/key_map.h"
#include "weights/tensors.h"

#include <stdlib.h>
#include <string.h>

struct file {
    const char *name, *path;
    dfx_tensors *tensors;
};

struct entry {
    dfx_weight weight;
    const dfx_tensor *tensor;
    const struct file *file;
};

struct dfx__weights {
    dfx__pool pool;
    struct file *file; /* sorted by name */
    int files;
    struct entry *entry; /* sorted by name */
    int entries;
    const char *variant; /* which the files are of; NULL: plain ones */
};

static dfx_status add_file(dfx__weights *w, const char *folder, const char *name)
{
    struct file *f = &w->file[w->files++];
    char *path = dfx__path_join(folder, name);
    f->name = dfx__pool_copy(&w->pool, name);
    f->path = path ? dfx__pool_copy(&w->pool, path) : NULL;
    free(path);
    if (!f->name || !f->path)
        return dfx__no_memory();
    return dfx__tensors_open_in_place(&f->tensors, f->path);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->tensor->name, ((const struct entry *)b)->tensor->name);
}

/* Makes an entry of every tensor of every file. */
static dfx_status fill_entries(dfx__weights *w)
{
    int64_t count = 0;
    for (int i = 0; i < w->files; i++)
        count += dfx_tensors_count(w->file[i].tensors);
    if (count > INT32_MAX || !(w->entry = dfx__alloc((size_t)count, sizeof *w->entry)))
        return dfx__no_memory();
    for (int i = 0; i < w->files; i++)
        for (int k = 0; k < dfx_tensors_count(w->file[i].tensors); k++) {
            const dfx_tensor *t = dfx_tensors_at(w->file[i].tensors, k);
            struct entry *e = &w->entry[w->entries++];
            e->tensor = t;
            e->file = &w->file[i];
            e->weight = (dfx_weight){ .name = t->name, .spec = t->spec, .data = t->data };
            e->weight.file = e->file->path;
            e->weight.is_mapped = dfx__tensor_is_mapped(w->file[i].tensors, t);
        }
    qsort(w->entry, (size_t)w->entries, sizeof *w->entry, compare_entries);
    for (int i = 1; i < w->entries; i++)
        if (compare_entries(&w->entry[i - 1], &w->entry[i]) == 0)
            return dfx__fail(DFX_ERROR_FORMAT, "%s: tensor '%.200s' is also in %s",
                             w->entry[i].file->path, w->entry[i].tensor->name,
                             w->entry[i - 1].file->name);
    return DFX_OK;
}

static struct entry *find_entry(const dfx__weights *w, const char *name)
{
    const dfx_tensor tensor = { .name = name };
    const struct entry key = { .tensor = &tensor };
    return bsearch(&key, w->entry, (size_t)w->entries, sizeof *w->entry, compare_entries);
}

/* A shard lies in the index's own folder, whatever the index says. */
static dfx_status check_shard(const char *shard, const char *index)
{
    if (!shard)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: weight_map must give a file name for each tensor",
                         index);
    if (!(dfx__ends_with(shard, ".safetensors") || dfx__ends_with(shard, ".bin")) ||
        strchr(shard, '/') || strchr(shard, '\\'))
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: shard '%.200s' is not a .safetensors or .bin file of the same folder",
                         index, shard);
    return DFX_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The file name in the weight map under an iterator; NULL when it is no string. */
static const char *shard_at(const struct json_object_iterator *i)
{
    json_object *shard = json_object_iter_peek_value(i);
    return json_object_is_type(shard, json_type_string) ? json_object_get_string(shard) : NULL;
}

/* Opens each file that the map names, once. `name` has room for all of the map. */
static dfx_status open_shards(dfx__weights *w, json_object *map, const char **name,
                              const char *folder, const char *index)
{
    size_t count = 0;
    struct json_object_iterator i = json_object_iter_begin(map), end = json_object_iter_end(map);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        DFX__TRY(check_shard(shard_at(&i), index));
        name[count++] = shard_at(&i);
    }
    qsort(name, count, sizeof *name, compare_names);
    size_t distinct = 0;
    for (size_t k = 0; k < count; k++)
        if (k == 0 || strcmp(name[k], name[distinct - 1]) != 0)
            name[distinct++] = name[k];
    w->file = dfx__alloc(distinct, sizeof *w->file);
    if (!w->file)
        return dfx__no_memory();
    for (size_t k = 0; k < distinct; k++)
        DFX__TRY(add_file(w, folder, name[k]));
    return fill_entries(w);
}

/* Each tensor must be in the file that the index gives. */
static dfx_status check_map(const dfx__weights *w, json_object *map, const char *index)
{
    struct json_object_iterator i = json_object_iter_begin(map), end = json_object_iter_end(map);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        const char *name = json_object_iter_peek_name(&i), *shard = shard_at(&i);
        const struct entry *e = find_entry(w, name);
        if (!e || strcmp(e->file->name, shard) != 0)
            return dfx__fail(DFX_ERROR_FORMAT, "%s: tensor '%.200s' is not in %.200s", index, name,
                             shard);
    }
    return DFX_OK;
}

static dfx_status open_index(dfx__weights *w, const char *folder, const char *index)
{
    json_object *root = NULL;
    DFX__TRY(dfx__json_read(&root, index));
    json_object *map = dfx__json_get(root, "weight_map", json_type_object);
    dfx_status status;
    const char **name = NULL;
    if (!map)
        status = dfx__fail(DFX_ERROR_FORMAT, "%s: has no weight_map", index);
    else if (!(name = dfx__alloc((size_t)json_object_object_length(map), sizeof *name)))
        status = dfx__no_memory();
    else
        status = open_shards(w, map, name, folder, index);
    if (status == DFX_OK)
        status = check_map(w, map, index);
    free(name);
    json_object_put(root);
    return status;
}

static dfx_status open_single(dfx__weights *w, const char *folder, const char *name)
{
    w->file = dfx__alloc(1, sizeof *w->file);
    if (!w->file)
        return dfx__no_memory();
    DFX__TRY(add_file(w, folder, name));
    return fill_entries(w);
}

/* A form of file names; `base` has another name in transformers' .bin files. */
struct naming {
    const char *base, *ending, *variant;
};

/* BASE[.VARIANT].safetensors */
static const char *single_name(dfx__weights *w, const struct naming *n)
{
    return dfx__pool_print(&w->pool, "%s%s%s%s", n->base, n->variant ? "." : "",
                           n->variant ? n->variant : "", n->ending);
}

/* BASE.safetensors.index[.VARIANT].json or, `old`, as diffusers wrote until 0.30,
 * BASE.safetensors[.VARIANT].index.json */
static const char *index_name(dfx__weights *w, const struct naming *n, int old)
{
    const char *dot = n->variant ? "." : "", *variant = n->variant ? n->variant : "";
    if (old)
        return dfx__pool_print(&w->pool, "%s%s%s%s.index.json", n->base, n->ending, dot, variant);
    return dfx__pool_print(&w->pool, "%s%s.index%s%s.json", n->base, n->ending, dot, variant);
}

/* *found stays 0 when neither one file nor an index of shards is there. */
static dfx_status open_named(dfx__weights *w, const char *folder, const struct naming *n,
                             int *found)
{
    const char *single = single_name(w, n);
    *found = single != NULL;
    if (!single)
        return dfx__no_memory();
    if (dfx__file_exists_in(folder, single))
        return open_single(w, folder, single);
    for (int old = 0; old < (n->variant ? 2 : 1); old++) {
        const char *name = index_name(w, n, old), *index = NULL;
        if (name && !dfx__file_exists_in(folder, name))
            continue;
        if (name)
            index = dfx__pool_print(&w->pool, "%s/%s", folder, name);
        return index ? open_index(w, folder, index) : dfx__no_memory();
    }
    *found = 0;
    return DFX_OK;
}

/* Safetensors first, then torch's. */
static dfx_status open_variant(dfx__weights *w, const char *folder, const char *basename,
                               const char *variant, int *found)
{
    const char *torch = strcmp(basename, "model") == 0 ? "pytorch_model" : basename;
    const struct naming safetensors = { basename, ".safetensors", variant };
    const struct naming bin = { torch, ".bin", variant };
    DFX__TRY(open_named(w, folder, &safetensors, found));
    if (!*found)
        DFX__TRY(open_named(w, folder, &bin, found));
    if (*found && variant)
        w->variant = dfx__pool_copy(&w->pool, variant);
    return DFX_OK;
}

/* The first name in a folder, in alphabetical order, of a format that is not read. */
struct other {
    dfx__pool *pool;
    const char *first; /* NULL when there is none */
};

static void note_other(void *user, const char *name)
{
    static const char *const ends[] = { ".safetensors", ".bin",  ".ckpt", ".pt", ".pth",
                                        ".msgpack",     ".gguf", ".onnx", ".h5" };
    struct other *o = user;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (dfx__ends_with(name, ends[i]) && (!o->first || strcmp(name, o->first) < 0))
            o->first = dfx__pool_copy(o->pool, name);
}

static dfx_status fail_missing(dfx__weights *w, const char *folder, const char *basename)
{
    if (!dfx__folder_exists(folder))
        return dfx__fail(DFX_ERROR_FILE, "%s: there is no such folder", folder);
    struct other other = { &w->pool, NULL };
    dfx__folder_list(folder, note_other, &other);
    if (other.first)
        return dfx__fail(
            DFX_ERROR_UNSUPPORTED,
            "%s: has %s, and of weights %s.safetensors is read, as one file, shards or "
            ".bin; of others only a variant that is asked for",
            folder, other.first, basename);
    return dfx__fail(DFX_ERROR_FILE,
                     "%s: has no weights: neither %s.safetensors nor %s.safetensors.index.json nor "
                     "such files of variant fp16 or .bin",
                     folder, basename, basename);
}

static dfx_status open_any(dfx__weights *w, const char *folder, const char *basename,
                           const char *variant)
{
    int found;
    DFX__TRY(open_variant(w, folder, basename, variant, &found));
    if (!found)
        DFX__TRY(open_variant(w, folder, basename, variant ? NULL : "fp16", &found));
    if (!found)
        return fail_missing(w, folder, basename);
    if (variant && !w->variant)
        dfx__log("%s: has no weights of variant %s: takes %s", folder, variant, w->file[0].name);
    return DFX_OK;
}

dfx_status dfx__weights_open(dfx__weights **out, const char *folder, const char *basename,
                             const char *variant)
{
    dfx__weights *w = calloc(1, sizeof *w);
    if (!w)
        return dfx__no_memory();
    if (variant && (!*variant || strchr(variant, '/'))) {
        free(w);
        return dfx__fail(DFX_ERROR_ARGUMENT, "variant '%s' is no part of a file name", variant);
    }
    dfx_status status = open_any(w, folder, basename, variant);
    if (status)
        dfx__weights_free(w);
    else
        *out = w;
    return status;
}

void dfx__weights_free(dfx__weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->files; i++)
        dfx_tensors_free(w->file[i].tensors);
    free(w->file);
    free(w->entry);
    dfx__pool_free(&w->pool);
    free(w);
}

dfx_weight *dfx__weights_take(dfx__weights *w, const char *name)
{
    struct entry *e = find_entry(w, name);
    if (!e)
        return NULL;
    e->weight.used = 1;
    return &e->weight;
}

const dfx_tensor *dfx__weights_find(const dfx__weights *w, const char *name)
{
    const struct entry *e = find_entry(w, name);
    return e ? e->tensor : NULL;
}

const char *dfx__weights_file_name(const dfx__weights *w, const char *name, char room[512])
{
    dfx__key key;
    const dfx_tensors *t = w->files ? w->file[0].tensors : NULL;
    if (!t || !t->keys || !dfx__key_to_original(t->keys, name, &key))
        return NULL;
    snprintf(room, 512, "%s%s", t->prefix, key.name);
    return room;
}

int dfx__weights_count(const dfx__weights *w)
{
    return w->entries;
}

const dfx_weight *dfx__weights_at(const dfx__weights *w, int index)
{
    return index >= 0 && index < w->entries ? &w->entry[index].weight : NULL;
}

int64_t dfx__weights_parameters(const dfx__weights *w)
{
    int64_t n = 0;
    for (int i = 0; i < w->entries; i++)
        n += (int64_t)dfx__elements(&w->entry[i].tensor->spec);
    return n;
}

int dfx__weights_unused(const dfx__weights *w, const char **name, int room)
{
    int n = 0;
    for (int i = 0; i < w->entries; i++)
        if (!w->entry[i].weight.used) {
            if (n < room)
                name[n] = w->entry[i].weight.name;
            n++;
        }
    return n;
}

const char *dfx__weights_variant(const dfx__weights *w)
{
    return w->variant;
}

const char *dfx__weights_file(const dfx__weights *w, int index)
{
    return index >= 0 && index < w->files ? w->file[index].path : NULL;
}
