/* linear.cl - y = activation(x W^T + b + channels) + add; W lies in panels of 32 outputs,
 * [ceil(N / 32)][K][32] (with PAIRS: [ceil(N / 32)][ceil(K / 2)][32][2]).
 *   x [M, K]   b [N], channels [M / image_rows, N] or NULL   y [M, N]   add [M, N] or NULL
 * GEGLU: W, b and channels have 2 N outputs, values and then gates. */

#include "panel.cl"

#ifdef ROWS

/* Dimension 0 are strips of `strip` rows, 1 groups of `group` panels of the result. */
WORK_GROUP(1, 1, 1)
void linear_vector(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, int M, int N, int K,
                   int strip, int group, EPILOGUE)
{
    int row = get_global_id(0) * strip, rows = min(strip, M - row), gated = activation == THEN_GEGLU;
    int first = get_global_id(1) * group * 32, columns = min(group * 32, N - first);
    room o;
    for (int p = 0, at = 0; at < columns; at += 32)
        for (int gate = 0; gate <= gated; gate++, p++)
            begin_panel(o.sums[p], bias ? bias + first + at + gate * N : bias, columns - at);
    for (int k = 0; k < K; k += BLOCK) {
        int n = min(BLOCK, K - k);
        for (int r = 0; r < STRIP; r++)
            o.row[r] = x + (size_t)min(row + r, M - 1) * K + k;
        stage_rows(&o, rows, n);
        for (int p = 0, at = 0; at < columns; at += 32)
            for (int gate = 0; gate <= gated; gate++, p++)
                add_block(&o, p, w + (size_t)(first + at + gate * N) * PADDED(K) + k * 32, rows, n);
    }
    store_sums(y, o.sums, row, first, rows, columns, N, channels, add, activation, image_rows);
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
