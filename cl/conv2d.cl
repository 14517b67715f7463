/* conv2d.cl - convolutions as products of pixels with a weight, one for each tap (kh, kw) of the
 * window; the weight lies in panels of 32 outputs, [ceil(O / 32)][kh][kw][C][32] (with PAIRS:
 * [ceil(O / 32)][kh][kw][ceil(C / 2)][32][2]).
 *   x [N, H, W, C]   bias [O] or NULL   y [N, OH, OW, O] */

#define SHAPE                                                                                 \
    int H, int W, int C, int OH, int OW, int O, int KH, int KW, int stride, int dilation,      \
        int top, int left, int M

/* Where pixel (iy, ix) of image n begins; NULL outside the image. */
__global const T *pixel_at(__global const T *x, int n, int iy, int ix, int H, int W, int C)
{
    if (iy < 0 || iy >= H || ix < 0 || ix >= W)
        return 0;
    return x + (((size_t)n * H + iy) * W + ix) * C;
}

#include "panel.cl"

#ifdef ROWS

/* For CPU devices, as linear_vector: a work-item computes ROWS pixels of one panel. Where a window
 * leaves the image, the pixels pass through the stage too, as zeros. */
static inline void zero_row(S *to, int n)
{
    for (int k = 0; k < PADDED(n); k++)
        to[k] = 0;
}

WORK_GROUP(1, 1, 1)
void conv2d_vector(__global const T *restrict x, __global const T *restrict w,
                   __global const float *restrict bias, __global T *restrict y, SHAPE)
{
    int row = (get_global_id(2) * get_global_size(0) + get_global_id(0)) * ROWS;
    int column = get_global_id(1) * 32;
    int rows = min(ROWS, M - row), columns = min(32, O - column);
    if (rows <= 0)
        return;

    __global const T *b = w + (size_t)column * KH * KW * PADDED(C);
    int image[ROWS], y0[ROWS], x0[ROWS];
    float16 c0[ROWS], c1[ROWS];
    S stage[ROWS * STAGE];
    float room[ROWS * 32];
    begin_sums(c0, c1, bias ? bias + column : bias, columns, room);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int pixel = min(row + r, M - 1);
        image[r] = pixel / (OH * OW);
        y0[r] = pixel / OW % OH * stride - top;
        x0[r] = pixel % OW * stride - left;
    }
    for (int ky = 0; ky < KH; ky++)
        for (int kx = 0; kx < KW; kx++) {
            __global const T *a[ROWS];
            int inside = IN_PLACE(C);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                a[r] = pixel_at(x, image[r], y0[r] + ky * dilation, x0[r] + kx * dilation, H, W, C);
                inside &= a[r] != 0;
            }
            if (inside) {
                MULTIPLY(C, PLACED(a[r], k))
                continue;
            }
            for (int k0 = 0; k0 < C; k0 += STAGE) {
                int n = min(STAGE, C - k0);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    if (a[r])
                        load_row(stage + r * STAGE, a[r] + k0, n);
                    else
                        zero_row(stage + r * STAGE, n);
                MULTIPLY(n, STAGED(stage + r * STAGE, k))
            }
        }
    store_sums(y + (size_t)row * O + column, O, rows, columns, c0, c1, room);
}

#else

/* For every device, as linear_tiled: a group computes TILE pixels x TILE outputs in steps of DEPTH
 * channels of a tap through local memory, a work-item 4 x 4 of it. */
WORK_GROUP(16, 16, 1)
void conv2d_tiled(__global const T *restrict x, __global const T *restrict w,
                  __global const float *restrict bias, __global T *restrict y, SHAPE)
{
    __local float a[DEPTH * PITCH], b[DEPTH * TILE];
    int lx = get_local_id(0), ly = get_local_id(1), item = ly * 16 + lx;
    int tile_row = get_group_id(1) * TILE, column = get_group_id(0) * TILE + lx * 4;

    /* What it brings into local memory: 4 channels of a pixel, 4 outputs of the weight. */
    int from_row = item / 4, from_k = item % 4 * 4, pixel = tile_row + from_row;
    int image = pixel / (OH * OW), taps = KH * KW;
    int y0 = pixel / OW % OH * stride - top, x0 = pixel % OW * stride - left;
    __global const T *panel = w + (size_t)(column / 32) * taps * C * 32 + column % 32;
    int has_panel = column / 32 * 32 < O;

    float4 c[4];
#pragma unroll
    for (int r = 0; r < 4; r++)
        c[r] = 0.0f;
    for (int tap = 0; tap < taps; tap++) {
        __global const T *from = 0;
        if (pixel < M)
            from = pixel_at(x, image, y0 + tap / KW * dilation, x0 + tap % KW * dilation, H, W, C);
        for (int k0 = 0; k0 < C; k0 += DEPTH) {
            float4 v = 0.0f, line = 0.0f;
            if (from)
                v = load_elements(from, k0 + from_k, C - k0 - from_k);
            if (has_panel && k0 + ly < C)
                line = LOADV4(panel, ((size_t)tap * C + k0 + ly) * 32);
            a[(from_k + 0) * PITCH + from_row] = v.s0;
            a[(from_k + 1) * PITCH + from_row] = v.s1;
            a[(from_k + 2) * PITCH + from_row] = v.s2;
            a[(from_k + 3) * PITCH + from_row] = v.s3;
            vstore4(line, 0, b + ly * TILE + lx * 4);
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
    }

    int first = tile_row + ly * 4;
    float4 offset = load_bias(bias, column, O);
#pragma unroll
    for (int r = 0; r < 4; r++)
        if (first + r < M)
            store_elements(y, (size_t)(first + r) * O + column, O - column, c[r] + offset);
}

/* Convolution in groups of channels: a work-item computes one output of one pixel. The panels have
 * C / groups channels here. */
WORK_GROUP(64, 1, 1)
void conv2d_direct(__global const T *restrict x, __global const T *restrict w,
                   __global const float *restrict bias, __global T *restrict y, SHAPE, int groups)
{
    int o = get_global_id(0), pixel = get_global_id(1), n = C / groups;
    if (o >= O || pixel >= M)
        return;
    int image = pixel / (OH * OW), first = o / (O / groups) * n;
    int y0 = pixel / OW % OH * stride - top, x0 = pixel % OW * stride - left;
    __global const T *b = w + (size_t)(o / 32) * KH * KW * n * 32 + o % 32;
    float sum = bias ? bias[o] : 0.0f;
    for (int ky = 0; ky < KH; ky++)
        for (int kx = 0; kx < KW; kx++) {
            __global const T *a =
                pixel_at(x, image, y0 + ky * dilation, x0 + kx * dilation, H, W, C);
            for (int k = 0; k < n; k++, b += 32)
                if (a)
                    sum = fma(LOAD(a, first + k), LOAD(b, 0), sum);
        }
    STORE(y, (size_t)pixel * O + o, sum);
}

#endif
