/* cpu_attention.c - attention over a block of queries, compiled once for each instruction set
 * DFX_ISA.
 *
 * Queries lie across the lanes, so no operation of softmax crosses lanes and both products are
 * calls of the tile of cpu_tile.c: scores [keys][32] = key [keys][head] query^T [head][32], and
 * sums [head][32] = value^T [head][keys] weights [keys][32]. The block keeps each query's largest
 * score and sum of weights, and rescales when they grow (Milakov & Gimelshein 2018). */
#include "device/cpu_attention.h"

#include "device/cpu_tile.h"

#include <string.h>

#define NAME_(prefix, isa) prefix##isa
#define NAME(prefix, isa) NAME_(prefix, isa)

#if defined __AVX512F__
enum { WIDTH = 16, SQUARE = 8 };
#elif defined __AVX2__
enum { WIDTH = 8, SQUARE = 8 };
#else
enum { WIDTH = 4, SQUARE = 4 };
#endif

enum {
    QUERIES = DFX__ATTENTION_QUERIES,
    KEYS = DFX__ATTENTION_KEYS,
    CHUNK = 128, /* of a head: its queries stay in the first-level cache */
    SPARE = DFX__ATTENTION_SPARE
};

_Static_assert((int)QUERIES == (int)DFX__TILE_COLUMNS, "a block of queries is a tile's columns");
_Static_assert(SPARE + 1 >= (int)DFX__TILE_ROWS, "a tile's rows fit into the spare ones");

/* Below every score that matters, and finite: weights of masked keys become exactly 0. */
static const float masked = -1e30f;

typedef float vector __attribute__((vector_size(WIDTH * 4), may_alias));
typedef int32_t ints __attribute__((vector_size(WIDTH * 4)));
typedef float square_row __attribute__((vector_size(SQUARE * 4)));
typedef float any_row __attribute__((vector_size(SQUARE * 4), aligned(4), may_alias));

/* One line of a block: a number for each query. */
typedef float line[QUERIES];

static inline square_row interleave(square_row a, square_row b, int half)
{
#if defined __AVX2__
    typedef int32_t order __attribute__((vector_size(32)));
    return half ? __builtin_shuffle(a, b, (order){ 4, 12, 5, 13, 6, 14, 7, 15 })
                : __builtin_shuffle(a, b, (order){ 0, 8, 1, 9, 2, 10, 3, 11 });
#else
    typedef int32_t order __attribute__((vector_size(16)));
    return half ? __builtin_shuffle(a, b, (order){ 2, 6, 3, 7 })
                : __builtin_shuffle(a, b, (order){ 0, 4, 1, 5 });
#endif
}

static inline void transpose_square(float *to, size_t to_stride, const float *from,
                                    size_t from_stride)
{
    square_row v[SQUARE], w[SQUARE];
    for (int i = 0; i < SQUARE; i++)
        v[i] = *(const any_row *)(from + (size_t)i * from_stride);
#pragma GCC unroll 3
    for (int step = 1; step < SQUARE; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < SQUARE; i++)
            w[i] = interleave(v[i / 2], v[i / 2 + SQUARE / 2], i % 2);
        memcpy(v, w, sizeof v);
    }
    for (int i = 0; i < SQUARE; i++)
        *(any_row *)(to + (size_t)i * to_stride) = v[i];
}

static void transpose(float *to, size_t to_stride, const float *from, size_t from_stride,
                      size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r += SQUARE) {
        size_t c = 0;
        if (rows - r >= SQUARE)
            for (; c + SQUARE <= columns; c += SQUARE)
                transpose_square(to + c * to_stride + r, to_stride, from + r * from_stride + c,
                                 from_stride);
        for (; c < columns; c++)
            for (size_t i = r; i < rows && i < r + SQUARE; i++)
                to[c * to_stride + i] = from[i * from_stride + c];
    }
}

/* The larger ones; of b where a is NaN. */
static inline vector larger(vector a, vector b)
{
    ints mask = (ints)(a > b);
    return (vector)((mask & (ints)a) | (~mask & (ints)b));
}

/* 2^x for x <= 0 within 1.6e-7 of it; exactly 0 below -127. NaN stays NaN. */
static inline vector power_of_2(vector x)
{
    x = larger((vector){ 0 } - 127, x);
    ints n = __builtin_convertvector(x - 0.5f, ints);
    vector f = x - __builtin_convertvector(n, vector);
    vector p = f * 0x1.5bba14p-10f + 0x1.3cea88p-7f;
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
    p = p * f + 1.0f;
    return (vector)((ints)p + (n << 23));
}

