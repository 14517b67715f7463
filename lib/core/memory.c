/* memory.c - pools and aligned memory. */
#include "core/memory.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 * 1024 };

struct dfx__chunk {
    struct dfx__chunk *next;
    size_t used, size;
    alignas(max_align_t) unsigned char bytes[];
};

void *dfx__pool_alloc(dfx__pool *pool, size_t bytes)
{
    size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    struct dfx__chunk *c = pool->chunks;
    if (!c || c->size - c->used < bytes) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        c = calloc(1, sizeof *c + size);
        if (!c)
            return NULL;
        c->size = size;
        c->next = pool->chunks;
        pool->chunks = c;
    }
    void *p = c->bytes + c->used;
    c->used += bytes;
    return p;
}

char *dfx__pool_copy(dfx__pool *pool, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = dfx__pool_alloc(pool, n);
    return copy ? memcpy(copy, text, n) : NULL;
}

char *dfx__pool_print(dfx__pool *pool, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : dfx__pool_alloc(pool, (size_t)n + 1);
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)n + 1, format, args);
        va_end(args);
    }
    return text;
}

void dfx__pool_free(dfx__pool *pool)
{
    for (struct dfx__chunk *c = pool->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    pool->chunks = NULL;
}

void *dfx__alloc_aligned(size_t bytes)
{
    if (bytes > SIZE_MAX - 64)
        return NULL;
    size_t size = (bytes + 63) / 64 * 64;
    void *p = aligned_alloc(64, size ? size : 64);
    return p ? memset(p, 0, size) : NULL;
}

void *dfx__alloc(size_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}
