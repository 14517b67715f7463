/* divide.cl - y = x / t in rows of n numbers, of which `repeat` share a number of t. */

WORK_GROUP(LANES, 1, 1)
void divide(int n, int repeat, __global const T *restrict x, __global const float *restrict t,
            __global T *restrict y)
{
    size_t row = get_group_id(0);
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    float by = t[row / repeat];
    x += row * n;
    y += row * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, LOADV(x, i) / by);
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, LOAD(x, i) / by);
}
