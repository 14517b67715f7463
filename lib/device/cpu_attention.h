/* cpu_attention.h - attention over a block of queries, a part of dfx__cpu_kernels. */
#ifndef DFX_DEVICE_CPU_ATTENTION_H
#define DFX_DEVICE_CPU_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    DFX__ATTENTION_QUERIES = 32, /* of a block */
    DFX__ATTENTION_KEYS = 128,   /* of a step: their scores stay in the first-level cache */
    DFX__ATTENTION_SPARE = 7     /* rows that a last tile of 8 may write too many */
};

/* A block of queries of one head. Strides are in floats, between tokens. */
typedef struct {
    const float *query; /* [queries][head] */
    const float *key;   /* [keys][head] */
    const float *value; /* transposed, a step of keys after the other: [keys / 128][head][128],
                         * where the rows of the last step are as long as it has keys */
    float *out;         /* [queries][head] */
    size_t query_stride, key_stride, out_stride;
    int64_t keys;  /* at least 1 */
    int64_t first; /* query i sees keys 0 .. first + i only */
    int queries, head;
    float scale;
    float *room; /* dfx__attention_room(head) floats, aligned to 64 bytes */
} dfx__attention_block;

typedef struct dfx__cpu_attention {
    /* out = softmax(scale query key^T) value */
    void (*block)(const dfx__attention_block *b);

    /* to[c to_stride + r] = from[r from_stride + c] */
    void (*transpose)(float *to, size_t to_stride, const float *from, size_t from_stride,
                      size_t rows, size_t columns);
} dfx__cpu_attention;

extern const dfx__cpu_attention dfx__cpu_attention_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_attention dfx__cpu_attention_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_attention dfx__cpu_attention_avx512;
#endif

/* Floats that a block works in: lines of its queries, scores and sums, and two for softmax. */
static inline size_t dfx__attention_room(int head)
{
    return (size_t)(2 * (int64_t)head + DFX__ATTENTION_KEYS + 2 * DFX__ATTENTION_SPARE + 2) *
           DFX__ATTENTION_QUERIES;
}

#endif
