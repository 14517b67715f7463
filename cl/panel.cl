/* panel.cl - what products with a weight in panels of 32 outputs share (linear.cl, conv2d.cl,
 * matmul.cl). */

/* What follows the sums, as in dfx_epilogue; image_rows of the result share a line of channels. */
#define EPILOGUE                                                                              \
    __global const T *restrict channels, __global const T *restrict add, int activation,      \
        int image_rows
enum { THEN_SILU = 1, THEN_GELU, THEN_QUICK_GELU, THEN_GEGLU };
#define ACTIVATE(v)                           \
    (activation == THEN_SILU         ? SILU(v) \
     : activation == THEN_GELU       ? GELU(v) \
     : activation == THEN_QUICK_GELU ? QUICK_GELU(v) : (v))

#ifdef ROWS

#include "columns.cl"

/* For CPU devices: a work-item computes a strip of up to STRIP rows, in tiles of ROWS, and up to
 * GROUP of the weight's panels. It goes through the sum in blocks: a block of a panel stays in the
 * first-level cache while the strip's tiles use it, each with its sums in vector registers; the
 * strip's rows and sums stay in the second level. Rows are read where they lie, or from a stage:
 * what is narrower than float, tiles with zeros for rows, odd lengths that are taken in pairs. */
#define STRIP (8 * ROWS)
#define GROUP 8

#ifdef PAIRS

/* bf16 by x86's dot product: elements 2 k and 2 k + 1 of a row and of a panel are one int; a panel
 * is [ceil(K / 2)][32][2]. Rows of odd length get a zero. */
typedef T S;
#define BLOCK 256
#define PADDED(n) (((n) + 1) / 2 * 2)
#define IN_PLACE(n) ((n) % 2 == 0)
#define PLACED(row, k) as_int(vload2(k, row))
#define STAGED(row, k) as_int(vload2(k, row))
#define DOT(c, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b))

#else

typedef float S;
#define BLOCK 128
#define PADDED(n) (n)
#define IN_PLACE(n) (DTYPE == 0)
#define PLACED(row, k) LOAD(row, k)
#define STAGED(row, k) ((row)[k])
#if DTYPE != 0 || (defined WTYPE && WTYPE != 0)
#define NARROW /* the weight is: its blocks are widened by the first tile that is multiplied */
#endif

#endif

/* What a work-item works in. */
typedef struct {
    float16 sums[GROUP][STRIP][2];
    __global const T *row[STRIP]; /* their next block; NULL: zeros */
    int staged[STRIP / ROWS];     /* tiles */
    S stage[STRIP][BLOCK];
#ifdef NARROW
    float panel[BLOCK * 32];
#endif
} room;

/* The sums of a panel begin as the bias. */
static inline void begin_panel(float16 sums[STRIP][2], __global const float *bias, int columns)
{
    float line[32];
    for (int i = 0; i < 32; i++)
        line[i] = bias && i < columns ? bias[i] : 0.0f;
    for (int r = 0; r < STRIP; r++) {
        sums[r][0] = vload16(0, line);
        sums[r][1] = vload16(1, line);
    }
}

/* n elements of a row into the stage. */
static inline void stage_row(S *to, __global const T *from, int n)
{
    int k = 0;
#ifdef PAIRS
    for (; from && k < n; k++)
        to[k] = from[k];
#else
    for (; from && k + 16 <= n; k += 16)
        vstore16(LOADV16(from, k), 0, to + k);
    for (; from && k < n; k++)
        to[k] = LOAD(from, k);
#endif
    for (; k < PADDED(n); k++)
        to[k] = 0;
}

/* Stages the tiles' rows that have to be, n elements of them. */
static inline void stage_rows(room *o, int rows, int n)
{
    for (int t = 0; t * ROWS < rows; t++) {
        int staged = !IN_PLACE(n);
        for (int r = 0; r < ROWS; r++)
            staged |= !o->row[t * ROWS + r];
        for (int r = t * ROWS; staged && r < (t + 1) * ROWS; r++)
            stage_row(o->stage[r], o->row[r], n);
        o->staged[t] = staged;
    }
}

/* Whether a tile lies in the stage. Where all do, the compiler leaves the other way out. */
static inline int is_staged(const room *o, int tile, int n)
{
    return !IN_PLACE(n) || o->staged[tile];
}

#ifdef PAIRS

#define WEIGHT __global const W *

/* Adds n elements of a tile from the weight at b; `pair` is pair k of row r. The panel's next block
 * is asked for, into the second level. */
#define MULTIPLY(n, pair)                                                 \
    _Pragma("unroll")                                                     \
    for (int r = 0; r < ROWS; r++) {                                      \
        c0[r] = sums[r][0];                                               \
        c1[r] = sums[r][1];                                               \
    }                                                                     \
    for (int k = 0; k < ((n) + 1) / 2; k++, b += 64) {                    \
        int16 b0 = vload16(0, (__global const int *)b);                   \
        int16 b1 = vload16(1, (__global const int *)b);                   \
        _Pragma("unroll")                                                 \
        for (int r = 0; r < ROWS; r++) {                                  \
            int16 e = (int16)(pair);                                      \
            DOT(c0[r], e, b0);                                            \
            DOT(c1[r], e, b1);                                            \
        }                                                                 \
        FETCH_FAR(b + BLOCK * 32);                                        \
        FETCH_FAR(b + BLOCK * 32 + 32);                                   \
    }                                                                     \
    _Pragma("unroll")                                                     \
    for (int r = 0; r < ROWS; r++) {                                      \
        sums[r][0] = c0[r];                                               \
        sums[r][1] = c1[r];                                               \
    }

