/* attention.cl - softmax(scale q k^T) v, a block of queries at a time, with online softmax: a block
 * keeps the largest score and the sum of each query's weights, and rescales when they grow (Milakov
 * & Gimelshein 2018; Dao et al. 2022). q, out [N, T, C], k, v [N, S, C], HEAD = C / heads. */

/* Below every score that matters, and finite: weights of masked keys become exactly 0. */
#define MASKED (-1e30f)

#ifdef VECTOR

/* For CPUs: one work-item does QUERIES queries, which lie across the lanes of two vectors; so no
 * operation of softmax crosses lanes, and both products are the same tile of 8 rows x 2 vectors. */
#define QUERIES 32
#define KEYS 128 /* of a block: scores and panels stay in the first cache */

/* Products are of words: floats, or pairs of bf16, of which a float only holds the bits. The
 * missing half of a pair is 0. */
#ifdef PAIRS
#include "panel.cl"
#define WORD 2 /* elements */
#define LOAD_WORDS(p, at) as_float8(vload16(0, (p) + (at)))
#else
#define WORD 1
#define LOAD_WORDS LOADV8
#define DOT(c, a, b) (c) = fma(a, b, c)
#endif
#define WORDS(n) (((n) + WORD - 1) / WORD)
#define LENGTH WORDS(HEAD)
#define CHUNK (LENGTH < 128 ? LENGTH : 128) /* of a head: its queries stay in the first cache */
#define WHOLE (HEAD / (8 * WORD) * 8)       /* words that are loaded by vectors of 8 */
#define LANES ((HEAD + 7) / 8 * 8)

/* Transposes 8 vectors of 8. */
static inline void transpose8(float8 v[8])
{
#pragma unroll
    for (int step = 0; step < 3; step++) {
        float8 w[8];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float8 a = v[i], b = v[i + 4];
            w[2 * i] = (float8)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3);
            w[2 * i + 1] = (float8)(a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7);
        }
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = w[i];
    }
}

/* Word i of a head's row at p. */
static inline float load_word(__global const T *p, int i)
{
#ifdef PAIRS
    return as_float(p[2 * i] | (2 * i + 1 < HEAD ? (uint)p[2 * i + 1] << 16 : 0u));
#else
    return LOAD(p, i);
#endif
}

/* Words of channels i .. i + 7 of the value at v, zeros from HEAD on; the next key's value, if
 * there is one, is the other half of pairs. */
static inline float8 load_values(__global const T *v, int i, int channels, int next)
{
#ifdef PAIRS
    uint8 a = 0, b = 0;
    if (i + 8 <= HEAD) {
        a = convert_uint8(vload8(0, v + i));
        if (next)
            b = convert_uint8(vload8(0, v + channels + i));
    } else {
        uint *low = (uint *)&a, *high = (uint *)&b;
        for (int j = 0; i + j < HEAD; j++) {
            low[j] = v[i + j];
            high[j] = next ? v[channels + i + j] : 0;
        }
    }
    return as_float8(a | b << 16);
#else
    if (i + 8 <= HEAD)
        return LOADV8(v, i);
    float8 a = 0;
    for (int j = 0; i + j < HEAD; j++)
        ((float *)&a)[j] = LOAD(v, i + j);
    return a;
#endif
}

/* Panels of 8, in which the products read one after another what they need at the same time:
 *   keys [N heads][ceil(S / 8)][LENGTH][8]   values [N heads][LANES / 8][WORDS(S)][8]
 * A work-item packs 8 keys of a head. Keys after the last repeat it; nothing uses their scores. */
