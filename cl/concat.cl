/* concat.cl - y [rows, n + m] = a [rows, n], b [rows, m]; a group copies a row. */

void copy(__global T *restrict to, __global const T *restrict from, int n)
{
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(to, i, LOADV(from, i));
    for (int i = whole + lane; i < n; i += LANES)
        STORE(to, i, LOAD(from, i));
}

WORK_GROUP(LANES, 1, 1)
void concat(int n, int m, __global const T *restrict a, __global const T *restrict b,
            __global T *restrict y)
{
    size_t row = get_group_id(0);
    y += row * (n + m);
    copy(y, a + row * n, n);
    copy(y + n, b + row * m, m);
}
