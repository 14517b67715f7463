/* torch_file.c - the two forms of torch's files: a ZIP archive since 1.6, before that pickles with
 * the storages after them (torch/serialization.py). */
#include "weights/torch.h"

#include "core/dtype.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum { COPIES = 4 }; /* how often all storages may be copied: by tensors that share them */

static int compare_storages(const void *a, const void *b)
{
    return strcmp(((const dfx__storage *)a)->key, ((const dfx__storage *)b)->key);
}

static dfx_status read_tensors(dfx__torch *c)
{
    size_t all = 0;
    for (int i = 0; i < c->storages; i++)
        all += c->storage[i].bytes < SIZE_MAX / (2 * COPIES) - all ? c->storage[i].bytes : 0;
    c->may_copy = all * COPIES;
    if (c->storages)
        qsort(c->storage, (size_t)c->storages, sizeof *c->storage, compare_storages);
    for (int i = 1; i < c->storages; i++)
        if (compare_storages(&c->storage[i - 1], &c->storage[i]) == 0)
            return dfx__fail(DFX_ERROR_FORMAT, "storage '%.100s' is there twice",
                             c->storage[i].key);
    return dfx__torch_tensors(c);
}

/* The folder in the archive that has data.pkl, with its slash; NULL when there is none. */
static const char *find_folder(dfx__pool *pool, const dfx__zip *z)
{
    static const char file[] = "data.pkl";
    for (int i = 0; i < z->entries; i++) {
        const char *name = z->entry[i].name, *slash = strrchr(name, '/');
        if (strcmp(slash ? slash + 1 : name, file) == 0)
            return dfx__pool_print(pool, "%.*s", slash ? (int)(slash + 1 - name) : 0, name);
    }
    return NULL;
}

static const dfx__zip_entry *find_file(dfx__torch *c, const dfx__zip *z, const char *folder,
                                       const char *name)
{
    const char *path = dfx__pool_print(&c->tensors->pool, "%s%s", folder, name);
    return path ? dfx__zip_find(z, path) : NULL;
}

/* "FOLDER/data/KEY" */
static dfx_status list_entries(dfx__torch *c, const dfx__zip *z, const char *folder)
{
    const char *data = dfx__pool_print(&c->tensors->pool, "%sdata/", folder);
    c->storage = dfx__alloc((size_t)z->entries, sizeof *c->storage);
    if (!data || !c->storage)
        return dfx__no_memory();
    for (int i = 0; i < z->entries; i++) {
        const dfx__zip_entry *e = &z->entry[i];
        if (strncmp(e->name, data, strlen(data)) != 0)
            continue;
        c->storage[c->storages++] =
            (dfx__storage){ e->name + strlen(data), e->deflated ? NULL : e->data, e->bytes,
                            e->deflated ? e : NULL };
    }
    return DFX_OK;
}

/* Opens data.pkl, which an archive that another program packed has deflated. */
static dfx_status open_pickle(dfx__torch *c, const dfx__zip_entry *e)
{
    if (!e->deflated)
        return dfx__pickle_open(&c->pickle, e->data, e->bytes);
    unsigned char *text = e->bytes > DFX__PICKLE_BYTES ? NULL : malloc(e->bytes + 1);
    if (!text)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s has %zu bytes, which are too many", e->name,
                         e->bytes);
    dfx_status status = dfx__zip_inflate(text, e);
    if (status == DFX_OK)
        status = dfx__pickle_open(&c->pickle, text, e->bytes);
    free(text);
    return status;
}

static dfx_status read_archive(dfx__torch *c, const dfx__zip *z)
{
    const char *folder = find_folder(&c->tensors->pool, z);
    if (!folder)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "it is a ZIP archive, but not of torch.save");
    const dfx__zip_entry *order = find_file(c, z, folder, "byteorder");
    if (order && !order->deflated && order->bytes == 3 && memcmp(order->data, "big", 3) == 0)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "its numbers are big-endian");
    if (find_file(c, z, folder, "constants.pkl"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "it is a program of TorchScript, not a checkpoint");
    const dfx__zip_entry *pickle = find_file(c, z, folder, "data.pkl");
    if (!pickle)
        return dfx__no_memory();
    DFX__TRY(list_entries(c, z, folder));
    DFX__TRY(open_pickle(c, pickle));
    return read_tensors(c);
}

static void close_torch(dfx__torch *c)
{
    dfx__pickle_close(&c->pickle);
    free(c->storage);
}

dfx_status dfx__read_torch_zip(dfx_tensors *t, const char *path)
{
    dfx__torch c = { .tensors = t };
    dfx__zip z;
    dfx_status status = dfx__zip_open(&z, t->file.data, t->file.bytes);
    if (status == DFX_OK) {
        status = read_archive(&c, &z);
        close_torch(&c);
        dfx__zip_close(&z);
    }
    return status ? dfx__fail_in(status, "%s", path) : DFX_OK;
}

