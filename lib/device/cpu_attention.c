/* cpu_attention.c - attention over blocks of queries, compiled once for each instruction set
 * DFX_ISA.
 *
 * Queries lie across the lanes, so no operation of softmax crosses lanes and both products are
 * tiles of a packed panel and lines: scores [keys][32] = key [keys][head] query^T [head][32], and
 * sums [head][32] = value^T [head][keys] weights [keys][32]. A block keeps each query's largest
 * score and sum of weights, and rescales when they grow (Milakov & Gimelshein 2018). Several blocks
 * go through the keys together, so that these come from far caches once for all of them. */
#include "device/cpu_attention.h"

#include "device/cpu_kernels.h"

#include <string.h>
#if defined __AVX512F__
#include <immintrin.h>
#endif

#define NAME_(prefix, isa) prefix##isa
#define NAME(prefix, isa) NAME_(prefix, isa)

#if defined __AVX512F__
enum { WIDTH = 16, SQUARE = 8, ROWS = 8 };
#elif defined __AVX2__
enum { WIDTH = 8, SQUARE = 8, ROWS = 6 };
#else
enum { WIDTH = 4, SQUARE = 4, ROWS = 4 };
#endif

enum {
    LINE = DFX__ATTENTION_LINE,
    BLOCKS = DFX__ATTENTION_BLOCKS,
    KEYS = DFX__ATTENTION_KEYS / ROWS * ROWS,
    CHUNK = 128, /* of a head: its queries stay in the first-level cache */
    STAGE = 64,  /* words of a row that are copied before they are transposed */
    SPARE = DFX__ATTENTION_SPARE
};

_Static_assert((int)LINE == (int)DFX__TILE_COLUMNS, "a line is a row of a tile");

/* Below every score that matters, and finite: weights of masked keys become exactly 0. */
static const float masked = -1e30f;

typedef float vector __attribute__((vector_size(WIDTH * 4), may_alias));
typedef int32_t ints __attribute__((vector_size(WIDTH * 4), may_alias));
typedef uint32_t words __attribute__((vector_size(WIDTH * 4), may_alias));
typedef uint32_t word __attribute__((may_alias));
typedef float square_row __attribute__((vector_size(SQUARE * 4)));
typedef float any_row __attribute__((vector_size(SQUARE * 4), aligned(4), may_alias));

/* A word for each query of a block. */
typedef float line[LINE];

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t square_order __attribute__((vector_size(SQUARE * 4)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (square_order){ __VA_ARGS__ })
#endif

static inline square_row interleave(square_row a, square_row b, int half)
{
#if defined __AVX2__
    return half ? SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                : SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return half ? SHUFFLE(a, b, 2, 6, 3, 7) : SHUFFLE(a, b, 0, 4, 1, 5);
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
                memcpy(to + c * to_stride + i, from + i * from_stride + c, sizeof *to);
    }
}

/* Pairs of bf16 as words: to[p to_stride + r] is pair p of row r. Rows are copied first where their
 * pairs do not lie as words do, or where the last one is a half. */
static void transpose_pairs(float *to, size_t to_stride, const uint16_t *from, size_t stride,
                            size_t rows, size_t columns)
{
    float stage[SQUARE][STAGE];
    if (columns % 2 == 0 && stride % 2 == 0 && (uintptr_t)from % sizeof(float) == 0) {
        transpose(to, to_stride, (const float *)from, stride / 2, rows, columns / 2);
        return;
    }
    for (size_t r = 0; r < rows; r += SQUARE)
        for (size_t c = 0; c < columns; c += 2 * STAGE) {
            size_t height = rows - r < SQUARE ? rows - r : SQUARE;
            size_t width = columns - c < 2 * STAGE ? columns - c : 2 * STAGE;
            for (size_t i = 0; i < height; i++) {
                stage[i][(width - 1) / 2] = 0;
                memcpy(stage[i], from + (r + i) * stride + c, width * sizeof *from);
            }
            transpose(to + c / 2 * to_stride + r, to_stride, stage[0], STAGE, height,
                      (width + 1) / 2);
        }
}

