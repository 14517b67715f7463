/* probe_mma.cl - whether the instructions of mma.cl compile and are right; lib/device/cl_probe.c
 * compares the result. */

#include "mma_tile.cl"

/* y [32] = the products of x [16, 32] and w [32, 32], of which each lane adds up what it has. */
WORK_GROUP(ITEMS, 1, 1)
void probe_mma(__global const T *restrict x, __global const T *restrict w,
               __global float *restrict y)
{
    __local uint4 stages[STAGES][LINES * PIECES];
    sums c;
    clear(c);
#pragma unroll
    for (int l = 0; l < A_LOADS; l++) {
        int line = load_line() + l * APART;
        copy(stages[0] + place(line, load_piece()), x + line * DEPTH + load_piece() * 8, 1);
    }
    copy_weight(stages[0], w, 32, 32, 0, 0, DEPTH, DEPTH);
    for (int s = 0; s < STAGES; s++)
        end_copies();
    WAIT_COPIES(STAGES - 2);
    barrier(CLK_LOCAL_MEM_FENCE);
    multiply(c, stages[0]);
    int row = lane() / 4;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < 4; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum += c[0][n][i] * (output_of(n, 32) + i % 2 + (row + i / 2 * 8) * 32);
    }
    y[get_local_id(0)] = sum;
}
