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

/* As linear_vector, pixels are its rows. Of few channels several taps are a block. */
WORK_GROUP(1, 1, 1)
void conv2d_vector(__global const T *restrict x, __global const W *restrict w,
                   __global const float *restrict bias, __global T *restrict y, SHAPE, int height,
                   int width, int strip, int group, EPILOGUE)
{
    int row = get_global_id(0) * strip, rows = min(strip, M - row);
    int first = get_global_id(1) * group * 32, columns = min(group * 32, O - first);
    int taps = KH * KW, step = max(1, BLOCK / PADDED(C)), image[STRIP], y0[STRIP], x0[STRIP];
    room o;
    for (int at = 0; at < columns; at += 32)
        begin_panel(o.sums[at / 32], bias ? bias + first + at : bias, columns - at);
    for (int r = 0; r < STRIP; r++) {
        int pixel = min(row + r, M - 1);
        image[r] = pixel / (OH * OW);
        y0[r] = pixel / OW % OH * stride - top;
        x0[r] = pixel % OW * stride - left;
    }
    for (int tap = 0; tap < taps; tap += step) {
        int count = min(step, taps - tap);
        for (int t = 0; t < count; t++)
            for (int r = 0; r < (rows + ROWS - 1) / ROWS * ROWS; r++) {
                int ky = (tap + t) / KW, kx = (tap + t) % KW;
                o.row[r] = pixel_at(x, image[r], y0[r] + ky * dilation, x0[r] + kx * dilation, IH, IW,
                                    C, height, width);
                if (count > 1)
                    stage_row(o.stage[r] + t * PADDED(C), o.row[r], C);
            }
        for (int k = 0; k < C; k += BLOCK) {
            int n = count > 1 ? count * PADDED(C) : min(BLOCK, C - k);
            if (count > 1)
                for (int t = 0; t < STRIP / ROWS; t++)
                    o.staged[t] = 1;
            else
                stage_rows(&o, rows, n);
            for (int at = 0; at < columns; at += 32)
                add_block(&o, at / 32,
                          w + ((size_t)(first + at) * taps + tap * 32) * PADDED(C) + k * 32, rows, n);
            for (int r = 0; r < STRIP; r++)
                o.row[r] = o.row[r] ? o.row[r] + BLOCK : 0;
        }
    }
    store_sums(y, o.sums, row, first, rows, columns, O, channels, add, activation, image_rows);
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
