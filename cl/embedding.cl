/* embedding.cl - y [ids, n] = rows of the table [rows, n], zeros for ids outside it; a group copies
 * a row. */

WORK_GROUP(LANES, 1, 1)
void embedding(int rows, int n, __global const int *restrict id, __global const T *restrict table,
               __global T *restrict y)
{
    int row = id[get_group_id(0)], known = row >= 0 && row < rows;
    y += get_group_id(0) * (size_t)n;
    for (int i = get_local_id(0); i < n; i += LANES)
        STORE(y, i, known ? LOAD(table, (size_t)row * n + i) : 0.0f);
}