#else

#ifdef NARROW
#define WEIGHT const float *
#define LOAD_WEIGHT(b) (*(const FLOATS *)(b))
#else
#define WEIGHT __global const float *
#define LOAD_WEIGHT(b) LOAD_FLOATS(b)
#endif

/* Adds n elements of a tile from the weight at b; `element` is element k of row r, `left` and
 * `right` are a line of the weight. They are summed apart first: so the rounding errors of long
 * sums stay small. */
#define MULTIPLY(n, element) MULTIPLY_OF(n, element, LOAD_WEIGHT(b), LOAD_WEIGHT(b + 16), )
#define MULTIPLY_OF(n, element, left, right, then)             \
    _Pragma("unroll")                                          \
    for (int r = 0; r < ROWS; r++)                             \
        c0[r] = c1[r] = 0.0f;                                  \
    for (int k = 0; k < (n); k++, b += 32) {                   \
        float16 b0 = left, b1 = right;                         \
        _Pragma("unroll")                                      \
        for (int r = 0; r < ROWS; r++) {                       \
            float16 e = (float16)(element);                    \
            c0[r] = fma(e, b0, c0[r]);                         \
            c1[r] = fma(e, b1, c1[r]);                         \
        }                                                      \
        then                                                   \
    }                                                          \
    _Pragma("unroll")                                          \
    for (int r = 0; r < ROWS; r++) {                           \
        sums[r][0] += c0[r];                                   \
        sums[r][1] += c1[r];                                   \
    }

#endif

static inline void add_placed(float16 sums[ROWS][2], __global const T *row[ROWS], WEIGHT b, int n)
{
    __global const T *a[ROWS];
    float16 c0[ROWS], c1[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        a[r] = row[r];
    MULTIPLY(n, PLACED(a[r], k))
}

static inline void add_staged(float16 sums[ROWS][2], S row[ROWS][BLOCK], WEIGHT b, int n)
{
    float16 c0[ROWS], c1[ROWS];
    MULTIPLY(n, STAGED(row[r], k))
}

#ifdef NARROW

/* The same of a weight that comes to lie in `wide` on the way, as floats. The panel's next block is
 * asked for, into the second level: the first is full. */
#define WIDEN(n, element)                                      \
    MULTIPLY_OF(n, element, LOADWV16(b, 0), LOADWV16(b, 16), { \
        *(FLOATS *)wide = b0;                                  \
        *(FLOATS *)(wide + 16) = b1;                           \
        wide += 32;                                            \
        FETCH_FAR(b + (n) * 32);                               \
    })

static inline void widen_placed(float16 sums[ROWS][2], __global const T *row[ROWS],
                                __global const W *b, float *wide, int n)
{
    __global const T *a[ROWS];
    float16 c0[ROWS], c1[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        a[r] = row[r];
    WIDEN(n, PLACED(a[r], k))
}

static inline void widen_staged(float16 sums[ROWS][2], S row[ROWS][BLOCK], __global const W *b,
                                float *wide, int n)
{
    float16 c0[ROWS], c1[ROWS];
    WIDEN(n, STAGED(row[r], k))
}

#endif

/* Adds the next n elements of the rows, with those of a panel from `weight` on. */
static inline void add_block(room *o, int panel, __global const W *weight, int rows, int n)
{
    int t = 0;
#ifdef NARROW
    const float *b = o->panel;
    if (is_staged(o, t++, n))
        widen_staged(o->sums[panel], o->stage, weight, o->panel, n);
    else
        widen_placed(o->sums[panel], o->row, weight, o->panel, n);
#else
    __global const W *b = weight;
#endif
    for (; t * ROWS < rows; t++) {
        float16 (*sums)[2] = o->sums[panel] + t * ROWS;
        if (is_staged(o, t, n))
            add_staged(sums, o->stage + t * ROWS, b, n);
        else
            add_placed(sums, o->row + t * ROWS, b, n);
    }
}

/* Stores the sums as rows x columns of the result from `row` and `column` on, whose lines are N
 * long. With GEGLU each panel's are followed by those of its gates. */
static inline void store_sums(__global T *y, float16 sums[GROUP][STRIP][2], int row, int column,
                              int rows, int columns, int N, EPILOGUE)
{
    int gated = activation == THEN_GEGLU;
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)(row + r) * N + column;
        size_t channel = (size_t)((row + r) / image_rows) * (N << gated) + column;
        for (int i = 0; i < columns; i += 16, at += 16, channel += 16) {
            int n = columns - i, panel = i / 32 << gated;
            float16 v = sums[panel][r][i / 16 % 2];
            if (channels)
                v += load_columns(channels + channel, n);
            v = ACTIVATE(v);
            if (gated) {
                float16 gate = sums[panel + 1][r][i / 16 % 2];
                if (channels)
                    gate += load_columns(channels + channel + N, n);
                v *= GELU(gate);
            }
            if (add)
                v += load_columns(add + at, n);
            store_columns(y + at, v, n);
        }
    }
}

#else

/* Stores one result from its sum and, where it has one, its gate's. */
void store_sum(__global T *y, float v, float gate, int row, int column, int N, EPILOGUE)
{
    int gated = activation == THEN_GEGLU;
    size_t at = (size_t)row * N + column;
    size_t channel = (size_t)(row / image_rows) * (N << gated) + column;
    if (channels)
        v += LOAD(channels, channel);
    v = ACTIVATE(v);
    if (gated) {
        if (channels)
            gate += LOAD(channels, channel + N);
        v *= GELU(gate);
    }
    if (add)
        v += LOAD(add, at);
    STORE(y, at, v);
}

#endif
