/* blend.cl - y = a m + b (1 - m) in rows of n numbers, each with one m of mask; b may be NULL for 0. */

WORK_GROUP(LANES, 1, 1)
void blend(int n, __global const T *restrict a, __global const T *restrict b,
           __global const T *restrict mask, __global T *restrict y)
{
    size_t row = get_group_id(0);
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    float m = LOAD(mask, row), rest = 1.0f - m;
    a += row * n;
    y += row * n;
    if (b)
        b += row * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        VEC v = LOADV(a, i) * m;
        if (b)
            v += LOADV(b, i) * rest;
        STOREV(y, i, v);
    }
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, LOAD(a, i) * m + (b ? LOAD(b, i) * rest : 0.0f));
}
