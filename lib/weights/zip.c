/* zip.c - a bounded reader of a ZIP archive's central directory. */
#include "weights/zip.h"

#include "core/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { END = 22, END64 = 56, LOCATOR = 20, CENTRAL = 46, LOCAL = 30, MAX_COMMENT = 65535 };
enum { ENCRYPTED = 1, STORED = 0, DEFLATED = 8 };

/* Deflate packs no better than 1032 to 1. */
enum { MAX_RATIO = 1032, RATIO_ROOM = 64 };

struct directory {
    const unsigned char *data; /* the archive */
    size_t bytes;
    uint64_t begin, size, entries; /* of the directory */
};

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t n = 0;
    while (bytes--)
        n = n << 8 | p[bytes];
    return n;
}

int dfx__is_zip(const unsigned char *data, size_t bytes)
{
    return bytes >= END &&
           (memcmp(data, "PK\3\4", 4) == 0 || memcmp(data, "PK\5\6", 4) == 0); /* or an empty one */
}

/* The end record, which a comment may follow; NULL when there is none. */
static const unsigned char *find_end(const unsigned char *data, size_t bytes)
{
    for (size_t comment = 0; comment <= MAX_COMMENT && comment + END <= bytes; comment++) {
        const unsigned char *end = data + bytes - comment - END;
        if (memcmp(end, "PK\5\6", 4) == 0 && number(end + 20, 2) == comment)
            return end;
    }
    return NULL;
}

/* Follows the locator before the end record to that of ZIP64, where there is one. */
static dfx_status read_end64(struct directory *d, const unsigned char *end)
{
    const unsigned char *locator = end - LOCATOR;
    if (end - d->data < LOCATOR || memcmp(locator, "PK\6\7", 4) != 0)
        return DFX_OK;
    uint64_t at = number(locator + 8, 8);
    if (at > d->bytes || d->bytes - at < END64 || memcmp(d->data + at, "PK\6\6", 4) != 0)
        return dfx__fail(DFX_ERROR_FORMAT, "the archive's ZIP64 directory is not where it says");
    const unsigned char *end64 = d->data + at;
    if (number(end64 + 16, 4) != 0 || number(end64 + 20, 4) != 0)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "the archive is split into several files");
    d->entries = number(end64 + 32, 8);
    d->size = number(end64 + 40, 8);
    d->begin = number(end64 + 48, 8);
    return DFX_OK;
}

static dfx_status read_end(struct directory *d)
{
    const unsigned char *end = find_end(d->data, d->bytes);
    if (!end)
        return dfx__fail(DFX_ERROR_FORMAT, "the archive has no directory; is it cut short?");
    d->entries = number(end + 10, 2);
    d->size = number(end + 12, 4);
    d->begin = number(end + 16, 4);
    uint64_t disk = number(end + 4, 2);
    if (disk != 0 && disk != 0xffff)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "the archive is split into several files");
    DFX__TRY(read_end64(d, end));
    if (d->begin > d->bytes || d->size > d->bytes - d->begin || d->entries > d->size / CENTRAL)
        return dfx__fail(DFX_ERROR_FORMAT, "the archive's directory is not within it");
    return DFX_OK;
}

/* What a record of the directory says; sizes of ZIP64 come from its extra field. */
struct record {
    const unsigned char *at;
    size_t length; /* of the whole record */
    size_t name, extra;
    uint64_t stored, bytes, begin;
};

/* Takes the next 8 bytes of the ZIP64 field for a number that has no room in the record. */
static int widen(uint64_t *n, const unsigned char **field, size_t *left)
{
    if (*n != 0xffffffff)
        return 1;
    if (*left < 8)
        return 0;
    *n = number(*field, 8);
    *field += 8;
    *left -= 8;
    return 1;
}

static int read_extra(struct record *r)
{
    const unsigned char *field = r->at + CENTRAL + r->name, *end = field + r->extra;
    while (end - field >= 4) {
        size_t id = number(field, 2), size = number(field + 2, 2);
        field += 4;
        if ((size_t)(end - field) < size)
            return 0;
        if (id == 1)
            return widen(&r->bytes, &field, &size) && widen(&r->stored, &field, &size) &&
                   widen(&r->begin, &field, &size);
        field += size;
    }
    return 1;
}

static int read_record(struct record *r, const unsigned char *at, size_t left)
{
    if (left < CENTRAL || memcmp(at, "PK\1\2", 4) != 0)
        return 0;
    *r = (struct record){ .at = at, .name = number(at + 28, 2), .extra = number(at + 30, 2) };
    r->length = CENTRAL + r->name + r->extra + number(at + 32, 2);
    r->stored = number(at + 20, 4);
    r->bytes = number(at + 24, 4);
    r->begin = number(at + 42, 4);
    return r->length <= left && read_extra(r);
}

/* Finds the data behind the local header, which repeats the name. */
static dfx_status find_data(dfx__zip_entry *e, const struct directory *d, const struct record *r)
{
    const unsigned char *local = d->data + r->begin;
    if (r->begin > d->begin || d->begin - r->begin < LOCAL || memcmp(local, "PK\3\4", 4) != 0)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' is not where the directory says",
                         e->name);
    uint64_t room = d->begin - r->begin - LOCAL, name = number(local + 26, 2);
    uint64_t extra = number(local + 28, 2);
    if (name != r->name || name + extra > room ||
        memcmp(local + LOCAL, r->at + CENTRAL, r->name) != 0)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' has another name where it lies",
                         e->name);
    if (r->stored > room - name - extra)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' goes on beyond the archive's data",
                         e->name);
    e->data = local + LOCAL + name + extra;
    return DFX_OK;
}

