/* hub.c - finds ORG/NAME in the Hugging Face cache (huggingface_hub/file_download.py):
 * CACHE/models--ORG--NAME/refs/REVISION holds a commit's hash, snapshots/HASH its files. */
#include "weights/hub.h"

#include "core/file.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HASH_BYTES = 40, MAX_PART = 96 };

/* ORG/NAME, the revision and what follows: the parts of a hub's name. */
struct hub_name {
    const char *org, *name, *revision, *file;
};

static size_t word(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
}

/* Whether a word is one of a hub's name and no step in the file system; "--" separates words in the
 * cache. */
static int is_word(const char *text, size_t n)
{
    const char *separator = strstr(text, "--");
    return n > 0 && n <= MAX_PART && text[0] != '.' && text[0] != '-' &&
           !(separator && separator < text + n);
}

int dfx__hub_is_name(const char *name)
{
    struct stat info;
    size_t org = word(name);
    if (name[org] != '/')
        return 0;
    size_t rest = word(name + org + 1), end = org + 1 + rest;
    if (!is_word(name, org) || !is_word(name + org + 1, rest) ||
        (name[end] && name[end] != '@' && name[end] != '/'))
        return 0;
    return stat(name, &info) != 0 && !strstr(name, "..");
}

/* Takes the name apart; a revision with a slash is not known as one. */
static int split(struct hub_name *n, dfx__pool *pool, const char *name)
{
    char *copy = dfx__pool_copy(pool, name);
    if (!copy)
        return 0;
    *n = (struct hub_name){ .org = copy, .revision = "main", .file = "" };
    char *slash = strchr(copy, '/');
    *slash = 0;
    n->name = slash + 1;
    char *end = slash + 1 + strcspn(slash + 1, "@/");
    if (*end == '@') {
        *end = 0;
        n->revision = end + 1;
        end = end + 1 + strcspn(end + 1, "/");
    }
    if (*end) {
        *end = 0;
        n->file = end + 1;
    }
    return 1;
}

/* The folder of the cache, by the variables that huggingface_hub takes it from. */
static const char *cache_folder(dfx__pool *pool)
{
    static const char *const direct[] = { "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE" };
    for (int i = 0; i < 2; i++) {
        const char *value = getenv(direct[i]);
        if (value && *value)
            return dfx__pool_copy(pool, value);
    }
    const char *hf = getenv("HF_HOME"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (hf && *hf)
        return dfx__pool_print(pool, "%s/hub", hf);
    if (xdg && *xdg)
        return dfx__pool_print(pool, "%s/huggingface/hub", xdg);
    return dfx__pool_print(pool, "%s/.cache/huggingface/hub", home ? home : "");
}

static int is_hash(const char *text, size_t n)
{
    return n == HASH_BYTES && strspn(text, "0123456789abcdef") >= n;
}

/* What refs/REVISION says, else the revision itself where it is a hash; NULL: neither. */
static const char *find_hash(dfx__pool *pool, const char *folder, const char *revision)
{
    dfx__mapped file;
    const char *hash = NULL, *path = dfx__pool_print(pool, "%s/refs/%s", folder, revision);
    if (path && dfx__file_exists(path) && dfx__map_file(&file, path) == DFX_OK) {
        if (file.bytes >= HASH_BYTES && is_hash((const char *)file.data, HASH_BYTES))
            hash = dfx__pool_print(pool, "%.*s", HASH_BYTES, (const char *)file.data);
        dfx__unmap_file(&file);
    } else if (is_hash(revision, strlen(revision))) {
        hash = dfx__pool_copy(pool, revision);
    }
    return hash;
}

dfx_status dfx__hub_find(const char **path, dfx__pool *pool, const char *name)
{
    struct hub_name n;
    *path = NULL;
    const char *cache = cache_folder(pool);
    if (!cache || !split(&n, pool, name))
        return dfx__no_memory();
    const char *folder = dfx__pool_print(pool, "%s/models--%s--%s", cache, n.org, n.name);
    const char *hash = folder ? find_hash(pool, folder, n.revision) : NULL;
    const char *snapshot = hash ? dfx__pool_print(pool, "%s/snapshots/%s", folder, hash) : NULL;
    if ((!snapshot || !dfx__folder_exists(snapshot)) && dfx__folder_exists(n.org))
        return DFX_OK;
    if (!snapshot || !dfx__folder_exists(snapshot))
        return dfx__fail(DFX_ERROR_FILE,
                         "%s: is no path, and the Hugging Face cache in %s does not have it; "
                         "`hf download %s/%s --revision %s` gets it",
                         name, cache, n.org, n.name, n.revision);
    *path = *n.file ? dfx__pool_print(pool, "%s/%s", snapshot, n.file) : snapshot;
    return *path ? DFX_OK : dfx__no_memory();
}