/* Lanes of a panel of keys. */
static void pack_lanes(const dfx__attention_head *h, float *to, const void *from, size_t at,
                       size_t stride, size_t lanes)
{
    if (h->pairs)
        transpose_pairs(to, ROWS, (const uint16_t *)from + at, stride, lanes, (size_t)h->head);
    else
        transpose(to, ROWS, (const float *)from + at, stride, lanes, (size_t)h->head);
}

/* Lanes after the last key repeat it; nothing uses their scores. */
static void pack_keys(const dfx__attention_head *h, const void *from, size_t stride, int64_t first,
                      int64_t count)
{
    size_t length = (size_t)(h->pairs ? (h->head + 1) / 2 : h->head);
    for (int64_t key = 0; key < count; key += ROWS) {
        float *to = h->key + (size_t)(first + key) * length;
        int64_t n = count - key < ROWS ? count - key : ROWS;
        pack_lanes(h, to, from, (size_t)key * stride, stride, (size_t)n);
        for (int64_t i = n; i < ROWS; i++)
            pack_lanes(h, to + i, from, (size_t)(key + n - 1) * stride, stride, 1);
    }
}

/* A panel's words of one key, or of two in pairs; zeros after channel n. */
static inline void pack_panel(float *to, const float *from, int n)
{
    for (int i = 0; i < ROWS; i++)
        to[i] = i < n ? from[i] : 0;
}

static inline void pair_panel(word *to, const uint16_t *low, const uint16_t *high, int n)
{
    for (int i = 0; i < ROWS; i++)
        to[i] = i < n ? low[i] | (uint32_t)high[i] << 16 : 0;
}

static void pack_values(const dfx__attention_head *h, const void *from, size_t stride,
                        int64_t first, int64_t count)
{
    static const uint16_t none[ROWS];
    int step = h->pairs ? 2 : 1;
    int64_t length = (h->keys + step - 1) / step;
    for (int c = 0; c < h->head; c += ROWS) {
        float *to = h->value + ((size_t)c * (size_t)length + (size_t)(first / step) * ROWS);
        int n = h->head - c < ROWS ? h->head - c : ROWS;
        for (int64_t key = 0; key < count; key += step, to += ROWS) {
            const float *row = (const float *)from + (size_t)key * stride + c;
            const uint16_t *low = (const uint16_t *)from + (size_t)key * stride + c;
            const uint16_t *high = key + 1 < count ? low + stride : none;
            if (h->pairs)
                n == ROWS ? pair_panel((word *)to, low, high, ROWS)
                          : pair_panel((word *)to, low, high, n);
            else
                n == ROWS ? pack_panel(to, row, ROWS) : pack_panel(to, row, n);
        }
    }
}

/* to [ROWS][32] = sum over i < k of panel [i][ROWS] from [i][32], added to what is there or not. */
static inline void tile(line *to, const float *panel, line *from, int k, int add)
{
    for (int q = 0; q < LINE; q += 2 * WIDTH) {
        vector sum[ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r][0] = sum[r][1] = (vector){ 0 };
        for (int i = 0; i < k; i++) {
            vector b0 = *(const vector *)(from[i] + q), b1 = *(const vector *)(from[i] + q + WIDTH);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[r][0] += panel[i * ROWS + r] * b0;
                sum[r][1] += panel[i * ROWS + r] * b1;
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            vector *at = (vector *)(to[r] + q);
            if (add) {
                sum[r][0] += at[0];
                sum[r][1] += at[1];
            }
            at[0] = sum[r][0];
            at[1] = sum[r][1];
        }
    }
}

/* The product of panels, `stride` words apart, and lines; pairs are multiplied as the processor,
 * not only DFX_ISA, can. Writes up to SPARE lines more than `rows`, which mean nothing. */
static void multiply(line *to, const float *panel, size_t stride, line *from, int rows, int k,
                     int add, int pairs)
{
    const struct dfx__cpu_kernels *kernels = dfx__cpu_kernels();
    for (int r = 0; r < rows; r += ROWS, panel += stride)
        if (pairs)
            kernels->tile_packed_pairs(to[r], panel, from[0], (size_t)k, add);
        else
            tile(to + r, panel, from, k, add);
}