static dfx_status read_entry(dfx__zip_entry *e, const struct directory *d, const struct record *r)
{
    uint64_t flags = number(r->at + 8, 2), method = number(r->at + 10, 2);
    if (flags & ENCRYPTED)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "entry '%.200s' is encrypted", e->name);
    if (method != STORED && method != DEFLATED)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "entry '%.200s' is packed by method %" PRIu64 "; only deflate is read",
                         e->name, method);
    DFX__TRY(find_data(e, d, r));
    int fits =
        method == STORED ? r->bytes == r->stored : r->bytes <= r->stored * MAX_RATIO + RATIO_ROOM;
    if (!fits || r->bytes > PTRDIFF_MAX)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "entry '%.200s' cannot have %" PRIu64 " bytes, from %" PRIu64 " stored",
                         e->name, r->bytes, r->stored);
    e->stored = (size_t)r->stored;
    e->bytes = (size_t)r->bytes;
    e->crc = (uint32_t)number(r->at + 16, 4);
    e->deflated = method == DEFLATED;
    return DFX_OK;
}

static int compare_places(const void *a, const void *b)
{
    const dfx__zip_entry *x = a, *y = b;
    return x->data != y->data ? (x->data > y->data) - (x->data < y->data)
                              : (x->stored > y->stored) - (x->stored < y->stored);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const dfx__zip_entry *)a)->name, ((const dfx__zip_entry *)b)->name);
}

/* Entries that share bytes are how a small archive says that it holds much. */
static dfx_status check_entries(dfx__zip *z)
{
    qsort(z->entry, (size_t)z->entries, sizeof *z->entry, compare_places);
    for (int i = 1; i < z->entries; i++)
        if (z->entry[i].data < z->entry[i - 1].data + z->entry[i - 1].stored)
            return dfx__fail(DFX_ERROR_FORMAT, "entries '%.200s' and '%.200s' overlap",
                             z->entry[i - 1].name, z->entry[i].name);
    qsort(z->entry, (size_t)z->entries, sizeof *z->entry, compare_names);
    for (int i = 1; i < z->entries; i++)
        if (compare_names(&z->entry[i - 1], &z->entry[i]) == 0)
            return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' is there twice", z->entry[i].name);
    return DFX_OK;
}

static dfx_status read_entries(dfx__zip *z, const struct directory *d)
{
    const unsigned char *at = d->data + d->begin;
    size_t left = (size_t)d->size;
    struct record r;
    for (uint64_t i = 0; i < d->entries; i++, at += r.length, left -= r.length) {
        dfx__zip_entry *e = &z->entry[z->entries++];
        if (!read_record(&r, at, left) || memchr(at + CENTRAL, 0, r.name))
            return dfx__fail(DFX_ERROR_FORMAT,
                             "record %" PRIu64 " of the archive's directory is "
                             "broken",
                             i);
        char *name = dfx__pool_alloc(&z->pool, r.name + 1);
        if (!name)
            return dfx__no_memory();
        e->name = memcpy(name, at + CENTRAL, r.name);
        DFX__TRY(read_entry(e, d, &r));
    }
    return check_entries(z);
}

dfx_status dfx__zip_open(dfx__zip *out, const unsigned char *data, size_t bytes)
{
    struct directory d = { .data = data, .bytes = bytes };
    *out = (dfx__zip){ .entries = 0 };
    if (!dfx__is_zip(data, bytes))
        return dfx__fail(DFX_ERROR_FORMAT, "it is no ZIP archive");
    DFX__TRY(read_end(&d));
    if (d.entries > INT32_MAX)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "the archive has too many entries");
    out->entry = dfx__pool_alloc(&out->pool, (size_t)d.entries * sizeof *out->entry);
    dfx_status status = out->entry ? read_entries(out, &d) : dfx__no_memory();
    if (status != DFX_OK)
        dfx__zip_close(out);
    return status;
}

void dfx__zip_close(dfx__zip *z)
{
    dfx__pool_free(&z->pool);
    *z = (dfx__zip){ .entries = 0 };
}

const dfx__zip_entry *dfx__zip_find(const dfx__zip *z, const char *name)
{
    const dfx__zip_entry key = { .name = name };
    if (!z->entries)
        return NULL;
    return bsearch(&key, z->entry, (size_t)z->entries, sizeof *z->entry, compare_names);
}

/* zlib counts in 32 bits: input and output go in pieces. */
static int inflate_all(z_stream *s, unsigned char *to, const dfx__zip_entry *e)
{
    enum { PIECE = 1 << 30 };
    size_t in = e->stored, out = e->bytes;
    int result = Z_OK;
    s->next_in = (unsigned char *)e->data;
    s->next_out = to;
    while (result == Z_OK) {
        uInt more = in < PIECE ? (uInt)in : PIECE, room = out < PIECE ? (uInt)out : PIECE;
        s->avail_in = more;
        s->avail_out = room;
        result = inflate(s, Z_NO_FLUSH);
        in -= more - s->avail_in;
        out -= room - s->avail_out;
    }
    return result == Z_STREAM_END && in == 0 && out == 0;
}

dfx_status dfx__zip_inflate(void *to, const dfx__zip_entry *e)
{
    z_stream s = { .zalloc = Z_NULL };
    unsigned char none;
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        return dfx__no_memory();
    int whole = inflate_all(&s, e->bytes ? to : &none, e);
    inflateEnd(&s);
    if (!whole || crc32_z(crc32_z(0, NULL, 0), to, e->bytes) != e->crc)
        return dfx__fail(DFX_ERROR_FORMAT, "entry '%.200s' is damaged", e->name);
    return DFX_OK;
}
