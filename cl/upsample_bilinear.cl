/* upsample_bilinear.cl - x [N, h, w, n] -> y [N, height, width, n], each pixel between four of x's;
 * a group computes a pixel. */

/* Where output o of an axis lies among its inputs. */
static inline float place(int o, int in, int out)
{
#ifdef ALIGN_CORNERS
    return out > 1 ? (float)(in - 1) / (float)(out - 1) * o : 0.0f;
#else
    return max((float)in / (float)out * (o + 0.5f) - 0.5f, 0.0f);
#endif
}

#define BETWEEN(LOAD_, i)                                                                          \
    ((1 - down) * ((1 - right) * LOAD_(top, first + i) + right * LOAD_(top, second + i)) +         \
     down * ((1 - right) * LOAD_(bottom, first + i) + right * LOAD_(bottom, second + i)))

WORK_GROUP(LANES, 1, 1)
void upsample_bilinear(int h, int w, int height, int width, int n, __global const T *restrict x,
                       __global T *restrict y)
{
    int row = get_group_id(1), column = get_group_id(0); /* all images' rows, one below the other */
    float at_y = place(row % height, h, height), at_x = place(column, w, width);
    int iy = min((int)at_y, h - 1), ix = min((int)at_x, w - 1);
    float down = at_y - iy, right = at_x - ix;
    __global const T *top = x + ((size_t)(row / height) * h + iy) * w * n;
    __global const T *bottom = top + (iy < h - 1 ? (size_t)w * n : 0);
    size_t first = (size_t)ix * n, second = (size_t)min(ix + 1, w - 1) * n;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    y += ((size_t)row * width + column) * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, BETWEEN(LOADV, i));
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, BETWEEN(LOAD, i));
}
