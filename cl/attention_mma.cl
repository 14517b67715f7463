/* attention_mma.cl - softmax(scale q k^T) v for each head on tensor cores, with online softmax (Dao et
 * al. 2022). A head has a multiple of 8 channels up to 160, or of 128.
 *   q, out [N, tokens, channels]   k, v [N, count, channels]
 *
 * A warp does 16 queries of one head; WARPS of them share the keys and values of a step in local
 * memory. Queries of up to 160 channels stay in registers. Of longer ones a chunk at a time is read
 * with the keys', and a group computes 128 channels of the result. */

#include "mma.cl"

#define ITEMS (32 * WARPS)
#define QUERIES (16 * WARPS)
#define DEPTH ((HEAD + 15) / 16 * 16)
#define RESIDENT (DEPTH <= 160)
#if RESIDENT
#define CHUNK DEPTH   /* channels of queries and keys in local memory */
#define COLUMNS DEPTH /* of values, and of the group's result */
#else
#define CHUNK 64
#define COLUMNS 128
#endif
#if DEPTH <= 80
#define KEYS 64 /* of a step */
#else
#define KEYS 32
#endif

/* Pieces of 16 bytes from line to line: odd, so that eight lines' same piece lie in all banks. */
#define KEY_PITCH (CHUNK / 8 | 1)
#define VALUE_PITCH (COLUMNS / 8 | 1)

/* A warp's scores of a step's keys, and its results. */
typedef float scores[KEYS / 8][4];
typedef float results[COLUMNS / 8][4];

static inline int warp(void)
{
    return get_local_id(0) / 32;
}

/* Copies `width` channels of `rows` tokens from channel `first` of the head on; zeros for tokens that
 * are not there and channels after the head's. */
static inline void copy_rows(__local uint4 *to, __global const T *from, int first, int width,
                             int rows, int present, int channels)
{
    int pieces = width / 8, pitch = pieces | 1;
    for (int e = get_local_id(0); e < rows * pieces; e += ITEMS) {
        int row = e / pieces, piece = e % pieces, channel = first + piece * 8;
        int exists = row < present && channel < HEAD;
        copy(to + row * pitch + piece, from + (exists ? (size_t)row * channels + channel : 0), exists);
    }
}

/* A fragment of 16 queries and 16 channels. */
static inline void load_queries(uint a[4], __local const uint4 *queries, int channel)
{
    LOAD_MATRICES(a, queries + (warp() * 16 + lane() % 16) * KEY_PITCH + channel / 8 + lane() / 16,
                  "");
}

/* c += the product of 16 queries and all keys over 16 channels. */
static inline void add_scores(scores c, const uint a[4], __local const uint4 *keys, int channel)
{
#pragma unroll
    for (int j = 0; j < KEYS; j += 16) {
        uint b[4];
        LOAD_MATRICES(b,
                      keys + (j + lane() / 16 * 8 + lane() % 8) * KEY_PITCH + channel / 8 +
                          lane() / 8 % 2,
                      "");
        mma(c[j / 8], a, b[0], b[1]);
        mma(c[j / 8 + 1], a, b[2], b[3]);
    }
}

static inline void clear_scores(scores c)
{
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
        c[j][0] = c[j][1] = c[j][2] = c[j][3] = 0;
}

/* What a lane keeps of its two queries: the largest score so far, its part of the sum of weights, and
 * its channels' sums of weighted values. */
struct rows {
    float most[2], total[2];
    results sums;
};

static inline float power_of_2(float x)
{
    float y;
    __asm__("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* x of the lane whose number differs in the bits of `mask`. */
static inline float of_lane(float x, int mask)
{
    uint y;
    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;"
                     : "=r"(y)
                     : "r"(as_uint(x)), "r"(mask));
    return as_float(y);
}

/* Scores times the scale; those of keys from `end` on, for the second query from end + behind on, do
 * not count. */
static inline void scale_scores(scores c, float scale, int end, int behind)
{
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int key = j * 8 + lane() % 4 * 2 + i % 2;
            c[j][i] = key < end + i / 2 * behind ? c[j][i] * scale : -INFINITY;
        }
    }
}

/* Scores, as powers of 2, become weights, and earlier sums are rescaled to them. */
static inline void soften(struct rows *rows, scores c)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float most = rows->most[h], sum = 0;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            most = fmax(most, fmax(c[j][2 * h], c[j][2 * h + 1]));
        most = fmax(most, of_lane(most, 1));
        most = fmax(most, of_lane(most, 2));
        float factor = power_of_2(rows->most[h] - most);
        rows->most[h] = most;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            c[j][2 * h] = power_of_2(c[j][2 * h] - most);
            c[j][2 * h + 1] = power_of_2(c[j][2 * h + 1] - most);
            sum += c[j][2 * h] + c[j][2 * h + 1];
        }
        rows->total[h] = rows->total[h] * factor + sum;
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            rows->sums[n][2 * h] *= factor;
            rows->sums[n][2 * h + 1] *= factor;
        }
    }
}

