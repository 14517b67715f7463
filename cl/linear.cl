/* linear.cl - y = x W^T + b; W lies in panels of 32 outputs, [ceil(N / 32)][K][32]
 * (with PAIRS: [ceil(N / 32)][ceil(K / 2)][32][2]).
 *   x [M, K]   b [N] or NULL   y [M, N] */

#include "panel.cl"

#ifdef ROWS

/* Dimension 0 and 2 are tiles of rows, 1 panels: the tiles of one index in dimension 2 are few
 * enough that their rows stay in the cache from panel to panel. */
WORK_GROUP(1, 1, 1)
void linear_vector(__global const T *restrict x, __global const T *restrict w,
                   __global const float *restrict bias, __global T *restrict y, int M, int N, int K)
{
    int row = (get_global_id(2) * get_global_size(0) + get_global_id(0)) * ROWS;
    int column = get_global_id(1) * 32;
    int rows = min(ROWS, M - row), columns = min(32, N - column);
    if (rows <= 0)
        return;

    __global const T *a[ROWS], *b = w + (size_t)column * PADDED(K);
    float16 c0[ROWS], c1[ROWS];
    float room[ROWS * 32];
    begin_sums(c0, c1, bias ? bias + column : bias, columns, room);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        a[r] = x + (size_t)min(row + r, M - 1) * K;
    if (IN_PLACE(K)) {
        for (int k0 = 0; k0 < K; k0 += BLOCK)
            MULTIPLY(min(BLOCK, K - k0), PLACED(a[r] + k0, k))
    } else {
        S stage[ROWS * STAGE];
        for (int k0 = 0; k0 < K; k0 += STAGE) {
            int n = min(STAGE, K - k0);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                load_row(stage + r * STAGE, a[r] + k0, n);
            MULTIPLY(n, STAGED(stage + r * STAGE, k))
        }
    }
    store_sums(y + (size_t)row * N + column, N, rows, columns, c0, c1, room);
}

#else

/* This work-item's 4 elements of the weight's tile: line k of the panels at `column`. */
float4 load_weight(__global const T *w, int column, int k, int N, int K)
{
    if (column / 32 * 32 >= N || k >= K)
        return 0.0f;
    return LOADV4(w, ((size_t)(column / 32) * K + k) * 32 + column % 32);
}

WORK_GROUP(16, 16, 1)
void linear_tiled(__global const T *restrict x, __global const T *restrict w,
                  __global const float *restrict bias, __global T *restrict y, int M, int N, int K)
{
    __local float a[DEPTH * PITCH], b[DEPTH * TILE];
    int lx = get_local_id(0), ly = get_local_id(1), item = ly * 16 + lx;
    int tile_row = get_group_id(1) * TILE, tile_column = get_group_id(0) * TILE;

    /* What it brings into local memory: 4 elements of a row of x, 4 columns of the weight. */
    int from_row = item / 4, from_k = item % 4 * 4, row = tile_row + from_row;
    float4 c[4];
#pragma unroll
    for (int r = 0; r < 4; r++)
        c[r] = 0.0f;
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        float4 v = 0.0f;
        if (row < M)
            v = load_elements(x, (size_t)row * K + k0 + from_k, K - k0 - from_k);
        a[(from_k + 0) * PITCH + from_row] = v.s0;
        a[(from_k + 1) * PITCH + from_row] = v.s1;
        a[(from_k + 2) * PITCH + from_row] = v.s2;
        a[(from_k + 3) * PITCH + from_row] = v.s3;
        vstore4(load_weight(w, tile_column + lx * 4, k0 + ly, N, K), 0, b + ly * TILE + lx * 4);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 ak = vload4(0, a + k * PITCH + ly * 4);
            float4 bk = vload4(0, b + k * TILE + lx * 4);
            c[0] = fma((float4)ak.s0, bk, c[0]);
            c[1] = fma((float4)ak.s1, bk, c[1]);
            c[2] = fma((float4)ak.s2, bk, c[2]);
            c[3] = fma((float4)ak.s3, bk, c[3]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    int column = tile_column + lx * 4, first = tile_row + ly * 4;
    float4 offset = load_bias(bias, column, N);
#pragma unroll
    for (int r = 0; r < 4; r++)
        if (first + r < M)
            store_elements(y, (size_t)(first + r) * N + column, N - column, c[r] + offset);
}

/* After a product without bias. */
WORK_GROUP(64, 1, 1)
void linear_bias(__global T *restrict y, __global const float *restrict bias, int N)
{
    int column = get_global_id(0), row = get_global_id(1);
    if (column < N) {
        size_t at = (size_t)row * N + column;
        STORE(y, at, LOAD(y, at) + bias[column]);
    }
}

#endif
