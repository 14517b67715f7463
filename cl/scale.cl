/* scale.cl - y = factor x + offset, in rows of `length` numbers of which the last has `last`. */

WORK_GROUP(LANES, 1, 1)
void scale(int length, int last, float factor, float offset, __global const T *restrict x,
           __global T *restrict y)
{
    int n = get_group_id(0) + 1 == get_num_groups(0) ? last : length;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(0) * (size_t)length;
    y += get_group_id(0) * (size_t)length;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, LOADV(x, i) * factor + offset);
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, LOAD(x, i) * factor + offset);
}