/* Reads the next pickle of an old file, whose rest begins at *at. */
static dfx_status next_pickle(dfx__pickle *out, const dfx__mapped *file, size_t *at)
{
    dfx_status status = dfx__pickle_open(out, file->data + *at, file->bytes - *at);
    *at += out->bytes;
    return status;
}

/* The three pickles before a checkpoint's: a magic number, a version, the machine. */
static dfx_status read_head(const dfx__mapped *file, size_t *at)
{
    static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    dfx__pickle p;
    for (int i = 0; i < 3; i++) {
        dfx_status status = next_pickle(&p, file, at);
        if (status == DFX_OK && i == 0 && !dfx__object_is_text(p.top, magic))
            status = dfx__fail(DFX_ERROR_UNSUPPORTED, "it is a pickle, but not of torch.save");
        if (status == DFX_OK && i == 1 && p.top->integer != 1001)
            status = dfx__fail(DFX_ERROR_UNSUPPORTED, "its version of torch's format is not 1001");
        for (int k = 0; status == DFX_OK && i == 2 && k + 1 < p.top->count; k += 2)
            if (dfx__object_is_text(p.top->item[k], "little_endian") &&
                !p.top->item[k + 1]->integer)
                status = dfx__fail(DFX_ERROR_UNSUPPORTED, "its numbers are big-endian");
        dfx__pickle_close(&p);
        DFX__TRY(status);
    }
    return DFX_OK;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const dfx__storage_id *)a)->key, ((const dfx__storage_id *)b)->key);
}

/* What the pickle says of its storages, sorted by key, to be freed; NULL without memory. */
static dfx__storage_id *list_ids(const dfx__pickle *p, size_t *count)
{
    size_t room = 0;
    for (const dfx__object *o = p->persistent; o; o = o->next)
        room++;
    dfx__storage_id *id = dfx__alloc(room, sizeof *id);
    *count = 0;
    for (const dfx__object *o = p->persistent; o && id; o = o->next)
        *count += (size_t)dfx__torch_storage_id(&id[*count], o);
    if (id && *count)
        qsort(id, *count, sizeof *id, compare_ids);
    return id;
}

static uint64_t read_count(const unsigned char *p)
{
    uint64_t n = 0;
    for (int i = 8; i--;)
        n = n << 8 | p[i];
    return n;
}

/* Finds a storage at *at: its number of elements in 8 bytes, then they. */
static dfx_status read_storage(dfx__torch *c, const char *key, const dfx__storage_id *id,
                               size_t count, size_t *at)
{
    const dfx__mapped *file = &c->tensors->file;
    const dfx__storage_id wanted = { .key = key };
    const dfx__storage_id *found =
        count ? bsearch(&wanted, id, count, sizeof *id, compare_ids) : NULL;
    dfx_dtype dtype;
    if (!found || !dfx__torch_dtype(&dtype, found->type))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "the type of storage '%.100s' is not read", key);
    size_t size = dfx_dtype_size(dtype), left = file->bytes - *at;
    uint64_t elements = left >= 8 ? read_count(file->data + *at) : UINT64_MAX;
    if (left < 8 || elements > (left - 8) / size)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "storage '%.100s' goes beyond the file; is it cut short?", key);
    c->storage[c->storages++] =
        (dfx__storage){ dfx__pool_copy(&c->tensors->pool, key), file->data + *at + 8,
                        (size_t)elements * size, NULL };
    *at += 8 + (size_t)elements * size;
    return c->storage[c->storages - 1].key ? DFX_OK : dfx__no_memory();
}

/* The storages lie after a list of their keys, in its order. */
static dfx_status read_storages(dfx__torch *c, const dfx__object *keys, size_t at)
{
    size_t count;
    dfx__storage_id *id = list_ids(&c->pickle, &count);
    c->storage = dfx__alloc((size_t)keys->count, sizeof *c->storage);
    dfx_status status = id && c->storage ? DFX_OK : dfx__no_memory();
    for (int i = 0; status == DFX_OK && i < keys->count; i++)
        status = keys->item[i]->kind == DFX__TEXT
                     ? read_storage(c, keys->item[i]->text, id, count, &at)
                     : dfx__fail(DFX_ERROR_FORMAT, "the key of a storage is no text");
    free(id);
    return status;
}

static dfx_status read_old(dfx__torch *c)
{
    size_t at = 0;
    dfx__pickle keys;
    DFX__TRY(read_head(&c->tensors->file, &at));
    DFX__TRY(next_pickle(&c->pickle, &c->tensors->file, &at));
    dfx_status status = next_pickle(&keys, &c->tensors->file, &at);
    if (status == DFX_OK && keys.top->kind != DFX__LIST)
        status = dfx__fail(DFX_ERROR_FORMAT, "it has no list of storages");
    if (status == DFX_OK)
        status = read_storages(c, keys.top, at);
    dfx__pickle_close(&keys);
    return status ? status : read_tensors(c);
}

dfx_status dfx__read_torch_old(dfx_tensors *t, const char *path)
{
    dfx__torch c = { .tensors = t };
    dfx_status status = read_old(&c);
    close_torch(&c);
    return status ? dfx__fail_in(status, "%s", path) : DFX_OK;
}
