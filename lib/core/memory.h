/* memory.h - a pool: many small allocations that are freed together. */
#ifndef DFX_CORE_MEMORY_H
#define DFX_CORE_MEMORY_H

#include <stddef.h>

typedef struct dfx__pool {
    struct dfx__chunk *chunks;
} dfx__pool;
#define DFX__POOL_INIT                                                                             \
    {                                                                                              \
        NULL                                                                                       \
    }

/* Zeroed memory, aligned for any type, that lives as long as the pool; NULL when there is none. */
void *dfx__pool_alloc(dfx__pool *pool, size_t bytes);
char *dfx__pool_copy(dfx__pool *pool, const char *text);
char *dfx__pool_print(dfx__pool *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void dfx__pool_free(dfx__pool *pool);

/* Zeroed memory aligned to 64 bytes for arithmetic on vectors; free() takes it. */
void *dfx__alloc_aligned(size_t bytes);

/* calloc that refuses products that overflow and takes 0. */
void *dfx__alloc(size_t count, size_t size);

#endif
