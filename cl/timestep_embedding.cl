/* timestep_embedding.cl - sinusoids of t [rows] at `half` frequencies -> y [rows, 2 half]. */

/* a / b rounded once, which OpenCL's division need not be. */
float divide(float a, float b)
{
    float q = a / b;
    return fma(fma(-q, b, a), 1.0f / b, q);
}

/* exp(x) for -20 < x <= 0, almost always the nearest float: an error of one unit in a frequency is
 * one of 6e-5 in the angle at t = 999. The remainder after n ln(2) is kept in two parts, and so is
 * the sum 1 + remainder. */
float exact_exp(float x)
{
    float n = rint(x * M_LOG2E_F);
    float high = fma(n, -0.693145751953125f, x), part = n * 1.42860677e-6f; /* ln(2) in two parts */
    float r = high - part, low = (high - r) - part;
    float p = fma(r, 1.0f / 5040, 1.0f / 720);
    p = fma(p, r, 1.0f / 120);
    p = fma(p, r, 1.0f / 24);
    p = fma(p, r, 1.0f / 6);
    p = fma(p, r, 0.5f);
    float square = r * r;
    float tail = fma(p, square, low + low * r);
    tail = fma(fma(r, r, -square), 0.5f, tail);
    float sum = 1.0f + r;
    return ldexp(sum + (r - (sum - 1.0f) + tail), (int)n);
}

WORK_GROUP(LANES, 1, 1)
void timestep_embedding(int half_dim, int flip, float shift, __global const float *restrict t,
                        __global float *restrict y)
{
    int i = get_global_id(0);
    size_t row = get_global_id(1);
    if (i >= half_dim)
        return;
    float frequency = exact_exp(divide(-9.210340371976184f * i, half_dim - shift));
    float angle = t[row] * frequency;
    y += row * 2 * half_dim;
    y[i] = flip ? cos(angle) : sin(angle);
    y[half_dim + i] = flip ? sin(angle) : cos(angle);
}
