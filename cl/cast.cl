/* cast.cl - numbers in another storage type, in rows of `length` of which the last has `last`.
 * FROM: how x is stored, as DTYPE is for y. */

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if FROM == 0
typedef float from_t;
#define FROM_LOAD(p, i) ((p)[i])
#define FROM_LOADV(p, i) JOIN(vload, WIDTH)(0, (p) + (i))
#elif FROM == 1
typedef half from_t;
#define FROM_LOAD(p, i) vload_half(i, p)
#define FROM_LOADV(p, i) JOIN(vload_half, WIDTH)(0, (p) + (i))
#else
typedef ushort from_t;
#define FROM_LOAD(p, i) as_float((uint)(p)[i] << 16)
#define FROM_LOADV(p, i) \
    JOIN(as_float, WIDTH)(JOIN(convert_uint, WIDTH)(JOIN(vload, WIDTH)(0, (p) + (i))) << 16)
#endif

WORK_GROUP(LANES, 1, 1)
void cast(int length, int last, __global const from_t *restrict x, __global T *restrict y)
{
    int n = get_group_id(0) + 1 == get_num_groups(0) ? last : length;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(0) * (size_t)length;
    y += get_group_id(0) * (size_t)length;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        STOREV(y, i, FROM_LOADV(x, i));
    for (int i = whole + lane; i < n; i += LANES)
        STORE(y, i, FROM_LOAD(x, i));
}