WORK_GROUP(1, 1, 1)
void attention_pack(__global float *keys, __global float *values, __global const T *k,
                    __global const T *v, int count, int channels, int heads)
{
    int first = (int)get_global_id(0) * 8, image = get_global_id(1) / heads;
    size_t offset = (size_t)image * count * channels + get_global_id(1) % heads * HEAD;
    size_t row[8];
#pragma unroll
    for (int r = 0; r < 8; r++)
        row[r] = offset + (size_t)min(first + r, count - 1) * channels;
    keys += ((size_t)get_global_id(1) * ((count + 7) / 8 * 8) + first) * LENGTH;
    values += (size_t)get_global_id(1) * LANES * WORDS(count) + (size_t)first / WORD * 8;
    for (int i = 0; i < WHOLE; i += 8) {
        float8 tile[8];
#pragma unroll
        for (int r = 0; r < 8; r++)
            tile[r] = LOAD_WORDS(k, row[r] + i * WORD);
        transpose8(tile);
#pragma unroll
        for (int r = 0; r < 8; r++)
            vstore8(tile[r], i + r, keys);
    }
    for (int r = 0; r < 8; r++) {
        for (int i = WHOLE; i < LENGTH; i++)
            keys[i * 8 + r] = load_word(k + row[r], i);
    }
    for (int i = 0; i < HEAD; i += 8) {
        for (int r = 0; r < min(8, count - first); r += WORD)
            vstore8(load_values(v + row[r], i, channels, first + r + 1 < count),
                    (size_t)i / 8 * WORDS(count) + r / WORD, values);
    }
}

/* to [8][2] = panel^T rows, over `count` rows of 2 vectors and of 8 panel words, added to what is
 * there or not. */
static inline void tile(float16 *to, __global const float *panel, const float16 *rows, int count,
                        int add)
{
    float16 sum[16];
#pragma unroll
    for (int r = 0; r < 16; r++)
        sum[r] = add ? to[r] : 0;
    for (int i = 0; i < count; i++, panel += 8) {
        float16 a = rows[2 * i], b = rows[2 * i + 1];
#pragma unroll
        for (int r = 0; r < 8; r++) {
            float16 e = (float16)panel[r];
            DOT(sum[2 * r], e, a);
            DOT(sum[2 * r + 1], e, b);
        }
    }
#pragma unroll
    for (int r = 0; r < 16; r++)
        to[r] = sum[r];
}

/* 2^x for x <= 0 within 1.6e-7 of it, for what is rounded to bf16 1.1e-4; exactly 0 below -127. NaN
 * stays NaN. */
static inline float16 power_of_2(float16 x)
{
    const float round = 0x1.8p23f; /* a number added to it is rounded to its lowest bits */
    x = select(x, (float16)(-127.0f), x < -127.0f);
    float16 n = x + round;
#ifdef PAIRS
    float16 f = x - (n - round), p = 0x1.c2a218p-5f;
    p = fma(p, f, (float16)0x1.f00c4ep-3f);
    p = fma(p, f, (float16)0x1.62f5fap-1f);
    p = fma(p, f, (float16)1.0f);
#else
    float16 f = x - (n - round), p = 0x1.5bba14p-10f;
    p = fma(p, f, (float16)0x1.3cea88p-7f);
    p = fma(p, f, (float16)0x1.c6b752p-5f);
    p = fma(p, f, (float16)0x1.ebf9bcp-3f);
    p = fma(p, f, (float16)0x1.62e42ap-1f);
    p = fma(p, f, (float16)1.0f);
#endif
    return as_float16(as_uint16(p) + (as_uint16(n) << 23));
}

/* scores [count][2] = keys queries^T */
static inline void score(float16 *scores, const float16 *queries, __global const float *keys,
                         int count)
{
    for (int chunk = 0; chunk < LENGTH; chunk += CHUNK) {
        int length = min(CHUNK, LENGTH - chunk);
        for (int key = 0; key < count; key += 8)
            tile(scores + 2 * key, keys + (size_t)key * LENGTH + chunk * 8, queries + 2 * chunk,
                 length, chunk > 0);
    }
}

/* Scales scores, and masks those of keys that come after the query; `lead`: by how much the first
 * query is ahead of the first key. An odd number of keys gets one more, masked. */
