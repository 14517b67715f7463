/* group_sum.cl - the sum of a value of each work-item of a group (group_norm.cl, layer_norm.cl). */

/* LANES, a power of 2, work-items; room [LANES]. All of them get the sum. */
float group_sum(float v, __local float *room)
{
#if LANES > 1
    int lane = get_local_id(0);
    room[lane] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int n = LANES / 2; n > 0; n /= 2) {
        if (lane < n)
            room[lane] += room[lane + n];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    v = room[0];
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    return v;
}
