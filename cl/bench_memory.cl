/* bench_memory.cl - launches, global memory and local memory as lib/bench/bandwidth.c times them.
 * A group goes through a piece of memory of its own, its work-items side by side, V by V. */

WORK_GROUP(GROUP, 1, 1)
void bench_nothing(__global float *y)
{
    if (y[0] == 1.0f) /* it is 0 */
        y[1] = 2.0f;
}

#define PIECE(rounds) ((size_t)get_group_id(0) * (rounds) * GROUP + get_local_id(0))

/* Reads rounds x GROUP V a group; what is read has to matter. */
WORK_GROUP(GROUP, 1, 1)
void bench_read(__global const V *restrict x, __global float *restrict y, int rounds)
{
    V sum = 0.0f;
    size_t at = PIECE(rounds);
    for (int i = 0; i < rounds; i++)
        sum += x[at + (size_t)i * GROUP];
    float all = dot(sum.s0123, (float4)(1.0f)) + dot(sum.LAST4, (float4)(1.0f));
    if (all == 1.0f)
        y[get_global_id(0)] = all;
}

WORK_GROUP(GROUP, 1, 1)
void bench_write(__global V *restrict y, float value, int rounds)
{
    size_t at = PIECE(rounds);
    for (int i = 0; i < rounds; i++)
        y[at + (size_t)i * GROUP] = value;
}

WORK_GROUP(GROUP, 1, 1)
void bench_copy(__global const V *restrict x, __global V *restrict y, int rounds)
{
    size_t at = PIECE(rounds);
    for (int i = 0; i < rounds; i++)
        y[at + (size_t)i * GROUP] = x[at + (size_t)i * GROUP];
}

/* Each round reads a float4 of local memory that another work-item's last one leads to. */
WORK_GROUP(GROUP, 1, 1)
void bench_local(__global float4 *restrict y, int rounds)
{
    __local float4 store[2 * GROUP];
    int id = get_local_id(0);
    store[id] = store[id + GROUP] = (float)id;
    barrier(CLK_LOCAL_MEM_FENCE);
    float4 sum = 0.0f;
    for (int i = 0; i < rounds; i++)
        sum += store[id + i % GROUP];
    y[get_global_id(0)] = sum;
}
