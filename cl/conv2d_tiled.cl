/* conv2d_tiled.cl - convolutions as products of pixels with a weight, one for each tap (ky, kx) of
 * the window, with their epilogue; the weight lies in panels of 32 outputs,
 * [ceil(columns / 32)][KH][KW][C][32].
 *   x [N, H, XW, C], seen as if resized to [N, RH, RW, C]   bias [columns]   channels [N, columns]
 *   add, y [N, OH, OW, columns], which are `rows` pixels */

#include "tile.cl"

/* A pixel whose window this work-item loads: the first line of its image, where its window begins,
 * and where the input pixel of the present tap does (NULL: zeros). */
struct source {
    int line, y, x;
    __global const T *pixel;
};

/* Above every image, however far a tap is below: where pixels after the last one begin. */
#define NOWHERE (-(1 << 30))

/* Of pixels from `pixel` on. */
static inline void find_windows(struct source source[A_LOADS], int pixel, int rows, int H, int OH,
                                int OW, int stride, int top, int left)
{
#pragma unroll
    for (int l = 0; l < A_LOADS; l++, pixel += A_APART) {
        int line = pixel / OW;
        source[l].line = line / OH * H;
        source[l].y = pixel < rows ? line % OH * stride - top : NOWHERE;
        source[l].x = pixel % OW * stride - left;
    }
}

/* The input pixels of a tap, which is `down` and `right` from where windows begin. */
static inline void find_pixels(struct source source[A_LOADS], __global const T *input, int down,
                               int right, int H, int XW, int C, int RH, int RW)
{
#pragma unroll
    for (int l = 0; l < A_LOADS; l++) {
        int y = source[l].y + down, x = source[l].x + right;
        int inside = y >= 0 && y < RH && x >= 0 && x < RW;
        if (RH != H)
            y = y * H / RH;
        if (RW != XW)
            x = x * XW / RW;
        source[l].pixel = inside ? input + ((size_t)(source[l].line + y) * XW + x) * C : 0;
    }
}

/* Channels from k on of the tap whose weights begin at `line`. */
static inline void load_step(struct step *step, const struct source source[A_LOADS],
                             __global const W *weight, int line, int k, int C)
{
    int from = k + load_element();
#pragma unroll
    for (int l = 0; l < A_LOADS; l++)
        step->a[l] = source[l].pixel ? load_elements(source[l].pixel, from, C - from) : 0.0f;
    load_weight(step, weight, line + k + load_line(), line + C);
}

WORK_GROUP(ITEMS_X, ITEMS_Y, 1)
void conv2d_tiled(__global const T *restrict x, __global const W *restrict w, EPILOGUE, int H,
                  int XW, int C, int RH, int RW, int OH, int OW, int KH, int KW, int stride,
                  int dilation, int top, int left)
{
    __local float4 a[DEPTH * PITCH_A], b[DEPTH * PITCH_B];
    __global const W *weight = find_columns(w, columns, outputs, KH * KW * C);
    struct source source[A_LOADS];
    struct step step;
    float4 c[ROWS][PARTS];
    clear(c);
    find_windows(source, first_row(outputs) + load_row(), rows, H, OH, OW, stride, top, left);
    find_pixels(source, x, 0, 0, H, XW, C, RH, RW);
    load_step(&step, source, weight, 0, 0, C);
    int ky = 0, kx = 0, k = 0, line = 0;
    for (int steps = KH * KW * ((C + DEPTH - 1) / DEPTH); steps > 0; steps--) {
        put_step(a, b, &step);
        if (steps > 1) {
            k += DEPTH;
            if (k >= C) {
                k = 0;
                line += C;
                kx = kx + 1 < KW ? kx + 1 : 0;
                ky += kx == 0;
                find_pixels(source, x, ky * dilation, kx * dilation, H, XW, C, RH, RW);
            }
            load_step(&step, source, weight, line, k, C);
        }
        multiply(c, a, b);
    }
    store_tile(c, bias, channels, add, y, rows, columns, outputs, image_rows);
}