static inline void mask(float16 *scores, float factor, int lead, int count)
{
    int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + lead;
    for (int key = 0; key < count; key++) {
        scores[2 * key] = select(scores[2 * key] * factor, (float16)MASKED, lane < key);
        scores[2 * key + 1] =
            select(scores[2 * key + 1] * factor, (float16)MASKED, lane + 16 < key);
    }
    if (count % 2)
        scores[2 * count] = scores[2 * count + 1] = MASKED;
}

/* Weights of two keys as pairs of bf16, rounded to the nearest; NaN stays it, because none comes
 * here whose lower bits are set. */
static inline uint16 pair(float16 low, float16 high)
{
    return (as_uint16(low) + 0x8000u) >> 16 | ((as_uint16(high) + 0x8000u) & 0xffff0000u);
}

/* Scores times `scale` > 0 of one half of the queries become weights, in pairs those of keys 2 p and
 * 2 p + 1 row p. Returns the factor for earlier sums. `count` is even. */
static inline float16 soften(float16 *scores, float16 *most, float16 *total, float scale, int count)
{
    float16 m = scores[0], m1 = m, sum = 0, sum1 = 0;
    for (int key = 0; key < count; key += 2) {
        float16 x = scores[2 * key], x1 = scores[2 * key + 2];
        m = select(m, x, x > m);
        m1 = select(m1, x1, x1 > m1);
    }
    m = select(m, m1, m1 > m) * scale;
    m = select(m, *most, *most > m);
    for (int key = 0; key < count; key += 2) {
        float16 p = power_of_2(fma(scores[2 * key], (float16)scale, -m));
        float16 p1 = power_of_2(fma(scores[2 * key + 2], (float16)scale, -m));
#ifdef PAIRS
        scores[key] = as_float16(pair(p, p1));
#else
        scores[2 * key] = p;
        scores[2 * key + 2] = p1;
#endif
        sum += p;
        sum1 += p1;
    }
    float16 factor = power_of_2(*most - m);
    *most = m;
    *total = fma(*total, factor, sum + sum1);
    return factor;
}

/* Queries of a head, those after the last one repeating it, as queries [LENGTH][2]. */
static inline void load_queries(float16 *queries, __global const T *q, int count, int channels)
{
    float *to = (float *)queries;
    for (int r = 0; r < QUERIES; r += 8) {
        size_t row[8];
#pragma unroll
        for (int j = 0; j < 8; j++)
            row[j] = (size_t)min(r + j, count - 1) * channels;
        for (int i = 0; i < WHOLE; i += 8) {
            float8 v[8];
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] = LOAD_WORDS(q, row[j] + i * WORD);
            transpose8(v);
#pragma unroll
            for (int j = 0; j < 8; j++)
                vstore8(v[j], 0, to + (i + j) * QUERIES + r);
        }
        for (int i = WHOLE; i < LENGTH; i++) {
            for (int j = 0; j < 8; j++)
                to[i * QUERIES + r + j] = load_word(q + row[j], i);
        }
    }
}

static inline void store_results(__global T *out, const float16 *sums, int count, int channels)
{
    const float *from = (const float *)sums;
    for (int r = 0; r < count; r += 8) {
        int rows = min(8, count - r);
        __global T *to = out + (size_t)r * channels;
        int i = 0;
        for (; i + 8 <= HEAD; i += 8) {
            float8 v[8];
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] = vload8(0, from + (i + j) * QUERIES + r);
            transpose8(v);
            for (int j = 0; j < rows; j++)
                STOREV8(to, (size_t)j * channels + i, v[j]);
        }
        for (; i < HEAD; i++) {
            for (int j = 0; j < rows; j++)
                STORE(to, (size_t)j * channels + i, from[i * QUERIES + r + j]);
        }
    }
}

