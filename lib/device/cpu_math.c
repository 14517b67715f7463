/* cpu_math.c - activations and moments over arrays, compiled once for each instruction set DFX_ISA.
 */
#include "device/cpu_math.h"

#include "device/cpu_vector.h"

#include <math.h>

#define NAME_(prefix, isa) prefix##isa
#define NAME(prefix, isa) NAME_(prefix, isa)

static inline vector load(const float *p)
{
    return *(const any_vector *)p;
}

static inline void store(float *p, vector v)
{
    *(any_vector *)p = v;
}

/* The first n <= WIDTH lanes; a whole vector is one load or store. */
static inline vector load_part(const float *p, size_t n)
{
    if (n == WIDTH)
        return load(p);
    vector v = { 0 };
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void store_part(float *p, vector v, size_t n)
{
    if (n == WIDTH)
        store(p, v);
    else
        memcpy(p, &v, n * sizeof *p);
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Lanes of a where the mask is all ones, of b where it is 0. */
static inline vector choose(ints mask, vector a, vector b)
{
    return (vector)((mask & (ints)a) | (~mask & (ints)b));
}

/* x sigmoid(slope x) */
static inline vector sigmoid_unit(vector x, float slope)
{
    const vector limit = (vector){ 0 } + 87.0f; /* of what divide() takes */
    vector y = x * -slope;
    return divide(x, exp_vector(choose(y > limit, limit, y)) + 1.0f);
}

static inline void sigmoid_units(float *to, const float *from, float slope, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        store(to + i, sigmoid_unit(load(from + i), slope));
    if (i < n)
        store_part(to + i, sigmoid_unit(load_part(from + i, n - i), slope), n - i);
}

static void silu(float *to, const float *from, size_t n)
{
    sigmoid_units(to, from, 1.0f, n);
}

static void quick_gelu(float *to, const float *from, size_t n)
{
    sigmoid_units(to, from, 1.702f, n);
}

/* erf as a quotient of polynomials; from 4 on it is 1 in f32 (tests/gen/erf.py). */
static inline vector erf_vector(vector x)
{
    const vector limit = (vector){ 0 } + 4.0f;
    x = choose(x > limit, limit, x);
    x = choose(x < -limit, -limit, x);
    vector s = x * x;
    vector p = s * 1.92169889e-08f - 1.99030546e-06f;
    p = p * s + 0.00015553608f;
    p = p * s + 0.00429305108f;
    p = p * s + 0.0524334945f;
    p = p * s + 0.213944867f;
    p = p * s + 1.12837863f;
    vector q = s * 0.00109803514f + 0.0155511005f;
    q = q * s + 0.12079969f;
    q = q * s + 0.522931337f;
    q = q * s + 1.0f;
    return divide(x * p, q);
}

static inline vector gelu_vector(vector x)
{
    return 0.5f * x * (erf_vector(x * 0.70710678f) + 1.0f);
}

static void gelu(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        store(to + i, gelu_vector(load(from + i)));
    if (i < n)
        store_part(to + i, gelu_vector(load_part(from + i, n - i)), n - i);
}

INLINE void geglu_part(void *to, const void *value, const void *gate, dfx_dtype dtype, size_t i,
                       size_t n)
{
    vector v = load_dtype(value, dtype, i, n);
    store_dtype(to, dtype, i, v * gelu_vector(load_dtype(gate, dtype, i, n)), n);
}

INLINE void geglu_of(void *to, const void *value, const void *gate, dfx_dtype dtype, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        geglu_part(to, value, gate, dtype, i, WIDTH);
    if (i < n)
        geglu_part(to, value, gate, dtype, i, n - i);
}

static void geglu(void *to, const void *value, const void *gate, dfx_dtype dtype, size_t n)
{
#define CALL(type) geglu_of(to, value, gate, type, n)
    FOR_DTYPE(dtype);
#undef CALL
}

/* Rows are taken in blocks, each with its first row as the origin: whatever that row is, the sum of
 * squares then loses no more than a factor of BLOCK to cancellation. */
enum { BLOCK = 8 };

INLINE void block_moments(vector *mean, vector *squares, const void *x, dfx_dtype dtype, size_t at,
                          size_t stride, size_t rows, size_t n)
{
    vector origin = load_dtype(x, dtype, at, n), sum = { 0 }, sum2 = { 0 };
    for (size_t r = 1; r < rows; r++) {
        vector d = load_dtype(x, dtype, at + r * stride, n) - origin;
        sum += d;
        sum2 += d * d;
    }
    vector offset = sum * (1.0f / (float)rows);
    *mean = origin + offset;
    *squares = sum2 - sum * offset;
}

/* Blocks of rows outside and columns inside, so that memory is read in its order. Blocks are joined
 * as by Chan, Golub and LeVeque (1983). */
INLINE void column_moments_of(float *mean, float *squares, const void *x, dfx_dtype dtype,
                              size_t stride, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r += BLOCK) {
        size_t count = least(rows - r, BLOCK);
        float share = (float)count / (float)(r + count);
        for (size_t i = 0; i < n; i += WIDTH) {
            size_t part = least(n - i, WIDTH), at = r * stride + i;
            vector m, q;
            if (part == WIDTH && count == BLOCK)
                block_moments(&m, &q, x, dtype, at, stride, BLOCK, WIDTH);
            else
                block_moments(&m, &q, x, dtype, at, stride, count, part);
            if (r > 0) {
                vector before = load_part(mean + i, part), d = m - before;
                m = before + d * share;
                q += load_part(squares + i, part) + d * d * ((float)r * share);
            }
            store_part(mean + i, m, part);
            store_part(squares + i, q, part);
        }
    }
}

static void column_moments(float *mean, float *squares, const void *x, dfx_dtype dtype,
                           size_t stride, size_t rows, size_t n)
{
#define CALL(type) column_moments_of(mean, squares, x, type, stride, rows, n)
    FOR_DTYPE(dtype);
#undef CALL
}

static inline float total(vector v)
{
    float part[WIDTH];
    memcpy(part, &v, sizeof part);
    for (int half = WIDTH / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            part[i] += part[i + half];
    return part[0];
}

/* The first n lanes, zeros after them. */
static inline vector first_lanes(vector v, size_t n)
{
    vector r = { 0 };
    memcpy(&r, &v, n * sizeof(float));
    return r;
}

/* The sum of x - origin over a row, and of its square. */
INLINE void row_sums(vector *sum, vector *squares, const void *x, dfx_dtype dtype, float origin,
                     size_t n)
{
    vector s0 = { 0 }, s1 = { 0 }, q0 = { 0 }, q1 = { 0 };
    size_t i = 0;
    for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
        vector d0 = load_dtype(x, dtype, i, WIDTH) - origin;
        vector d1 = load_dtype(x, dtype, i + WIDTH, WIDTH) - origin;
        s0 += d0;
        s1 += d1;
        q0 += d0 * d0;
        q1 += d1 * d1;
    }
    for (; i < n; i += WIDTH) {
        size_t part = least(n - i, WIDTH);
        vector d = first_lanes(load_dtype(x, dtype, i, part) - origin, part);
        s0 += d;
        q0 += d * d;
    }
    *sum = s0 + s1;
    *squares = q0 + q1;
}

INLINE void normalise_row_part(void *to, const void *from, dfx_dtype dtype, float mean,
                               float factor, const float *scale, const float *shift, size_t i,
                               size_t n)
{
    vector v = (load_dtype(from, dtype, i, n) - mean) * factor;
    if (scale)
        v *= load_part(scale + i, n);
    if (shift)
        v += load_part(shift + i, n);
    store_dtype(to, dtype, i, v, n);
}

/* The mean from differences to the first number, and the variance from those to the mean, so that
 * numbers near 100 lose nothing. */
INLINE void normalise_row_of(void *to, const void *from, dfx_dtype dtype, float eps,
                             const float *scale, const float *shift, size_t n)
{
    vector sum, squares;
    float origin = load_dtype(from, dtype, 0, 1)[0];
    row_sums(&sum, &squares, from, dtype, origin, n);
    float mean = origin + total(sum) / (float)n;
    row_sums(&sum, &squares, from, dtype, mean, n);
    float factor = 1 / sqrtf(total(squares) / (float)n + eps);
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        normalise_row_part(to, from, dtype, mean, factor, scale, shift, i, WIDTH);
    if (i < n)
        normalise_row_part(to, from, dtype, mean, factor, scale, shift, i, n - i);
}

static void normalise_row(void *to, const void *from, dfx_dtype dtype, float eps,
                          const float *scale, const float *shift, size_t n)
{
#define CALL(type) normalise_row_of(to, from, type, eps, scale, shift, n)
    FOR_DTYPE(dtype);
#undef CALL
}

INLINE void normalise_columns_part(void *to, const void *from, dfx_dtype dtype, const float *mean,
                                   const float *factor, const float *shift, int with_silu, size_t i,
                                   size_t n)
{
    vector v = load_dtype(from, dtype, i, n) - load_part(mean + i, n);
    v = v * load_part(factor + i, n) + load_part(shift + i, n);
    store_dtype(to, dtype, i, with_silu ? sigmoid_unit(v, 1.0f) : v, n);
}

INLINE void normalise_columns_of(void *to, const void *from, dfx_dtype dtype, const float *mean,
                                 const float *factor, const float *shift, int with_silu, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        normalise_columns_part(to, from, dtype, mean, factor, shift, with_silu, i, WIDTH);
    if (i < n)
        normalise_columns_part(to, from, dtype, mean, factor, shift, with_silu, i, n - i);
}

static void normalise_columns(void *to, const void *from, dfx_dtype dtype, const float *mean,
                              const float *factor, const float *shift, int with_silu, size_t n)
{
#define CALL(type) normalise_columns_of(to, from, type, mean, factor, shift, with_silu, n)
    FOR_DTYPE(dtype);
#undef CALL
}

const dfx__cpu_math NAME(dfx__cpu_math_, DFX_ISA) = {
    silu, gelu, quick_gelu, geglu, column_moments, normalise_columns, normalise_row
};
