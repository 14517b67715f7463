/* convert_folder.c - writes a Diffusers folder: texts as they are, weights in files of a size. */
#include "core/file.h"
#include "core/status.h"
#include "weights/convert.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t default_shard_size = 10000000000; /* diffusers' max_shard_size */

static dfx_status fail_errno(const char *path)
{
    return dfx__fail(DFX_ERROR_FILE, "%s: %s", path, strerror(errno));
}

static dfx_status write_bytes(const char *path, const void *data, size_t bytes)
{
    dfx__new_file file;
    DFX__TRY(dfx__file_create(&file, path));
    fwrite(data, 1, bytes, file.stream);
    return dfx__file_commit(&file);
}

static dfx_status copy_file(dfx__conversion *c, const char *from, const char *to, const char *name)
{
    dfx__mapped file;
    const char *source = dfx__pool_print(&c->pool, "%s/%s", from, name);
    const char *copy = dfx__pool_print(&c->pool, "%s/%s", to, name);
    if (!source || !copy)
        return dfx__no_memory();
    if (!dfx__file_exists(source))
        return DFX_OK;
    DFX__TRY(dfx__map_file(&file, source));
    dfx_status status = write_bytes(copy, file.data, file.bytes);
    dfx__unmap_file(&file);
    return status;
}

/* Beside the components: the index, notices, descriptions. */
static int is_text(const char *name)
{
    const char *dot = strrchr(name, '.');
    return strncmp(name, "LICENSE", 7) == 0 ||
           (dot && (!strcmp(dot, ".json") || !strcmp(dot, ".txt") || !strcmp(dot, ".md")));
}

static dfx_status copy_texts(dfx__conversion *c, const char *from, const char *to, int all)
{
    const char *const *name;
    int count;
    DFX__TRY(dfx__conversion_list(&name, &count, c, from));
    for (int i = 0; i < count; i++)
        if (name[i][0] != '.' && !dfx__is_weight_file(name[i]) && (all || is_text(name[i])))
            DFX__TRY(copy_file(c, from, to, name[i]));
    return DFX_OK;
}

/* A component's weights on their way into files. */
struct output {
    dfx__conversion *c;
    const char *folder, *basename;
    const char *dot, *variant; /* "." and the variant, or "" twice */
    dfx__written *tensor;
    int *shard; /* of each tensor */
    int tensors, shards;
    json_object *metadata;
};

/* As huggingface_hub splits: a file is full when the next tensor would make it too large. */
static uint64_t split(struct output *o)
{
    uint64_t most = o->c->options->shard_size, total = 0, size = 0;
    if (most == 0)
        most = default_shard_size;
    o->shards = 1;
    for (int i = 0; i < o->tensors; i++) {
        uint64_t bytes = dfx__written_bytes(&o->tensor[i]);
        if (size && size + bytes > most) {
            o->shards++;
            size = 0;
        }
        o->shard[i] = o->shards;
        size += bytes;
        total += bytes;
    }
    return total;
}

static const char *shard_name(const struct output *o, int shard)
{
    if (o->shards == 1)
        return dfx__pool_print(&o->c->pool, "%s%s%s.safetensors", o->basename, o->dot, o->variant);
    return dfx__pool_print(&o->c->pool, "%s%s%s-%05d-of-%05d.safetensors", o->basename, o->dot,
                           o->variant, shard, o->shards);
}

static dfx_status write_index(const struct output *o, uint64_t total)
{
    json_object *index = json_object_new_object(), *map = json_object_new_object();
    json_object *facts = json_object_new_object();
    const char *path = dfx__pool_print(&o->c->pool, "%s/%s.safetensors.index%s%s.json", o->folder,
                                       o->basename, o->dot, o->variant);
    int whole = dfx__json_put_new(facts, "total_size", json_object_new_int64((int64_t)total));
    for (int i = 0; i < o->tensors && whole; i++) {
        const char *name = shard_name(o, o->shard[i]);
        whole = name && dfx__json_put_text(map, o->tensor[i].name, name);
    }
    int both = dfx__json_put_new(index, "metadata", facts);
    both &= dfx__json_put_new(index, "weight_map", map);
    const char *text = whole && both ? dfx__json_text(index) : NULL;
    dfx_status status = path && text ? write_bytes(path, text, strlen(text)) : dfx__no_memory();
    json_object_put(index);
    return status;
}

