/* pointwise.cl - y = F(x), in rows of `length` numbers of which the last has `last`. */

WORK_GROUP(LANES, 1, 1)
void pointwise(int length, int last, __global const T *restrict x, __global T *restrict y)
{
    int n = get_group_id(0) + 1 == get_num_groups(0) ? last : length;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(0) * (size_t)length;
    y += get_group_id(0) * (size_t)length;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        VEC v = LOADV(x, i);
        STOREV(y, i, F(v));
    }
    for (int i = whole + lane; i < n; i += LANES) {
        float v = LOAD(x, i);
        STORE(y, i, F(v));
    }
}