/* A work-item does a block of queries of one head of one image. */
WORK_GROUP(1, 1, 1)
void attention(__global T *out, __global const T *q, __global const float *keys,
               __global const float *values, int tokens, int count, int channels, int heads,
               float scale, int causal)
{
    int first = (int)get_global_id(0) * QUERIES, image = get_global_id(1) / heads;
    size_t offset = ((size_t)image * tokens + first) * channels + get_global_id(1) % heads * HEAD;
    int last = causal ? min(count, first + QUERIES) : count;
    float16 queries[2 * LENGTH], scores[2 * KEYS], sums[2 * LANES];
    float16 most[2] = { MASKED, MASKED }, total[2] = { 0, 0 };
    load_queries(queries, q + offset, tokens - first, channels);
    for (int i = 0; i < 2 * LANES; i++)
        sums[i] = 0;
    keys += (size_t)get_global_id(1) * ((count + 7) / 8 * 8) * LENGTH;
    values += (size_t)get_global_id(1) * LANES * WORDS(count);
    for (int key = 0; key < last; key += KEYS) {
        int block = min(KEYS, last - key);
        float rest = scale * M_LOG2E_F; /* weights are powers of 2 */
        score(scores, queries, keys + (size_t)key * LENGTH, block);
        if (block % 2 || (causal && key + block > first) || !(scale > 0)) {
            mask(scores, rest, causal ? first - key : block, block);
            rest = 1;
        }
        float16 factor[2];
        factor[0] = soften(scores, &most[0], &total[0], rest, block + block % 2);
        factor[1] = soften(scores + 1, &most[1], &total[1], rest, block + block % 2);
        for (int i = 0; i < 2 * LANES; i++)
            sums[i] *= factor[i % 2];
        for (int i = 0; i < LANES; i += 8)
            tile(sums + 2 * i, values + ((size_t)i * WORDS(count) + key / WORD * 8), scores,
                 WORDS(block), 1);
    }
    for (int i = 0; i < 2 * LANES; i++)
        sums[i] /= total[i % 2];
    store_results(out + offset, sums, min(QUERIES, tokens - first), channels);
}

#else

/* For GPUs: a work-group of GROUP does QUERIES queries of one head. LANES work-items share ROWS
 * queries: a work-item has some keys' scores, then some channels' sums, in registers. What it reads
 * lies in local memory: the stage (STAGE floats) has a chunk of queries and keys, then values of
 * VALUES tokens. */
#define LANES 16
#define QUERIES (GROUP / LANES * ROWS)
#define KEYS 32
#define COLUMNS (KEYS / LANES)
#define CHUNK 16              /* channels of queries and keys */
#define PITCH (CHUNK / 4 + 1) /* float4 from row to row of the stage; odd: lanes use all banks */

/* Channels of a work-item's sums: WIDTH from WIDTH * lane on, and again after WIDTH * LANES. */
#if HEAD % (4 * LANES) == 0
typedef float4 part;
#define WIDTH 4
#define LOAD_PART(p) (*(__local const float4 *)(p))
#define STORE_PART STOREV4
#else
typedef float part;
#define WIDTH 1
#define LOAD_PART(p) (*(p))
#define STORE_PART STORE
#endif
#define PARTS ((HEAD + WIDTH * LANES - 1) / (WIDTH * LANES))

/* Channels i .. i + 3 of a head, with zeros after its end. */
static inline float4 load_channels(__global const T *p, size_t at, int i)
{
#if HEAD % 4 == 0
    return LOADV4(p, at + i);
#else
    return (float4)(LOAD(p, at + i), i + 1 < HEAD ? LOAD(p, at + i + 1) : 0,
                    i + 2 < HEAD ? LOAD(p, at + i + 2) : 0, i + 3 < HEAD ? LOAD(p, at + i + 3) : 0);
#endif
}

/* Channels from `chunk` on of `rows` tokens, times factor; zeros for tokens that are not there. */
static inline void stage_rows(__local float4 *stage, __global const T *p, int rows, int present,
                              int channels, int chunk, float factor)
{
#pragma unroll 1
    for (int e = get_local_id(0); e < rows * (CHUNK / 4); e += GROUP) {
        int row = e / (CHUNK / 4), i = chunk + e % (CHUNK / 4) * 4;
        stage[row * PITCH + e % (CHUNK / 4)] =
            row < present && i < HEAD ? load_channels(p, (size_t)row * channels, i) * factor : 0;
    }
}

