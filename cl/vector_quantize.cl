/* vector_quantize.cl - for each row of x [pixels, n] the nearest of the codebook's rows; a group
 * finds one. Distances are rounded step by step as torch.cdist does on CPUs. */

#pragma OPENCL FP_CONTRACT OFF

float square_of(__global const T *v, int n)
{
    float sum = 0.0f;
    for (int k = 0; k < n; k++) {
        float square = LOAD(v, k) * LOAD(v, k);
        sum += square;
    }
    return sum;
}

/* |x|^2 - 2 x e + |e|^2 as a product of [-2x, |x|^2, 1] and [e, 1, |e|^2] */
float distance2(__global const T *x, float x2, __global const T *e, int n)
{
    float sum = 0.0f;
    for (int k = 0; k < n; k++)
        sum = fma(-2.0f * LOAD(x, k), LOAD(e, k), sum);
    return fmax((sum + x2) + square_of(e, n), 0.0f);
}

WORK_GROUP(LANES, 1, 1)
void vector_quantize(int rows, int n, __global const T *restrict x,
                     __global const T *restrict codebook, __global T *restrict y)
{
    __local float distances[LANES];
    __local int indices[LANES];
    int lane = get_local_id(0), best = 0;
    float least = INFINITY;
    x += get_group_id(0) * (size_t)n;
    y += get_group_id(0) * (size_t)n;

    float x2 = square_of(x, n);
    for (int i = lane; i < rows; i += LANES) {
        float d = distance2(x, x2, codebook + (size_t)i * n, n);
        if (d < least && sqrt(d) < sqrt(least)) {
            least = d;
            best = i;
        }
    }
    distances[lane] = sqrt(least);
    indices[lane] = best;
    barrier(CLK_LOCAL_MEM_FENCE);
    float nearest = distances[0];
    best = indices[0];
    for (int i = 1; i < LANES; i++)
        if (distances[i] < nearest || (distances[i] == nearest && indices[i] < best)) {
            nearest = distances[i];
            best = indices[i];
        }
    for (int k = lane; k < n; k += LANES) {
        float v = LOAD(x, k);
        STORE(y, k, v + (LOAD(codebook, (size_t)best * n + k) - v));
    }
}
