/* window.cl - the pixels that a work-item loads for a convolution in tiles (conv2d_tiled.cl,
 * conv2d_mma.cl): A_LOADS of them, rows of the result that are `apart` from each other. */

/* A pixel whose window this work-item loads: the first line of its image, where its window begins,
 * and where the input pixel of the present tap does (NULL: zeros). */
struct source {
    int line, y, x;
    __global const T *pixel;
};

/* Above every image, however far a tap is below: where pixels after the last one begin. */
#define NOWHERE (-(1 << 30))

/* Of pixels from `pixel` on. */
static inline void find_windows(struct source source[A_LOADS], int pixel, int apart, int rows,
                                int H, int OH, int OW, int stride, int top, int left)
{
#pragma unroll
    for (int l = 0; l < A_LOADS; l++, pixel += apart) {
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
