/* panel.cl - what products with a weight in panels of 32 outputs share (linear.cl, conv2d.cl). */

#ifdef ROWS

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
#define MULTIPLY(n, element)                                 \
    {                                                        \
        float16 s0[ROWS], s1[ROWS];                          \
        _Pragma("unroll")                                    \
        for (int r = 0; r < ROWS; r++)                       \
            s0[r] = s1[r] = 0.0f;                            \
        for (int k = 0; k < (n); k++, b += 32) {             \
            float16 b0 = LOADV16(b, 0), b1 = LOADV16(b, 16); \
            _Pragma("unroll")                                \
            for (int r = 0; r < ROWS; r++) {                 \
                float16 e = (float16)(element);              \
                s0[r] = fma(e, b0, s0[r]);                   \
                s1[r] = fma(e, b1, s1[r]);                   \
            }                                                \
        }                                                    \
        _Pragma("unroll")                                    \
        for (int r = 0; r < ROWS; r++) {                     \
            c0[r] += s0[r];                                  \
            c1[r] += s1[r];                                  \
        }                                                    \
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

/* Stores rows x columns of the sums at y, whose lines are N long; `room` is for ROWS x 32. */
static inline void store_sums(__global T *y, int N, int rows, int columns, const float16 *c0,
                              const float16 *c1, float *room)
{
    if (rows == ROWS && columns == 32) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            STOREV16(y, (size_t)r * N, c0[r]);
            STOREV16(y, (size_t)r * N + 16, c1[r]);
        }
        return;
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        vstore16(c0[r], 0, room + r * 32);
        vstore16(c1[r], 0, room + r * 32 + 16);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < columns; i++)
            STORE(y, (size_t)r * N + i, room[r * 32 + i]);
}

#else

/* For every device: a group computes a tile of TILE x TILE in steps of DEPTH through local memory, a
 * work-item 4 x 4 of it. */
#define DEPTH 16
#define PITCH (TILE + 4)

/* Up to 4 elements of x, zeros after n. */
float4 load_elements(__global const T *x, size_t at, int n)
{
    if (n >= 4)
        return LOADV4(x, at);
    float4 v = 0.0f;
    if (n > 0)
        v.s0 = LOAD(x, at);
    if (n > 1)
        v.s1 = LOAD(x, at + 1);
    if (n > 2)
        v.s2 = LOAD(x, at + 2);
    return v;
}

void store_elements(__global T *y, size_t at, int n, float4 v)
{
    if (n >= 4) {
        STOREV4(y, at, v);
        return;
    }
    if (n > 0)
        STORE(y, at, v.s0);
    if (n > 1)
        STORE(y, at + 1, v.s1);
    if (n > 2)
        STORE(y, at + 2, v.s2);
}

/* The bias of 4 outputs from `column` on; zeros without one, and from output n on. */
float4 load_bias(__global const float *bias, int column, int n)
{
    float4 v = 0.0f;
    if (bias) {
        v.s0 = column < n ? bias[column] : 0.0f;
        v.s1 = column + 1 < n ? bias[column + 1] : 0.0f;
        v.s2 = column + 2 < n ? bias[column + 2] : 0.0f;
        v.s3 = column + 3 < n ? bias[column + 3] : 0.0f;
    }
    return v;
}

#endif