/* The larger ones; of b where a is NaN. */
static inline vector larger(vector a, vector b)
{
#if defined __AVX512F__
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
#else
    ints mask = (ints)(a > b);
    return (vector)((mask & (ints)a) | (~mask & (ints)b));
#endif
}

/* 2^x for x <= 0; exactly 0 where it is far below, exactly 1 for 0. NaN stays NaN. The polynomial
 * is within 1.6e-7 of 2^f for |f| <= 1/2. */
static inline vector power_of_2(vector x)
{
#if defined __AVX512F__
    x = larger((vector){ 0 } - 1000, x);
    vector n = (vector)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT), f = x - n;
#else
    const float round = 0x1.8p23f; /* a number added to it is rounded to its lowest bits */
    x = larger((vector){ 0 } - 127, x);
    vector n = x + round, f = x - (n - round);
#endif
    vector p = f * 0x1.5bba14p-10f + 0x1.3cea88p-7f;
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
    p = p * f + 1.0f;
#if defined __AVX512F__
    return (vector)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (vector)((words)p + ((words)n << 23));
#endif
}

/* power_of_2 as bf16 in the upper halves of words, zeros below. 2^f, 0 <= f < 1, is within 9e-5, a
 * twentieth of what rounding loses; with half of bf16's last place added to it, cutting off rounds
 * to the nearest. */
static inline words bf16_power_of_2(vector x)
{
#if defined __AVX512F__
    vector f = (vector)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vector p = f * 0x1.3baadcp-4f + 0x1.d23788p-3f;
    p = p * f + 0x1.63e654p-1f;
    p = p * f + 0x1.01p0f;
    return (words)_mm512_scalef_ps((__m512)p, (__m512)x) & 0xffff0000;
#else
    return ((words)power_of_2(x) + 0x8000) & 0xffff0000;
#endif
}

/* What a task works in: lines of its room. */
typedef struct {
    line *query; /* [head], pairs: [head / 2] */
    line *sums;  /* [head + SPARE] */
    line *most;  /* [1] the largest score */
    line *total; /* [1] the sum of weights */
    int64_t first;
    int queries;
} block;

typedef struct {
    block block[BLOCKS];
    line *scores; /* [KEYS + SPARE], then weights */
    int blocks;
} workspace;

static void lay_out(workspace *w, const dfx__attention_task *t)
{
    line *at = (line *)t->room;
    w->scores = at;
    at += KEYS + SPARE;
    w->blocks = (t->queries + LINE - 1) / LINE;
    for (int i = 0; i < w->blocks; i++) {
        int left = t->queries - i * LINE;
        block *b = &w->block[i];
        b->query = at;
        b->sums = b->query + t->head->head;
        b->most = b->sums + t->head->head + SPARE;
        b->total = b->most + 1;
        b->first = t->first + i * LINE;
        b->queries = left < LINE ? left : LINE;
        at = b->total + 1;
    }
}

static void begin(const dfx__attention_task *t, block *b, int index)
{
    size_t head = (size_t)t->head->head, at = (size_t)index * LINE * t->query_stride;
    memset(b->query, 0, head * sizeof(line));
    if (t->head->pairs)
        transpose_pairs(b->query[0], LINE, (const uint16_t *)t->query + at, t->query_stride,
                        (size_t)b->queries, head);
    else
        transpose(b->query[0], LINE, (const float *)t->query + at, t->query_stride,
                  (size_t)b->queries, head);
    memset(b->sums, 0, (head + SPARE) * sizeof(line));
    for (int q = 0; q < LINE; q++) {
        b->most[0][q] = masked;
        b->total[0][q] = 0;
    }
}

static void score(const dfx__attention_head *h, line *scores, const block *b, int64_t key,
                  int count)
{
    int length = h->pairs ? (h->head + 1) / 2 : h->head;
    const float *panels = h->key + (size_t)key * (size_t)length;
    for (int i = 0; i < length; i += CHUNK)
        multiply(scores, panels + (size_t)i * ROWS, (size_t)length * ROWS, b->query + i, count,
                 length - i < CHUNK ? length - i : CHUNK, i > 0, h->pairs);
}

/* Scales scores, and masks those of keys after the query; `ahead`: by how much the first query is
 * ahead of the first key. An odd number of keys gets one more, masked. */
