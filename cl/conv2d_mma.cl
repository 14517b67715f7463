/* conv2d_mma.cl - convolutions as products of pixels with a weight, one for each tap (ky, kx) of the
 * window, with their epilogue, on tensor cores; the weight lies in panels of 32 outputs,
 * [ceil(columns / 32)][KH][KW][C][32], and C is a multiple of 8.
 *   x [N, H, XW, C], seen as if resized to [N, RH, RW, C]   bias [columns]   channels [N, columns]
 *   add, y [N, OH, OW, columns], which are `rows` pixels */

#include "mma_tile.cl"
#include "window.cl"

/* A step of the sum: channels from k on of tap (ky, kx). */
struct step {
    int ky, kx, k;
};

static inline void copy_step(__local uint4 *stage, const struct source source[A_LOADS],
                             __global const T *x, __global const T *w, int columns, int outputs,
                             struct step step, int C, int KH, int KW)
{
    int from = step.k + load_piece() * 8;
#pragma unroll
    for (int l = 0; l < A_LOADS; l++) {
        int present = source[l].pixel && from < C;
        copy(stage + place(load_line() + l * APART, load_piece()),
             present ? source[l].pixel + from : x, present);
    }
    copy_weight(stage, w, columns, outputs, (step.ky * KW + step.kx) * C, step.k, C, KH * KW * C);
}

/* The next step; whether its tap is another one. */
static inline int advance(struct step *step, int C, int KW)
{
    step->k += DEPTH;
    if (step->k < C)
        return 0;
    step->k = 0;
    step->kx = step->kx + 1 < KW ? step->kx + 1 : 0;
    step->ky += step->kx == 0;
    return 1;
}

WORK_GROUP(ITEMS, 1, 1)
void conv2d_mma(__global const T *restrict x, __global const T *restrict w, EPILOGUE, int H, int XW,
                int C, int RH, int RW, int OH, int OW, int KH, int KW, int stride, int dilation,
                int top, int left)
{
    __local uint4 stages[STAGES][LINES * PIECES];
    int tap_steps = (C + DEPTH - 1) / DEPTH, steps = KH * KW * tap_steps;
    int next = first_step(steps), last = last_step(steps), tap = next / tap_steps;
    struct step step = { tap / KW, tap % KW, next % tap_steps * DEPTH };
    struct source source[A_LOADS];
    sums c;
    clear(c);
    find_windows(source, first_row(outputs) + load_line(), APART, rows, H, OH, OW, stride, top,
                 left);
    find_pixels(source, x, step.ky * dilation, step.kx * dilation, H, XW, C, RH, RW);
#define COPY_NEXT(s)                                                                               \
    if (next < last) {                                                                             \
        copy_step(stages[s], source, x, w, columns, outputs, step, C, KH, KW);                     \
        if (advance(&step, C, KW))                                                                 \
            find_pixels(source, x, step.ky * dilation, step.kx * dilation, H, XW, C, RH, RW);      \
    }                                                                                              \
    next++;                                                                                        \
    end_copies()
    for (int s = 0; s < STAGES - 1; s++) {
        COPY_NEXT(s);
    }
    for (int now = first_step(steps), s = 0; now < last; now++) {
        WAIT_COPIES(STAGES - 2);
        barrier(CLK_LOCAL_MEM_FENCE);
        COPY_NEXT(s ? s - 1 : STAGES - 1);
        multiply(c, stages[s]);
        s = s + 1 < STAGES ? s + 1 : 0;
    }
    STORE_TILE(c);
}
