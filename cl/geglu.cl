/* geglu.cl - y = hidden gelu(gate), of x [rows, 2 n] = hidden [n], gate [n]; a group computes a
 * row. */

WORK_GROUP(LANES, 1, 1)
void geglu(int n, __global const T *restrict x, __global T *restrict y)
{
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(0) * (size_t)n * 2;
    y += get_group_id(0) * (size_t)n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        VEC gate = LOADV(x, n + i);
        STOREV(y, i, LOADV(x, i) * GELU(gate));
    }
    for (int i = whole + lane; i < n; i += LANES) {
        float gate = LOAD(x, n + i);
        STORE(y, i, LOAD(x, i) * GELU(gate));
    }
}