/* to [rows][32] += a [rows][k] b [k][32], where rows of a are `stride` apart. Writes up to SPARE
 * rows more, which mean nothing. */
static void multiply(line *to, const float *a, size_t stride, const float *b, int rows, int k)
{
    const struct dfx__cpu_kernels *kernels = &NAME(dfx__cpu_, DFX_ISA);
    for (int r = 0; r < rows; r += kernels->rows) {
        const float *row[DFX__TILE_ROWS];
        for (int i = 0; i < kernels->rows; i++)
            row[i] = a + (size_t)(r + i < rows ? r + i : rows - 1) * stride;
        kernels->tile(to[r], row, b, (size_t)k);
    }
}

/* What a block works in: lines of its room. */
typedef struct {
    line *query;  /* [head] */
    line *scores; /* [KEYS + SPARE], then weights */
    line *sums;   /* [head + SPARE] */
    line *most;   /* [1] the largest score */
    line *total;  /* [1] the sum of weights */
} workspace;

static workspace lay_out(float *room, int head)
{
    line *at = (line *)room;
    workspace w = { at, at + head, at + head + KEYS + SPARE, NULL, NULL };
    w.most = w.sums + head + SPARE;
    w.total = w.most + 1;
    return w;
}

static void load_query(const dfx__attention_block *b, workspace *w)
{
    float factor = b->scale * 1.44269504f;
    memset(w->query, 0, (size_t)b->head * sizeof(line));
    transpose(w->query[0], QUERIES, b->query, b->query_stride, (size_t)b->queries, (size_t)b->head);
    for (int i = 0; i < b->head; i++)
        for (int q = 0; q < QUERIES; q++)
            w->query[i][q] *= factor;
}

static void score(const dfx__attention_block *b, workspace *w, int64_t key, int count)
{
    memset(w->scores, 0, (size_t)(count + SPARE) * sizeof(line));
    for (int i = 0; i < b->head; i += CHUNK) {
        int length = b->head - i < CHUNK ? b->head - i : CHUNK;
        multiply(w->scores, b->key + (size_t)key * b->key_stride + i, b->key_stride, w->query[i],
                 count, length);
    }
    /* Keys after the block's first query. */
    for (int64_t i = b->first < key ? 0 : b->first + 1 - key; i < count; i++)
        for (int q = 0; q < QUERIES && b->first + q < key + i; q++)
            w->scores[i][q] = masked;
}

/* Scores become weights, and earlier sums are rescaled to them. */
static void soften(const dfx__attention_block *b, workspace *w, int count)
{
    for (int q = 0; q < QUERIES; q += WIDTH) {
        vector *most = (vector *)(w->most[0] + q), *total = (vector *)(w->total[0] + q);
        vector m = *most, sum = { 0 };
        for (int key = 0; key < count; key++)
            m = larger(*(const vector *)(w->scores[key] + q), m);
        for (int key = 0; key < count; key++) {
            vector *x = (vector *)(w->scores[key] + q);
            *x = power_of_2(*x - m);
            sum += *x;
        }
        vector factor = power_of_2(*most - m);
        *most = m;
        *total = *total * factor + sum;
        for (int i = 0; i < b->head; i++)
            *(vector *)(w->sums[i] + q) *= factor;
    }
}

static void block(const dfx__attention_block *b)
{
    workspace w = lay_out(b->room, b->head);
    int64_t last = b->first + b->queries < b->keys ? b->first + b->queries : b->keys;
    load_query(b, &w);
    memset(w.sums, 0, (size_t)(b->head + SPARE) * sizeof(line));
    for (int q = 0; q < QUERIES; q++) {
        w.most[0][q] = masked;
        w.total[0][q] = 0;
    }
    for (int64_t key = 0; key < last; key += KEYS) {
        int width = b->keys - key < KEYS ? (int)(b->keys - key) : KEYS;
        int count = last - key < width ? (int)(last - key) : width;
        score(b, &w, key, count);
        soften(b, &w, count);
        multiply(w.sums, b->value + (size_t)key * (size_t)b->head, (size_t)width, w.scores[0],
                 b->head, count);
    }
    for (int i = 0; i < b->head; i++)
        for (int q = 0; q < QUERIES; q++)
            w.sums[i][q] /= w.total[0][q];
    transpose(b->out, b->out_stride, w.sums[0], QUERIES, (size_t)b->head, (size_t)b->queries);
}

const dfx__cpu_attention NAME(dfx__cpu_attention_, DFX_ISA) = { block, transpose };
