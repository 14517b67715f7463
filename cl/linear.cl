/* linear.cl - y = activation(x W^T + b + channels) + add; W lies in panels of 32 outputs,
 * [ceil(N / 32)][K][32] (with PAIRS: [ceil(N / 32)][ceil(K / 2)][32][2]).
 *   x [M, K]   b [N], channels [M / image_rows, N] or NULL   y [M, N]   add [M, N] or NULL
 * GEGLU: W, b and channels have 2 N outputs, values and then gates. */

#include "panel.cl"

#ifdef ROWS

/* Dimension 0 and 2 are tiles of rows, 1 panels: the tiles of one index in dimension 2 are few
 * enough that their rows stay in the cache from panel to panel. */
WORK_GROUP(1, 1, 1)
void linear_vector(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, int M, int N, int K,
                   EPILOGUE)
{
    int row = (get_global_id(2) * get_global_size(0) + get_global_id(0)) * ROWS;
    int column = get_global_id(1) * 32;
    int rows = min(ROWS, M - row), columns = min(32, N - column);
    if (rows <= 0)
        return;

    __global const T *a[ROWS];
    float sums[2 * ROWS * 32]; /* values, gates */
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        a[r] = x + (size_t)min(row + r, M - 1) * K;
    for (int part = activation == THEN_GEGLU; part >= 0; part--) {
        float16 c0[ROWS], c1[ROWS];
        int output = column + part * N;
        __global const W *b = w + (size_t)output * PADDED(K);
        begin_sums(c0, c1, bias ? bias + output : bias, columns, sums);
        MULTIPLY_ROWS(K)
        end_sums(sums + part * ROWS * 32, c0, c1);
    }
    store_sums(y, sums, row, column, rows, columns, N, channels, add, activation, image_rows);
}

#else

/* After a product without bias. */
WORK_GROUP(LANES, 1, 1)
void linear_bias(__global T *restrict y, __global const float *restrict bias, int N)
{
    int column = get_global_id(0), row = get_global_id(1);
    if (column < N) {
        size_t at = (size_t)row * N + column;
        STORE(y, at, LOAD(y, at) + bias[column]);
    }
}

/* The sum of one output. */
float sum_of(__global const T *x, __global const W *w, __global const float *bias, int output, int K)
{
    __global const W *b = w + (size_t)(output / 32) * K * 32 + output % 32;
    float sum = bias ? bias[output] : 0.0f;
    for (int k = 0; k < K; k++)
        sum = fma(LOAD(x, k), LOADW(b, (size_t)k * 32), sum);
    return sum;
}

/* Where nothing better is there: a work-item computes one output of one row. */
WORK_GROUP(LANES, 1, 1)
void linear_direct(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, int M, int N, int K,
                   EPILOGUE)
{
    int column = get_global_id(0), row = get_global_id(1);
    if (column >= N || row >= M)
        return;
    __global const T *a = x + (size_t)row * K;
    float v = sum_of(a, w, bias, column, K), gate = 0.0f;
    if (activation == THEN_GEGLU)
        gate = sum_of(a, w, bias, column + N, K);
    store_sum(y, v, gate, row, column, N, channels, add, activation, image_rows);
}

#endif
