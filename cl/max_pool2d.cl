/* max_pool2d.cl - x [N, h, w, n] -> y [N, height, width, n], the largest of a window of pixels, zeros
 * beyond the edges; a group computes a pixel. */

#define LARGEST(TYPE, LOAD_, i)                                                                    \
    TYPE most = (TYPE)(-INFINITY);                                                                 \
    for (int iy = top; iy < top + kernel_side; iy++)                                               \
        for (int ix = left; ix < left + kernel_side; ix++) {                                       \
            int inside = iy >= 0 && iy < h && ix >= 0 && ix < w;                                   \
            most = fmax(most, inside ? LOAD_(x, ((size_t)iy * w + ix) * n + i) : (TYPE)(0.0f));    \
        }

WORK_GROUP(LANES, 1, 1)
void max_pool2d(int h, int w, int height, int width, int n, int kernel_side, int stride, int above,
                int before, __global const T *restrict x, __global T *restrict y)
{
    int row = get_group_id(1), image = row / height; /* all images' rows, one below the other */
    int top = row % height * stride - above, left = (int)get_group_id(0) * stride - before;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += (size_t)image * h * w * n;
    y += ((size_t)row * width + get_group_id(0)) * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        LARGEST(VEC, LOADV, i)
        STOREV(y, i, most);
    }
    for (int i = whole + lane; i < n; i += LANES) {
        LARGEST(float, LOAD, i)
        STORE(y, i, most);
    }
}
