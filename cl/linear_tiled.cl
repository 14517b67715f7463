/* linear_tiled.cl - y = x W^T with its epilogue; W lies in panels of 32 outputs,
 * [ceil(columns / 32)][K][32].
 *   x [rows, K]   bias [columns]   channels [rows / image_rows, columns]
 *   add, y [rows, outputs] */

#include "tile.cl"

/* Elements from k on of rows from `row` on. */
static inline void load_step(struct step *step, __global const T *x, __global const W *weight,
                             int row, int rows, int k, int K)
{
    int from = k + load_element();
#pragma unroll
    for (int l = 0; l < A_LOADS; l++, row += A_APART)
        step->a[l] = row < rows ? load_elements(x, (size_t)row * K + from, K - from) : 0.0f;
    load_weight(step, weight, k + load_line(), K);
}

WORK_GROUP(ITEMS_X, ITEMS_Y, 1)
void linear_tiled(__global const T *restrict x, __global const W *restrict w, EPILOGUE, int K)
{
    __local float4 a[DEPTH * PITCH_A], b[DEPTH * PITCH_B];
    __global const W *weight = find_columns(w, columns, outputs, K);
    int row = first_row(outputs) + load_row();
    struct step step;
    float4 c[ROWS][PARTS];
    clear(c);
    int steps = (K + DEPTH - 1) / DEPTH, k = first_step(steps) * DEPTH, end = last_step(steps) * DEPTH;
    if (k < end)
        load_step(&step, x, weight, row, rows, k, K);
    for (; k < end; k += DEPTH) {
        put_step(a, b, &step);
        if (k + DEPTH < end)
            load_step(&step, x, weight, row, rows, k + DEPTH, K);
        multiply(c, a, b);
    }
    STORE_TILE(c);
}