/* sums += weights values; the weights are rounded to the values' type. */
static inline void add_values(results sums, scores c, __local const uint4 *values)
{
#pragma unroll
    for (int k = 0; k < KEYS; k += 16) {
        uint a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = pack((float2)(c[k / 8 + i / 2][i % 2 * 2], c[k / 8 + i / 2][i % 2 * 2 + 1]));
#pragma unroll
        for (int n = 0; n < COLUMNS; n += 16) {
            LOAD_MATRICES(b, values + (k + lane() % 16) * VALUE_PITCH + n / 8 + lane() / 16,
                          ".trans");
            mma(sums[n / 8], a, b[0], b[1]);
            mma(sums[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

/* Divides the sums by the sum of all weights and stores those of the first `count` queries, from
 * channel `first` of the head on. */
static inline void store_rows(__global T *out, struct rows *rows, int count, int channels, int first)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float total = rows->total[h];
        total += of_lane(total, 1);
        total += of_lane(total, 2);
        float factor = 1 / total;
        int row = warp() * 16 + lane() / 4 + h * 8;
        if (row >= count)
            continue;
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            int channel = first + n * 8 + lane() % 4 * 2;
            float2 v = (float2)(rows->sums[n][2 * h], rows->sums[n][2 * h + 1]) * factor;
            if (channel < HEAD)
                *(__global uint *)(out + (size_t)row * channels + channel) = pack(v);
        }
    }
}

#if RESIDENT

enum { STAGE = KEYS * (KEY_PITCH + VALUE_PITCH) };

/* A step's keys and values. */
static inline void copy_step(__local uint4 *stage, __global const T *k, __global const T *v,
                             int present, int channels)
{
    copy_rows(stage, k, 0, CHUNK, KEYS, present, channels);
    copy_rows(stage + KEYS * KEY_PITCH, v, 0, COLUMNS, KEYS, present, channels);
}

/* Does all keys. The next step is copied while one is done. `end`: keys of the first query. */
static inline void attend(struct rows *rows, __local uint4 *room, __global const T *q,
                          __global const T *k, __global const T *v, int queries, int last, int end,
                          int behind, int count, int channels, float scale, int column)
{
    uint a[DEPTH / 16][4];
    copy_rows(room, q, 0, CHUNK, QUERIES, queries, channels);
    end_copies();
    WAIT_COPIES(0);
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int i = 0; i < DEPTH / 16; i++)
        load_queries(a[i], room, i * 16);
    barrier(CLK_LOCAL_MEM_FENCE);
    copy_step(room, k, v, count, channels);
    end_copies();
#pragma unroll 1
    for (int key = 0, s = 0; key < last; key += KEYS, s ^= 1) {
        __local uint4 *stage = room + s * STAGE;
        scores c;
        if (key + KEYS < last) {
            size_t next = (size_t)(key + KEYS) * channels;
            copy_step(room + (s ^ 1) * STAGE, k + next, v + next, count - key - KEYS, channels);
        }
        end_copies();
        WAIT_COPIES(1);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear_scores(c);
#pragma unroll
        for (int i = 0; i < DEPTH / 16; i++)
            add_scores(c, a[i], stage, i * 16);
        scale_scores(c, scale, end - key, behind);
        soften(rows, c);
        add_values(rows->sums, c, stage + KEYS * KEY_PITCH);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#define ROOM (2 * STAGE)

#else

enum { KEYS_AT = QUERIES * KEY_PITCH, VALUES_AT = KEYS_AT + KEYS * KEY_PITCH };

/* Does all keys, of the values the channels from `column` on. */
static inline void attend(struct rows *rows, __local uint4 *room, __global const T *q,
                          __global const T *k, __global const T *v, int queries, int last, int end,
                          int behind, int count, int channels, float scale, int column)
{
#pragma unroll 1
    for (int key = 0; key < last; key += KEYS) {
        size_t at = (size_t)key * channels;
        scores c;
        clear_scores(c);
#pragma unroll 1
        for (int chunk = 0; chunk < HEAD; chunk += CHUNK) {
            barrier(CLK_LOCAL_MEM_FENCE);
            copy_rows(room, q, chunk, CHUNK, QUERIES, queries, channels);
            copy_rows(room + KEYS_AT, k + at, chunk, CHUNK, KEYS, count - key, channels);
            if (chunk == 0)
                copy_rows(room + VALUES_AT, v + at, column, COLUMNS, KEYS, count - key, channels);
            end_copies();
            WAIT_COPIES(0);
            barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
            for (int i = 0; i < CHUNK; i += 16) {
                uint a[4];
                load_queries(a, room, i);
                add_scores(c, a, room + KEYS_AT, i);
            }
        }
        scale_scores(c, scale, end - key, behind);
        soften(rows, c);
        add_values(rows->sums, c, room + VALUES_AT);
    }
}

#define ROOM (VALUES_AT + KEYS * VALUE_PITCH)

#endif

WORK_GROUP(ITEMS, 1, 1)
void attention_mma(__global T *out, __global const T *q, __global const T *k, __global const T *v,
                   int tokens, int count, int channels, int heads, float scale, int causal)
{
    __local uint4 room[ROOM];
    int first = (int)get_group_id(0) * QUERIES, image = get_group_id(1) / heads;
    int head = get_group_id(1) % heads * HEAD, column = get_group_id(2) * COLUMNS;
    int last = causal ? min(count, first + QUERIES) : count;
    int end = causal ? first + warp() * 16 + lane() / 4 + 1 : count;
    size_t from = ((size_t)image * tokens + first) * channels + head;
    size_t keys = (size_t)image * count * channels + head;
    struct rows rows;
    rows.most[0] = rows.most[1] = -INFINITY;
    rows.total[0] = rows.total[1] = 0;
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
        rows.sums[n][0] = rows.sums[n][1] = rows.sums[n][2] = rows.sums[n][3] = 0;
    attend(&rows, room, q + from, k + keys, v + keys, tokens - first, last, end, causal ? 8 : 0, count,
           channels, scale * M_LOG2E_F, column);
    store_rows(out + from, &rows, tokens - first, channels, column);
}
