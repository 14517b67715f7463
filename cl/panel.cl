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

/* For CPU devices: a work-item computes ROWS rows of one panel, the accumulators c0 and c1 in vector
 * registers. Elements of x are broadcast from where they lie (PLACED), or from a stage of STAGE
 * elements a row (STAGED). */
#define STAGE 64

/* Elements of a long sum that are summed apart. */
#define BLOCK 512

#ifdef PAIRS

/* bf16 by x86's dot product: elements 2 k and 2 k + 1 of a row and of a panel are one int; a panel
 * is [ceil(K / 2)][32][2]. A row of odd length passes through the stage, where it gets a zero. */
typedef T S;
#define IN_PLACE(n) ((n) % 2 == 0)
#define PADDED(n) (((n) + 1) / 2 * 2)
#define PLACED(row, k) as_int(vload2(k, row))
#define STAGED(row, k) as_int(vload2(k, row))
#define DOT(c, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b))

/* Adds n elements of the sum from the weight at b; `pair` is pair k of row r. */
#define MULTIPLY(n, pair)                                                 \
    for (int k = 0; k < ((n) + 1) / 2; k++, b += 64) {                    \
        int16 b0 = vload16(0, (__global const int *)b);                   \
        int16 b1 = vload16(1, (__global const int *)b);                   \
        _Pragma("unroll")                                                 \
        for (int r = 0; r < ROWS; r++) {                                  \
            int16 e = (int16)(pair);                                      \
            DOT(c0[r], e, b0);                                            \
            DOT(c1[r], e, b1);                                            \
        }                                                                 \
    }

static inline void load_row(S *to, __global const T *from, int n)
{
    int k = 0;
    for (; k + 16 <= n; k += 16)
        vstore16(vload16(0, from + k), 0, to + k);
    for (; k < n; k++)
        to[k] = from[k];
    if (n % 2)
        to[n] = 0;
}

#else

typedef float S;
#define IN_PLACE(n) (DTYPE == 0)
#define PADDED(n) (n)
#define PLACED(row, k) LOAD(row, k)
#define STAGED(row, k) ((row)[k])

/* Adds n elements of the sum from the weight at b; `element` is element k of row r. They are summed
 * apart first: so the rounding errors of long sums stay small. */
#define MULTIPLY(n, element)                                   \
    {                                                          \
        float16 s0[ROWS], s1[ROWS];                            \
        _Pragma("unroll")                                      \
        for (int r = 0; r < ROWS; r++)                         \
            s0[r] = s1[r] = 0.0f;                              \
        for (int k = 0; k < (n); k++, b += 32) {               \
            float16 b0 = LOADWV16(b, 0), b1 = LOADWV16(b, 16); \
            _Pragma("unroll")                                  \
            for (int r = 0; r < ROWS; r++) {                   \
                float16 e = (float16)(element);                \
                s0[r] = fma(e, b0, s0[r]);                     \
                s1[r] = fma(e, b1, s1[r]);                     \
            }                                                  \
        }                                                      \
        _Pragma("unroll")                                      \
        for (int r = 0; r < ROWS; r++) {                       \
            c0[r] += s0[r];                                    \
            c1[r] += s1[r];                                    \
        }                                                      \
    }

static inline void load_row(S *to, __global const T *from, int n)
{
    int k = 0;
    for (; k + 16 <= n; k += 16)
        vstore16(LOADV16(from, k), 0, to + k);
    for (; k < n; k++)
        to[k] = LOAD(from, k);
}

#endif

/* Adds the products of rows a[ROWS] of n elements with the weight at b. */
#define MULTIPLY_ROWS(n)                                                      \
    if (IN_PLACE(n)) {                                                        \
        for (int k0 = 0; k0 < (n); k0 += BLOCK)                               \
            MULTIPLY(min(BLOCK, (n) - k0), PLACED(a[r] + k0, k))              \
    } else {                                                                  \
        S stage[ROWS * STAGE];                                                \
        for (int k0 = 0; k0 < (n); k0 += STAGE) {                             \
            int count = min(STAGE, (n) - k0);                                 \
            _Pragma("unroll")                                                 \
            for (int r = 0; r < ROWS; r++)                                    \
                load_row(stage + r * STAGE, a[r] + k0, count);                \
            MULTIPLY(count, STAGED(stage + r * STAGE, k))                     \
        }                                                                     \
    }

/* The sums begin as the bias; `line` is room for 32. */
static inline void begin_sums(float16 *c0, float16 *c1, __global const float *bias, int columns,
                              float *line)
{
    for (int i = 0; i < 32; i++)
        line[i] = bias && i < columns ? bias[i] : 0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        c0[r] = vload16(0, line);
        c1[r] = vload16(1, line);
    }
}

/* `line` receives ROWS x 32. */
static inline void end_sums(float *line, const float16 *c0, const float16 *c1)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        vstore16(c0[r], 0, line + r * 32);
        vstore16(c1[r], 1, line + r * 32);
    }
}

/* Stores the sums of ROWS x 32, behind which lie those of their gates where it has some, as rows x
 * columns of the result from `row` and `column` on, whose lines are N long. */
static inline void store_sums(__global T *y, const float *sums, int row, int column, int rows,
                              int columns, int N, EPILOGUE)
{
    int gated = activation == THEN_GEGLU;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < columns; i += 16) {
            int n = columns - i;
            size_t at = (size_t)(row + r) * N + column + i;
            size_t channel = (size_t)((row + r) / image_rows) * (N << gated) + column + i;
            float16 v = vload16(0, sums + r * 32 + i);
            if (channels)
                v += load_columns(channels + channel, n);
            v = ACTIVATE(v);
            if (gated) {
                float16 gate = vload16(0, sums + (ROWS + r) * 32 + i);
                if (channels)
                    gate += load_columns(channels + channel + N, n);
                v *= GELU(gate);
            }
            if (add)
                v += load_columns(add + at, n);
            store_columns(y + at, v, n);
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
