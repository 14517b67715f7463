/* fourier_embedding.cl - sinusoids of t [rows], or of its logarithm, at `half` frequencies -> y
 * [rows, 2 half]. */

/* log(x), almost always the nearest float: angles are thousands of radians, so that an error of one
 * unit is one of 1e-4. log(m) = f - (f f / 2 - s (f f / 2 + p)) with f = m - 1, s = f / (2 + f), its
 * larger terms and the exponent's share in two parts. */
float exact_log(float x)
{
    /* frexp of a normal x, which not every implementation takes with a pointer to private memory */
    uint bits = as_uint(x);
    int e = (int)(bits >> 23) - 126;
    float m = as_float((bits & 0x7fffffu) | 0x3f000000u);
    if (m < M_SQRT1_2_F) {
        m *= 2;
        e--;
    }
    float f = m - 1.0f, s = f / (2.0f + f), z = s * s;
    float p = fma(fma(fma(z, 0.24279078841f, 0.28498786688f), z, 0.40000972152f), z, 0.66666662693f);
    float square = 0.5f * f * f, low = fma(0.5f * f, f, -square);
    float tail = fma(s, fma(z, p, square), -low);
    float high = e * 0.693145751953125f, sum = high + f, rest = f - (sum - high);
    return sum + (rest - (square - (tail + e * 1.42860677e-6f)));
}

WORK_GROUP(LANES, 1, 1)
void fourier_embedding(int half_dim, int take_log, int flip, __global const float *restrict t,
                       __global const float *restrict frequency, __global float *restrict y)
{
    int i = get_global_id(0);
    size_t row = get_global_id(1);
    if (i >= half_dim)
        return;
    float at = take_log ? exact_log(t[row]) : t[row];
    float angle = at * frequency[i] * 6.2831855f;
    y += row * 2 * half_dim;
    y[i] = flip ? cos(angle) : sin(angle);
    y[half_dim + i] = flip ? sin(angle) : cos(angle);
}
