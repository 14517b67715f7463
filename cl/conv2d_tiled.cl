/* conv2d_tiled.cl - convolutions as products of pixels with a weight, one for each tap (ky, kx) of
 * the window, with their epilogue; the weight lies in panels of 32 outputs,
 * [ceil(columns / 32)][KH][KW][C][32].
 *   x [N, H, XW, C], seen as if resized to [N, RH, RW, C]   bias [columns]   channels [N, columns]
 *   add, y [N, OH, OW, columns], which are `rows` pixels */

#include "tile.cl"
#include "window.cl"

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
    int tap_steps = (C + DEPTH - 1) / DEPTH, steps = KH * KW * tap_steps;
    int now = first_step(steps), last = last_step(steps), tap = now / tap_steps;
    int ky = tap / KW, kx = tap % KW, k = now % tap_steps * DEPTH, line = tap * C;
    find_windows(source, first_row(outputs) + load_row(), A_APART, rows, H, OH, OW, stride, top,
                 left);
    find_pixels(source, x, ky * dilation, kx * dilation, H, XW, C, RH, RW);
    if (now < last)
        load_step(&step, source, weight, line, k, C);
    for (; now < last; now++) {
        put_step(a, b, &step);
        if (now + 1 < last) {
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
    STORE_TILE(c);
}
