/* linear_mma.cl - y = x W^T with its epilogue, on tensor cores; W lies in panels of 32 outputs,
 * [ceil(columns / 32)][K][32], and K is a multiple of 8.
 *   x [rows, K]   bias [columns]   channels [rows / image_rows, columns]
 *   add, y [rows, outputs] */

#include "mma_tile.cl"

static inline void copy_step(__local uint4 *stage, __global const T *x, __global const T *w,
                             int row, int rows, int columns, int outputs, int k, int K)
{
    int from = k + load_piece() * 8;
#pragma unroll
    for (int l = 0; l < A_LOADS; l++, row += APART) {
        int present = row < rows && from < K;
        copy(stage + place(load_line() + l * APART, load_piece()),
             x + (present ? (size_t)row * K + from : 0), present);
    }
    copy_weight(stage, w, columns, outputs, 0, k, K, K);
}

WORK_GROUP(ITEMS, 1, 1)
void linear_mma(__global const T *restrict x, __global const T *restrict w, EPILOGUE, int K)
{
    __local uint4 stages[STAGES][LINES * PIECES];
    int row = first_row(outputs) + load_line(), steps = (K + DEPTH - 1) / DEPTH;
    int next = first_step(steps), last = last_step(steps);
    sums c;
    clear(c);
    for (int s = 0; s < STAGES - 1; s++, next++) {
        if (next < last)
            copy_step(stages[s], x, w, row, rows, columns, outputs, next * DEPTH, K);
        end_copies();
    }
    for (int step = first_step(steps), s = 0; step < last; step++, next++) {
        WAIT_COPIES(STAGES - 2);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (next < last)
            copy_step(stages[s ? s - 1 : STAGES - 1], x, w, row, rows, columns, outputs,
                      next * DEPTH, K);
        end_copies();
        multiply(c, stages[s]);
        s = s + 1 < STAGES ? s + 1 : 0;
    }
    STORE_TILE(c);
}
