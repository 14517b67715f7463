/* cpu_attention.h - attention over blocks of queries, a part of dfx__cpu_kernels. */
#ifndef DFX_DEVICE_CPU_ATTENTION_H
#define DFX_DEVICE_CPU_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    DFX__ATTENTION_LINE = 32,                      /* queries of a block */
    DFX__ATTENTION_BLOCKS = 4,                     /* the most that share a step of keys */
    DFX__ATTENTION_KEYS = 128,                     /* of a step, at most */
    DFX__ATTENTION_ROWS = 8,                       /* of a panel, at most */
    DFX__ATTENTION_SPARE = DFX__ATTENTION_ROWS - 1 /* lines that a last panel may add */
};

/* Keys and values of a head as the products read them, in words of a float or of two bf16 (pairs):
 *   key   [ceil(keys / rows)][head][rows]    pairs: of channels, so head / 2 words
 *   value [ceil(head / rows)][keys][rows]    pairs: of keys, so keys / 2 words
 * Halves are rounded up, and the missing half of a pair is 0. */
typedef struct {
    float *key, *value;
    int64_t keys; /* at least 1 */
    int head, pairs;
} dfx__attention_head;

/* Queries of one head. Strides are in elements, between tokens. */
typedef struct {
    const dfx__attention_head *head;
    const void *query; /* [queries][head], bf16 where the head is in pairs, else f32 */
    float *out;        /* [queries][head] */
    size_t query_stride, out_stride;
    int64_t first; /* query i sees keys 0 .. first + i only */
    int queries;   /* at most DFX__ATTENTION_BLOCKS of DFX__ATTENTION_LINE */
    float scale;
    float *room; /* dfx__attention_room(head) floats, aligned to 64 bytes */
} dfx__attention_task;

typedef struct dfx__cpu_attention {
    int rows; /* of a panel */

    /* Pack `count` keys or values of a head from number `first` on, a multiple of `rows` and of 2.
     * `from` has rows of bf16 where the head is in pairs, else of f32; `stride` is in elements. */
    void (*pack_keys)(const dfx__attention_head *h, const void *from, size_t stride, int64_t first,
                      int64_t count);
    void (*pack_values)(const dfx__attention_head *h, const void *from, size_t stride,
                        int64_t first, int64_t count);

    /* out = softmax(scale query key^T) value */
    void (*attend)(const dfx__attention_task *t);
} dfx__cpu_attention;

extern const dfx__cpu_attention dfx__cpu_attention_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_attention dfx__cpu_attention_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_attention dfx__cpu_attention_avx512;
#endif

/* Words of a head's packed keys and values. */
static inline size_t dfx__attention_key_words(const dfx__attention_head *h, int rows)
{
    return (size_t)(h->keys + rows - 1) / (size_t)rows * (size_t)rows *
           (size_t)(h->pairs ? (h->head + 1) / 2 : h->head);
}

static inline size_t dfx__attention_value_words(const dfx__attention_head *h, int rows)
{
    return (size_t)(h->head + rows - 1) / (size_t)rows * (size_t)rows *
           (size_t)(h->pairs ? (h->keys + 1) / 2 : h->keys);
}

/* Floats that a task works in: lines of each block's queries and sums and two for its softmax, and
 * those of a step's scores. */
static inline size_t dfx__attention_room(int head)
{
    return ((size_t)(2 * (int64_t)head + DFX__ATTENTION_SPARE + 2) * DFX__ATTENTION_BLOCKS +
            DFX__ATTENTION_KEYS + DFX__ATTENTION_SPARE) *
           DFX__ATTENTION_LINE;
}

#endif
