/* upsample_nearest.cl - x [N, h, w, n] -> y [N, height, width, n]; a group copies a pixel. */

WORK_GROUP(LANES, 1, 1)
void upsample_nearest(int h, int w, int height, int width, int n, __global const T *restrict x,
                      __global T *restrict y)
{
    size_t row = get_group_id(1), image = row / height; /* all images' rows, one below the other */
    size_t from_row = image * h + row % height * h / height;
    size_t from_column = get_group_id(0) * w / width;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += (from_row * w + from_column) * n;
    y += (row * width + get_group_id(0)) * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, LOADV(x, i));
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, LOAD(x, i));
}