static dfx_status write_shards(struct output *o)
{
    uint64_t total = split(o);
    if (o->shards > 1)
        DFX__TRY(write_index(o, total));
    for (int first = 0, end; first < o->tensors || first == 0; first = end) {
        int shard = o->tensors ? o->shard[first] : 1;
        const char *name = shard_name(o, shard);
        const char *path = name ? dfx__pool_print(&o->c->pool, "%s/%s", o->folder, name) : NULL;
        if (!path)
            return dfx__no_memory();
        for (end = first; end < o->tensors && o->shard[end] == shard;)
            end++;
        DFX__TRY(dfx__safetensors_write(path, o->tensor + first, end - first, o->metadata));
        if (end == first)
            break;
    }
    return DFX_OK;
}

static dfx_status write_weights(dfx__conversion *c, const dfx__component *part, const char *folder)
{
    dfx__weights *w;
    const char *variant = c->options->variant;
    DFX__TRY(dfx__conversion_weights(&w, c, part));
    struct output o = { .c = c,
                        .folder = folder,
                        .basename = part->basename,
                        .dot = variant ? "." : "",
                        .variant = variant ? variant : "",
                        .tensors = dfx__weights_count(w),
                        .metadata = json_object_new_object() };
    o.tensor = dfx__alloc((size_t)o.tensors, sizeof *o.tensor);
    o.shard = dfx__alloc((size_t)o.tensors, sizeof *o.shard);
    dfx_status status = DFX_OK;
    if (!o.tensor || !o.shard || !o.metadata)
        status = dfx__no_memory();
    for (int i = 0; status == DFX_OK && i < o.tensors; i++)
        o.tensor[i] = dfx__conversion_tensor(c, dfx__weights_at(w, i));
    if (status == DFX_OK && !dfx__json_put_text(o.metadata, "format", "pt"))
        status = dfx__no_memory();
    if (status == DFX_OK)
        status = write_shards(&o);
    json_object_put(o.metadata);
    free(o.tensor);
    free(o.shard);
    dfx__weights_free(w);
    return status;
}

static dfx_status write_all(dfx__conversion *c, const char *folder)
{
    if (c->index)
        DFX__TRY(copy_texts(c, c->from, folder, 0));
    for (int i = 0; i < c->components; i++) {
        const dfx__component *part = &c->component[i];
        const char *to =
            *part->name ? dfx__pool_print(&c->pool, "%s/%s", folder, part->name) : folder;
        if (!to)
            return dfx__no_memory();
        if (to != folder && mkdir(to, 0777) != 0)
            return fail_errno(to);
        DFX__TRY(copy_texts(c, part->folder, to, 1));
        if (part->basename)
            DFX__TRY(write_weights(c, part, to));
    }
    return DFX_OK;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static void note_entry(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
}

/* What is at the target may be an empty folder, which a rename replaces. */
static dfx_status check_target(const char *path)
{
    struct stat info;
    int entries = 0;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? DFX_OK : fail_errno(path);
    if (!S_ISDIR(info.st_mode))
        return dfx__fail(DFX_ERROR_FILE, "%s: is there already and no folder; name another", path);
    DFX__TRY(dfx__folder_list(path, note_entry, &entries));
    if (entries == 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_FILE, "%s: is there already; remove it or name another", path);
}

dfx_status dfx__convert_to_folder(dfx__conversion *c)
{
    size_t n = strlen(c->to);
    while (n > 1 && c->to[n - 1] == '/')
        n--;
    const char *to = dfx__pool_print(&c->pool, "%.*s", (int)n, c->to);
    const char *slash = to ? strrchr(to, '/') : NULL;
    const char *folder = to ? dfx__pool_print(&c->pool, "%.*s.dfx-%ld.tmp",
                                              slash ? (int)(slash - to) + 1 : 0, to, (long)getpid())
                            : NULL;
    if (!folder)
        return dfx__no_memory();
    DFX__TRY(check_target(to));
    if (mkdir(folder, 0777) != 0)
        return fail_errno(folder);
    dfx_status status = write_all(c, folder);
    if (status == DFX_OK && rename(folder, to) != 0)
        status = fail_errno(to);
    if (status != DFX_OK)
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}
