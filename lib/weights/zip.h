/* zip.h - the entries of a ZIP archive that is in memory (PKWARE's APPNOTE 6.3.10, with ZIP64). */
#ifndef DFX_WEIGHTS_ZIP_H
#define DFX_WEIGHTS_ZIP_H

#include "core/memory.h"
#include "dfxcl/base.h"

typedef struct {
    const char *name;
    const unsigned char *data; /* as it is stored */
    size_t stored, bytes;      /* of data, and of what it holds: equal where it is not deflated */
    uint32_t crc;
    int deflated;
} dfx__zip_entry;

typedef struct {
    dfx__pool pool;
    dfx__zip_entry *entry; /* sorted by name */
    int entries;
} dfx__zip;

int dfx__is_zip(const unsigned char *data, size_t bytes);

/* Reads the central directory of an archive, which stays the caller's and must live as long. Every
 * entry lies within it, none overlaps another, and names are UTF-8 or ASCII, each there once. What
 * is encrypted, split, or packed by another method than deflate is refused.
 * Errors (without the archive's name): DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED, DFX_ERROR_MEMORY.
 */
dfx_status dfx__zip_open(dfx__zip *out, const unsigned char *data, size_t bytes);
void dfx__zip_close(dfx__zip *z);

/* NULL when there is none of that name. */
const dfx__zip_entry *dfx__zip_find(const dfx__zip *z, const char *name);

/* Writes the e->bytes of a deflated entry. Error: DFX_ERROR_FORMAT when it does not inflate to just
 * these. */
dfx_status dfx__zip_inflate(void *to, const dfx__zip_entry *e);

#endif
