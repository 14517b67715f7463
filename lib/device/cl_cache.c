/* cl_cache.c - compiled programs on disk, one file each under $XDG_CACHE_HOME/dfxcl.
 *
 * A file holds: magic, bytes of the key, the whole key, bytes of the binary, its CRC-32, the
 * binary. It is written beside its name and renamed, so that two processes never see half of one,
 * and a torn or foreign file is just not used. */
#include "core/file.h"
#include "core/memory.h"
#include "device/cl.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char magic[8] = "dfxcl-1";

enum { HEADER = 8 + 8 + 8 + 4 };

/* The binary inside a cache file, or NULL if it is not whole or of another key. */
static const unsigned char *find_binary(const unsigned char *file, size_t bytes, const char *key,
                                        size_t *binary_bytes)
{
    uint64_t key_bytes, n;
    uint32_t crc;
    size_t length = strlen(key);
    if (bytes < HEADER || memcmp(file, magic, sizeof magic) != 0)
        return NULL;
    memcpy(&key_bytes, file + 8, 8);
    if (key_bytes != length || bytes - HEADER < length || memcmp(file + 16, key, length) != 0)
        return NULL;
    memcpy(&n, file + 16 + length, 8);
    memcpy(&crc, file + 24 + length, 4);
    const unsigned char *data = file + HEADER + length;
    if (n != bytes - HEADER - length || n == 0 || crc32_z(0, data, (size_t)n) != crc)
        return NULL;
    *binary_bytes = (size_t)n;
    return data;
}

int dfx__cl_cache_load(dfx__cl_binary *out, const char *key)
{
    char *path = dfx__cache_path(key, ".bin");
    dfx__mapped file;
    out->data = NULL;
    int mapped = path && dfx__file_exists(path) && dfx__map_file(&file, path) == DFX_OK;
    free(path);
    if (!mapped)
        return 0;
    const unsigned char *data = find_binary(file.data, file.bytes, key, &out->bytes);
    if (data && (out->data = dfx__alloc(out->bytes, 1)))
        memcpy(out->data, data, out->bytes);
    dfx__unmap_file(&file);
    return out->data != NULL;
}

void dfx__cl_cache_store(const char *key, const dfx__cl_binary *binary)
{
    char *path = dfx__cache_path(key, ".bin");
    dfx__new_file file;
    uint64_t key_bytes = strlen(key), n = binary->bytes;
    uint32_t crc = (uint32_t)crc32_z(0, binary->data, binary->bytes);
    int created = path && dfx__file_create(&file, path) == DFX_OK;
    free(path);
    if (!created)
        return; /* a cache that cannot be written costs time only */
    FILE *f = file.stream;
    int whole = fwrite(magic, sizeof magic, 1, f) == 1 && fwrite(&key_bytes, 8, 1, f) == 1 &&
                fwrite(key, key_bytes, 1, f) == 1 && fwrite(&n, 8, 1, f) == 1 &&
                fwrite(&crc, 4, 1, f) == 1 && fwrite(binary->data, binary->bytes, 1, f) == 1;
    if (whole)
        dfx__file_commit(&file);
    else
        dfx__file_abandon(&file);
}