/* VALUES tokens' values, one after the other; zeros for tokens that are not there. */
static inline void stage_values(__local float4 *stage, __global const T *v, int present,
                                int channels)
{
#if HEAD % 4 == 0
#pragma unroll 1
    for (int e = get_local_id(0); e < VALUES * HEAD / 4; e += GROUP) {
        int row = e / (HEAD / 4), i = e % (HEAD / 4) * 4;
        stage[e] = row < present ? LOADV4(v, (size_t)row * channels + i) : 0;
    }
#else
#pragma unroll 1
    for (int e = get_local_id(0); e < VALUES * HEAD; e += GROUP) {
        int row = e / HEAD, i = e % HEAD;
        ((__local float *)stage)[e] = row < present ? LOAD(v, (size_t)row * channels + i) : 0;
    }
#endif
}

/* scores [ROWS][COLUMNS] of key lane + LANES * column */
static inline void score(float scores[ROWS][COLUMNS], __local float4 *stage, __global const T *q,
                         __global const T *k, int tokens, int count, int channels, float factor)
{
    int lane = get_local_id(0) % LANES, group = get_local_id(0) / LANES;
    __local const float4 *queries = stage + group * ROWS * PITCH;
    __local const float4 *keys = stage + (QUERIES + lane) * PITCH;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            scores[r][j] = 0;
    }
#pragma unroll 1
    for (int chunk = 0; chunk < HEAD; chunk += CHUNK) {
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_rows(stage, q, QUERIES, tokens, channels, chunk, factor);
        stage_rows(stage + QUERIES * PITCH, k, KEYS, count, channels, chunk, 1);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int i = 0; i < CHUNK / 4 && chunk + i * 4 < HEAD; i++) {
            float4 b[COLUMNS];
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                b[j] = keys[j * LANES * PITCH + i];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float4 a = queries[r * PITCH + i];
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    scores[r][j] = mad(a.s0, b[j].s0, mad(a.s1, b[j].s1,
                                   mad(a.s2, b[j].s2, mad(a.s3, b[j].s3, scores[r][j]))));
            }
        }
    }
}

/* Where 4 numbers of a row of `weights` lie; mixed so that groups of lanes use other banks. */
static inline int place(int row, int i)
{
    return row * (KEYS / 4) + (i ^ row / ROWS % (KEYS / 4));
}

/* The weight of a key for a row, and before that what lane `key` found for it. */
static inline __local float *weight(__local float4 *weights, int row, int key)
{
    return (__local float *)(weights + place(row, key / 4)) + key % 4;
}

/* Joins what the lanes of each row left as its first weights, the largest or their sum: number `row`
 * of the stage; the weights are free then. Every work-item does some row, because PoCL 3.1 fails
 * when only some do. */
