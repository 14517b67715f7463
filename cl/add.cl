/* add.cl - y = a + b in rows of `length` numbers of which the last has `last`; row r of a meets row
 * r / repeat % period of b. */

WORK_GROUP(LANES, 1, 1)
void add(int length, int last, int repeat, int period, __global const T *restrict a,
         __global const T *restrict b, __global T *restrict y)
{
    size_t row = get_group_id(0);
    int n = row + 1 == get_num_groups(0) ? last : length;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    a += row * length;
    b += row / repeat % period * length;
    y += row * length;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, LOADV(a, i) + LOADV(b, i));
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, LOAD(a, i) + LOAD(b, i));
}
