/* cpu_math.c - activations and moments over arrays, compiled once for each instruction set DFX_ISA.
 */
#include "device/cpu_math.h"

#include "device/cpu_vector.h"

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

static inline vector silu_vector(vector x)
{
    return x / (exp_vector(-x) + 1.0f);
}

/* x sigmoid(slope x) */
static inline void sigmoid_unit(float *to, const float *from, float slope, size_t n)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        size_t part = least(n - i, WIDTH);
        vector x = load_part(from + i, part);
        store_part(to + i, x / (exp_vector(x * -slope) + 1.0f), part);
    }
}

static void silu(float *to, const float *from, size_t n)
{
    sigmoid_unit(to, from, 1.0f, n);
}

static void quick_gelu(float *to, const float *from, size_t n)
{
    sigmoid_unit(to, from, 1.702f, n);
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
    return x * p / q;
}

static void gelu(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        size_t part = least(n - i, WIDTH);
        vector x = load_part(from + i, part);
        store_part(to + i, 0.5f * x * (erf_vector(x * 0.70710678f) + 1.0f), part);
    }
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
    if (dtype == DFX_F32)
        column_moments_of(mean, squares, x, DFX_F32, stride, rows, n);
    else if (dtype == DFX_F16)
        column_moments_of(mean, squares, x, DFX_F16, stride, rows, n);
    else
        column_moments_of(mean, squares, x, DFX_BF16, stride, rows, n);
}

static float total(vector v)
{
    float sum = 0;
    for (int i = 0; i < WIDTH; i++)
        sum += v[i];
    return sum;
}

/* Two passes, with the first number as the origin: numbers near 100 lose nothing. */
static void moments(float *mean, float *squares, const float *x, size_t n)
{
    size_t whole = n / WIDTH * WIDTH;
    float origin = x[0], tail = 0;
    vector sum = { 0 };
    for (size_t i = 0; i < whole; i += WIDTH)
        sum += load(x + i) - origin;
    for (size_t i = whole; i < n; i++)
        tail += x[i] - origin;
    float offset = (total(sum) + tail) / (float)n;

    sum = (vector){ 0 };
    tail = 0;
    for (size_t i = 0; i < whole; i += WIDTH) {
        vector d = load(x + i) - origin - offset;
        sum += d * d;
    }
    for (size_t i = whole; i < n; i++)
        tail += (x[i] - origin - offset) * (x[i] - origin - offset);
    *mean = origin + offset;
    *squares = total(sum) + tail;
}

INLINE void normalise_columns_of(void *to, const void *from, dfx_dtype dtype, const float *mean,
                                 const float *factor, const float *shift, int with_silu, size_t n)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        size_t part = least(n - i, WIDTH);
        vector v = load_dtype(from, dtype, i, part) - load_part(mean + i, part);
        v = v * load_part(factor + i, part) + load_part(shift + i, part);
        store_dtype(to, dtype, i, with_silu ? silu_vector(v) : v, part);
    }
}

static void normalise_columns(void *to, const void *from, dfx_dtype dtype, const float *mean,
                              const float *factor, const float *shift, int with_silu, size_t n)
{
    if (dtype == DFX_F32)
        normalise_columns_of(to, from, DFX_F32, mean, factor, shift, with_silu, n);
    else if (dtype == DFX_F16)
        normalise_columns_of(to, from, DFX_F16, mean, factor, shift, with_silu, n);
    else
        normalise_columns_of(to, from, DFX_BF16, mean, factor, shift, with_silu, n);
}

static void normalise(float *to, const float *from, float mean, float factor, const float *scale,
                      const float *shift, size_t n)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        size_t part = least(n - i, WIDTH);
        vector v = (load_part(from + i, part) - mean) * factor;
        if (scale)
            v *= load_part(scale + i, part);
        if (shift)
            v += load_part(shift + i, part);
        store_part(to + i, v, part);
    }
}

const dfx__cpu_math NAME(dfx__cpu_math_, DFX_ISA) = { silu,           gelu,    quick_gelu,
                                                      column_moments, moments, normalise_columns,
                                                      normalise };
