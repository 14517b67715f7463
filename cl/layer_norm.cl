/* layer_norm.cl - each row of n numbers to mean 0 and variance 1; a group computes a row. */

#include "group_sum.cl"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

float sum4(float a, float b, float c, float d)
{
    return (a + b) + (c + d);
}

float across(VEC v)
{
    float sum = sum4(v.s0, v.s1, v.s2, v.s3);
#if WIDTH == 16
    sum = sum4(sum, sum4(v.s4, v.s5, v.s6, v.s7), sum4(v.s8, v.s9, v.sa, v.sb),
               sum4(v.sc, v.sd, v.se, v.sf));
#endif
    return sum;
}

/* Differences from the row's first number, which is near the mean, so that rows near 100 lose
 * nothing. */
WORK_GROUP(LANES, 1, 1)
void layer_norm(int n, float eps, __global const T *restrict x,
                __global const float *restrict scale, __global const float *restrict shift,
                __global T *restrict y)
{
    __local float room[LANES];
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    x += get_group_id(0) * (size_t)n;
    y += get_group_id(0) * (size_t)n;
    float origin = LOAD(x, 0), tail = 0.0f;

    VEC sum = (VEC)(0.0f);
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH)
        sum += LOADV(x, i) - origin;
    for (int i = whole + lane; i < n; i += LANES)
        tail += LOAD(x, i) - origin;
    float mean = group_sum(across(sum) + tail, room) / n;

    sum = (VEC)(0.0f);
    tail = 0.0f;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        VEC d = LOADV(x, i) - origin - mean;
        sum = fma(d, d, sum);
    }
    for (int i = whole + lane; i < n; i += LANES) {
        float d = LOAD(x, i) - origin - mean;
        tail = fma(d, d, tail);
    }
    float factor = 1.0f / sqrt(group_sum(across(sum) + tail, room) / n + eps);

    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        VEC v = (LOADV(x, i) - origin - mean) * factor;
        if (scale)
            v *= JOIN(vload, WIDTH)(0, scale + i);
        if (shift)
            v += JOIN(vload, WIDTH)(0, shift + i);
        STOREV(y, i, v);
    }
    for (int i = whole + lane; i < n; i += LANES) {
        float v = (LOAD(x, i) - origin - mean) * factor;
        STORE(y, i, v * (scale ? scale[i] : 1.0f) + (shift ? shift[i] : 0.0f));
    }
}