static inline void join(__local float4 *stage, __local const float4 *weights, int sum)
{
    int row = get_local_id(0) % QUERIES;
    barrier(CLK_LOCAL_MEM_FENCE);
    float4 all = weights[place(row, 0)];
#pragma unroll
    for (int i = 1; i < LANES / 4; i++) {
        float4 x = weights[place(row, i)];
        all = sum ? all + x : fmax(all, x);
    }
    ((__local float *)stage)[get_local_id(0)] =
        sum ? all.s0 + all.s1 + all.s2 + all.s3
            : fmax(fmax(all.s0, all.s1), fmax(all.s2, all.s3));
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* sums [ROWS][PARTS] += weights values */
static inline void add_values(part sums[ROWS][PARTS], __local float4 *weights,
                              __local float4 *stage, __global const T *v, int count, int channels)
{
    int lane = get_local_id(0) % LANES, group = get_local_id(0) / LANES;
#pragma unroll 1
    for (int first = 0; first < KEYS; first += VALUES) {
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_values(stage, v + (size_t)first * channels, count - first, channels);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int key = 0; key < VALUES; key += 2) {
            __local const float *row = (__local const float *)stage + key * HEAD;
            float2 w[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                w[r] = *(__local const float2 *)weight(weights, group * ROWS + r, first + key);
#pragma unroll
            for (int j = 0; j < PARTS; j++) {
                int i = min((lane + j * LANES) * WIDTH, HEAD - WIDTH);
                part a = LOAD_PART(row + i), b = LOAD_PART(row + HEAD + i);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    sums[r][j] = mad((part)w[r].s0, a, mad((part)w[r].s1, b, sums[r][j]));
            }
        }
    }
}

/* What a work-item keeps of its ROWS queries: the largest score so far, its lane's part of the sum
 * of weights, its channels' sums of weighted values. */
struct rows {
    float most[ROWS], total[ROWS];
    part sums[ROWS][PARTS];
};

/* Scores become weights, and earlier sums are rescaled to them. `ahead`: by how much the first row
 * is ahead of the first key, where keys after a row are masked. */
static inline void soften(struct rows *rows, float scores[ROWS][COLUMNS], __local float4 *weights,
                          __local float4 *stage, int count, int causal, int ahead)
{
    int lane = get_local_id(0) % LANES, row = get_local_id(0) / LANES * ROWS;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float x = MASKED;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            int key = lane + j * LANES;
            if (key >= count || (causal && key > ahead + r))
                scores[r][j] = MASKED;
            x = fmax(x, scores[r][j]);
        }
        *weight(weights, row + r, lane) = x;
    }
    join(stage, weights, 0);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float most = fmax(rows->most[r], ((__local float *)stage)[row + r]);
        float factor = exp2(rows->most[r] - most);
        rows->most[r] = most;
        rows->total[r] *= factor;
#pragma unroll
        for (int j = 0; j < PARTS; j++)
            rows->sums[r][j] *= factor;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            float p = exp2(scores[r][j] - most);
            rows->total[r] += p;
            *weight(weights, row + r, j * LANES + lane) = p;
        }
    }
}

/* Divides the sums by the sum of all weights and stores those of the first `count` rows. */
static inline void store_sums(__global T *out, struct rows *rows, __local float4 *weights,
                              __local float4 *stage, int count, int channels)
{
    int lane = get_local_id(0) % LANES, row = get_local_id(0) / LANES * ROWS;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        *weight(weights, row + r, lane) = rows->total[r];
    join(stage, weights, 1);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float factor = 1 / ((__local float *)stage)[row + r];
#pragma unroll
        for (int j = 0; j < PARTS; j++) {
            int i = (lane + j * LANES) * WIDTH;
            if (row + r < count && i < HEAD)
                STORE_PART(out, (size_t)(row + r) * channels + i, rows->sums[r][j] * factor);
        }
    }
}

WORK_GROUP(GROUP, 1, 1)
void attention(__global T *out, __global const T *q, __global const T *k, __global const T *v,
               int tokens, int count, int channels, int heads, float scale, int causal)
{
    __local float4 stage[STAGE / 4], weights[QUERIES * KEYS / 4];
    int first = (int)get_group_id(0) * QUERIES, image = get_global_id(1) / heads;
    int head = get_global_id(1) % heads * HEAD, last = causal ? min(count, first + QUERIES) : count;
    int row = get_local_id(0) / LANES * ROWS;
    size_t offset = ((size_t)image * tokens + first) * channels + head;
    struct rows rows;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        rows.most[r] = MASKED;
        rows.total[r] = 0;
#pragma unroll
        for (int j = 0; j < PARTS; j++)
            rows.sums[r][j] = 0;
    }
#pragma unroll 1
    for (int key = 0; key < last; key += KEYS) {
        size_t at = ((size_t)image * count + key) * channels + head;
        float scores[ROWS][COLUMNS];
        score(scores, stage, q + offset, k + at, tokens - first, count - key, channels,
              scale * M_LOG2E_F);
        soften(&rows, scores, weights, stage, count - key, causal, first + row - key);
        add_values(rows.sums, weights, stage, v + at, count - key, channels);
    }
    store_sums(out + offset, &rows, weights, stage, tokens - first, channels);
}

#endif
