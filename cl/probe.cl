/* probe.cl - what a device's compiler can do beyond OpenCL C; lib/device/cl_probe.c compares the
 * results. */

#include "panel.cl"

/* y [16] += the pairs b [16][2] times the one pair a. */
WORK_GROUP(1, 1, 1)
void probe_pairs(__global const int *restrict a, __global const T *restrict b,
                 __global float *restrict y)
{
    float16 c = vload16(0, y);
    DOT(c, (int16)*a, vload16(0, (__global const int *)b));
    vstore16(c, 0, y);
}