static void mask(line *scores, float factor, int64_t ahead, int count)
{
    for (int key = 0; key < count + count % 2; key++)
        for (int q = 0; q < LINE; q++)
            scores[key][q] = key < count && key <= ahead + q ? scores[key][q] * factor : masked;
}

/* Scores times `factor` > 0 become weights, in pairs those of keys 2 p and 2 p + 1 line p, and
 * earlier sums are rescaled to them. `count` is even. */
static inline void soften(line *scores, block *b, int head, float factor, int count, int pairs)
{
    for (int q = 0; q < LINE; q += WIDTH) {
        vector *most = (vector *)(b->most[0] + q), *total = (vector *)(b->total[0] + q);
        vector m0 = *(const vector *)(scores[0] + q), m1 = m0, sum0 = { 0 }, sum1 = { 0 };
        for (int key = 0; key < count; key += 2) {
            m0 = larger(*(const vector *)(scores[key] + q), m0);
            m1 = larger(*(const vector *)(scores[key + 1] + q), m1);
        }
        m0 = larger(larger(m1, m0) * factor, *most);
        for (int key = 0; key < count; key += 2) {
            vector *x0 = (vector *)(scores[key] + q), *x1 = (vector *)(scores[key + 1] + q);
            vector p0 = *x0 * factor - m0, p1 = *x1 * factor - m0;
            if (pairs) {
                words low = bf16_power_of_2(p0), high = bf16_power_of_2(p1);
                *(words *)(scores[key / 2] + q) = low >> 16 | high;
                p0 = (vector)low;
                p1 = (vector)high;
            } else {
                *x0 = p0 = power_of_2(p0);
                *x1 = p1 = power_of_2(p1);
            }
            sum0 += p0;
            sum1 += p1;
        }
        vector change = power_of_2(*most - m0);
        *most = m0;
        *total = *total * change + (sum0 + sum1);
        for (int i = 0; i < head; i++)
            *(vector *)(b->sums[i] + q) *= change;
    }
}

/* Adds a step of keys to a block's sums. */
static void add_keys(const dfx__attention_task *t, line *scores, block *b, int64_t key, int count)
{
    const dfx__attention_head *h = t->head;
    int step = h->pairs ? 2 : 1;
    float factor = t->scale * 1.44269504f; /* weights are powers of 2 */
    score(h, scores, b, key, count);
    if (count % 2 || b->first < key + count - 1 || !(factor > 0)) {
        mask(scores, factor, b->first - key, count);
        factor = 1;
    }
    if (h->pairs)
        soften(scores, b, h->head, factor, count + count % 2, 1);
    else
        soften(scores, b, h->head, factor, count + count % 2, 0);
    multiply(b->sums, h->value + (size_t)(key / step) * ROWS,
             (size_t)((h->keys + step - 1) / step) * ROWS, scores, h->head,
             (count + step - 1) / step, 1, h->pairs);
}

static void finish(const dfx__attention_task *t, block *b, int index)
{
    for (int q = 0; q < LINE; q += WIDTH) {
        vector factor = 1.0f / *(const vector *)(b->total[0] + q);
        for (int i = 0; i < t->head->head; i++)
            *(vector *)(b->sums[i] + q) *= factor;
    }
    transpose(t->out + (size_t)index * LINE * t->out_stride, t->out_stride, b->sums[0], LINE,
              (size_t)t->head->head, (size_t)b->queries);
}

static void attend(const dfx__attention_task *t)
{
    workspace w;
    int64_t keys = t->head->keys;
    lay_out(&w, t);
    for (int i = 0; i < w.blocks; i++)
        begin(t, &w.block[i], i);
    for (int64_t key = 0; key < keys; key += KEYS)
        for (int i = 0; i < w.blocks; i++) {
            block *b = &w.block[i];
            int64_t last = b->first + b->queries < keys ? b->first + b->queries : keys;
            if (key < last)
                add_keys(t, w.scores, b, key, (int)(last - key < KEYS ? last - key : KEYS));
        }
    for (int i = 0; i < w.blocks; i++)
        finish(t, &w.block[i], i);
}

const dfx__cpu_attention NAME(dfx__cpu_attention_, DFX_ISA) = { ROWS, pack_keys, pack_values,
                                                                attend };
