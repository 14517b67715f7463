/* slice.cl - y [outer, n] = x [outer, from], of each the n numbers from `start` on. A group copies
 * `piece` of them. */

WORK_GROUP(LANES, 1, 1)
void slice(int n, int from, int start, int piece, __global const T *restrict x,
           __global T *restrict y)
{
    int at = get_group_id(0) * piece, end = min(n - at, piece) + at;
    int whole = at + (end - at) / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(1) * (size_t)from + start;
    y += get_group_id(1) * (size_t)n;
    for (int i = at + lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, LOADV(x, i));
    for (int i = whole + lane; i < end; i += LANES)
        STORE(y, i, LOAD(x, i));
}
