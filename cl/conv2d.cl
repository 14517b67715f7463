/* conv2d.cl - convolutions as products of pixels with a weight, one for each tap (kh, kw) of the
 * window; the weight lies in panels of 32 outputs, [ceil(O / 32)][kh][kw][C][32] (with PAIRS:
 * [ceil(O / 32)][kh][kw][ceil(C / 2)][32][2]).
 *   x [N, IH, IW, C], resized to height x width by its nearest pixels
 *   bias [O], channels [N, O] or NULL   y [N, OH, OW, O]   add like y or NULL */

#define SHAPE                                                                                 \
    int IH, int IW, int C, int OH, int OW, int O, int KH, int KW, int stride, int dilation,    \
        int top, int left, int M

/* Where pixel (iy, ix) of image n begins, after resizing; NULL outside the image. */
__global const T *pixel_at(__global const T *x, int n, int iy, int ix, int IH, int IW, int C,
                           int height, int width)
{
    if (iy < 0 || iy >= height || ix < 0 || ix >= width)
        return 0;
    if (height != IH || width != IW) {
        iy = iy * IH / height;
        ix = ix * IW / width;
    }
    return x + (((size_t)n * IH + iy) * IW + ix) * C;
}

#include "panel.cl"

#ifdef ROWS

/* For CPU devices, as linear_vector: a work-item computes ROWS pixels of one panel. Where a window
 * leaves the image, pixels are others whose elements are masked, or zeros in the stage. */
#ifdef PAIRS
#define MASKED(row, k, mask) (PLACED(row, k) & (mask))
#else
#define MASKED(row, k, mask) as_float(as_int((float)PLACED(row, k)) & (mask))
#endif

static inline void zero_row(S *to, int n)
{
    for (int k = 0; k < PADDED(n); k++)
        to[k] = 0;
}

WORK_GROUP(1, 1, 1)
void conv2d_vector(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, SHAPE, int height,
                   int width, EPILOGUE)
{
    int row = (get_global_id(2) * get_global_size(0) + get_global_id(0)) * ROWS;
    int column = get_global_id(1) * 32;
    int rows = min(ROWS, M - row), columns = min(32, O - column);
    if (rows <= 0)
        return;

    __global const W *b = w + (size_t)column * KH * KW * PADDED(C);
    int image[ROWS], y0[ROWS], x0[ROWS];
    float16 c0[ROWS], c1[ROWS];
    S stage[ROWS * STAGE];
    float sums[ROWS * 32];
    begin_sums(c0, c1, bias ? bias + column : bias, columns, sums);
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
            int mask[ROWS], inside = 1;
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                a[r] = pixel_at(x, image[r], y0[r] + ky * dilation, x0[r] + kx * dilation, IH, IW, C,
                                height, width);
                mask[r] = a[r] ? -1 : 0;
                inside &= a[r] != 0;
            }
            if (IN_PLACE(C) && inside) {
                MULTIPLY(C, PLACED(a[r], k))
                continue;
            }
            if (IN_PLACE(C)) {
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    a[r] = a[r] ? a[r] : x;
                MULTIPLY(C, MASKED(a[r], k, mask[r]))
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
    end_sums(sums, c0, c1);
    store_sums(y, sums, row, column, rows, columns, O, channels, add, activation, image_rows);
}

#else

/* Where nothing better is there, and for groups of channels: a work-item computes one output of one
 * pixel. The panels have C / groups channels here. */
WORK_GROUP(LANES, 1, 1)
void conv2d_direct(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, SHAPE, int height,
                   int width, EPILOGUE, int groups)
{
    int o = get_global_id(0), pixel = get_global_id(1), n = C / groups;
    if (o >= O || pixel >= M)
        return;
    int image = pixel / (OH * OW), first = o / (O / groups) * n;
    int y0 = pixel / OW % OH * stride - top, x0 = pixel % OW * stride - left;
    __global const W *b = w + (size_t)(o / 32) * KH * KW * n * 32 + o % 32;
    float sum = bias ? bias[o] : 0.0f;
    for (int ky = 0; ky < KH; ky++)
        for (int kx = 0; kx < KW; kx++) {
            __global const T *a = pixel_at(x, image, y0 + ky * dilation, x0 + kx * dilation, IH, IW,
                                           C, height, width);
            for (int k = 0; k < n; k++, b += 32)
                if (a)
                    sum = fma(LOAD(a, first + k), LOADW(b, 0), sum);
        }
    store_sum(y, sum, 0.0f, pixel, o, O, channels, add, activation, image_rows);
}

#endif
