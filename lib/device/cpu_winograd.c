/* cpu_winograd.c - the transforms of Winograd's F(4x4, 3x3) and F(6x6, 3x3), compiled once for each
 * instruction set DFX_ISA. Their points: 0, +-sqrt(1/2), +-sqrt(2) and infinity; 0, +-1, +-2, +-1/2
 * and infinity. See op/conv2d_winograd.c. */
#include "device/cpu_winograd.h"

#include "device/cpu_vector.h"

#define NAME_(isa) dfx__cpu_winograd_##isa
#define NAME(isa) NAME_(isa)

enum { MOST = 8, MOST_OUT = 6, TAPS = 9, WINDOW = 3, PANEL = 32, STEP = 16 };

static const float half_root = 0.707106781f, root = 1.41421356f;

/* r = B^T d; elements of r are `step` apart. */
INLINE void forward4(vector *r, int step, const vector *d)
{
    vector even = d[4] - 2.0f * d[2], odd = half_root * (d[3] - 2.0f * d[1]);
    r[0] = d[0] - 2.5f * d[2] + d[4];
    r[step] = even + odd;
    r[2 * step] = even - odd;
    even = d[4] - 0.5f * d[2];
    odd = root * (d[3] - 0.5f * d[1]);
    r[3 * step] = even + odd;
    r[4 * step] = even - odd;
    r[5 * step] = d[1] - 2.5f * d[3] + d[5];
}

INLINE void forward6(vector *r, int step, const vector *d)
{
    r[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
    vector even = d[2] + d[6] - 4.25f * d[4], odd = d[1] + d[5] - 4.25f * d[3];
    r[step] = even + odd;
    r[2 * step] = even - odd;
    even = d[6] + 0.25f * d[2] - 1.25f * d[4];
    odd = 0.5f * d[1] - 2.5f * d[3] + 2.0f * d[5];
    r[3 * step] = even + odd;
    r[4 * step] = even - odd;
    even = d[6] + 4.0f * d[2] - 5.0f * d[4];
    odd = 2.0f * d[1] - 2.5f * d[3] + 0.5f * d[5];
    r[5 * step] = even + odd;
    r[6 * step] = even - odd;
    r[7 * step] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}

/* y = A^T m; elements of y are `step` apart. */
INLINE void backward4(vector *y, int step, const vector *m)
{
    vector s1 = m[1] + m[2], t1 = half_root * (m[1] - m[2]);
    vector s2 = m[3] + m[4], t2 = root * (m[3] - m[4]);
    y[0] = m[0] + (s1 + s2);
    y[step] = t1 + t2;
    y[2 * step] = 0.5f * s1 + 2.0f * s2;
    y[3 * step] = 0.5f * t1 + 2.0f * t2 + m[5];
}

INLINE void backward6(vector *y, int step, const vector *m)
{
    vector s1 = m[1] + m[2], t1 = m[1] - m[2], s2 = m[3] + m[4], t2 = m[3] - m[4];
    vector s3 = m[5] + m[6], t3 = m[5] - m[6];
    y[0] = m[0] + s1 + s2 + 32.0f * s3;
    y[step] = t1 + 2.0f * t2 + 16.0f * t3;
    y[2 * step] = s1 + 4.0f * s2 + 8.0f * s3;
    y[3 * step] = t1 + 8.0f * t2 + 4.0f * t3;
    y[4 * step] = s1 + 16.0f * s2 + 2.0f * s3;
    y[5 * step] = t1 + 32.0f * t2 + t3 + m[7];
}

/* u = G g: polynomials of degree 2 at the points, each over the product of its point's distances;
 * elements of u are `step` apart. */
INLINE void spread4(vector *u, int step, const vector *g)
{
    vector even = g[0] * (-2.0f / 3) - g[2] * (1.0f / 3), odd = g[1] * (half_root * -2 / 3);
    u[0] = g[0];
    u[step] = even + odd;
    u[2 * step] = even - odd;
    even = g[0] * (1.0f / 6) + g[2] * (1.0f / 3);
    odd = g[1] * (root / 6);
    u[3 * step] = even + odd;
    u[4 * step] = even - odd;
    u[5 * step] = g[2];
}

INLINE void spread6(vector *u, int step, const vector *g)
{
    vector even = (g[0] + g[2]) * (-2.0f / 9), odd = g[1] * (-2.0f / 9);
    u[0] = g[0];
    u[step] = even + odd;
    u[2 * step] = even - odd;
    even = g[0] * (1.0f / 90) + g[2] * (2.0f / 45);
    odd = g[1] * (1.0f / 45);
    u[3 * step] = even + odd;
    u[4 * step] = even - odd;
    even = g[0] * (1.0f / 45) + g[2] * (1.0f / 180);
    odd = g[1] * (1.0f / 90);
    u[5 * step] = even + odd;
    u[6 * step] = even - odd;
    u[7 * step] = g[2];
}

INLINE void forward(int out, vector *r, int step, const vector *d)
{
    if (out == 4)
        forward4(r, step, d);
    else
        forward6(r, step, d);
}

INLINE void backward(int out, vector *y, int step, const vector *m)
{
    if (out == 4)
        backward4(y, step, m);
    else
        backward6(y, step, m);
}

INLINE void spread(int out, vector *u, int step, const vector *g)
{
    if (out == 4)
        spread4(u, step, g);
    else
        spread6(u, step, g);
}

/* A vector of channels from c on, of which `left` are there. */
INLINE void input_part(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, int out,
                       size_t c, size_t left)
{
    vector line[MOST], half[MOST * MOST], result[MOST];
    int in = out + 2;
    for (int x = 0; x < in; x++) {
        for (int y = 0; y < in; y++) {
            const void *from = pixel[y * in + x];
            line[y] = from ? load_dtype(from, dtype, c, left) : (vector){ 0 };
        }
        forward(out, half + x, in, line);
    }
    for (int y = 0; y < in; y++) {
        forward(out, result, 1, half + y * in);
        for (int x = 0; x < in; x++)
            *(any_vector *)(to + (size_t)(y * in + x) * plane + c) = result[x];
    }
}

INLINE void input_of(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, int out,
                     size_t n)
{
    size_t rounded = (n + STEP - 1) / STEP * STEP, c = 0;
    for (; c + WIDTH <= n; c += WIDTH)
        input_part(to, plane, pixel, dtype, out, c, WIDTH);
    for (; c < rounded; c += WIDTH)
        input_part(to, plane, pixel, dtype, out, c, c < n ? n - c : 0);
}

/* U = G g G^T for a vector of outputs. */
INLINE void window(float *to, size_t plane, int out, const vector *g)
{
    vector line[WINDOW], half[MOST * WINDOW], result[MOST];
    int in = out + 2;
    for (int x = 0; x < WINDOW; x++) {
        for (int y = 0; y < WINDOW; y++)
            line[y] = g[y * WINDOW + x];
        spread(out, half + x, WINDOW, line);
    }
    for (int y = 0; y < in; y++) {
        spread(out, result, 1, half + y * WINDOW);
        for (int x = 0; x < in; x++)
            *(any_vector *)(to + (size_t)(y * in + x) * plane) = result[x];
    }
}

INLINE void weight_of(float *to, size_t plane, const void *panel, dfx_dtype dtype, int out,
                      size_t inputs, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < PANEL; o += WIDTH) {
            vector g[TAPS];
            for (size_t t = 0; t < TAPS; t++)
                g[t] = load_dtype(panel, dtype, (t * inputs + first + i) * PANEL + o, WIDTH);
            window(to + i * PANEL + o, plane, out, g);
        }
}

INLINE void weight_pairs(float *to, size_t plane, const uint32_t *panel, int out, size_t inputs,
                         size_t first, size_t n)
{
    size_t lines = (inputs + 1) / 2;
    for (size_t i = 0; i < n; i += 2)
        for (size_t o = 0; o < PANEL; o += WIDTH) {
            vector even[TAPS], odd[TAPS];
            for (size_t t = 0; t < TAPS; t++) {
                words both;
                memcpy(&both, panel + (t * lines + (first + i) / 2) * PANEL + o, sizeof both);
                even[t] = (vector)(both << 16);
                odd[t] = (vector)(both & 0xffff0000);
            }
            window(to + i * PANEL + o, plane, out, even);
            if (i + 1 < n)
                window(to + (i + 1) * PANEL + o, plane, out, odd);
        }
}

/* A vector of columns from c on, of which `left` are there. */
INLINE void output_part(void *const *pixel, const void *const *add, dfx_dtype dtype,
                        const float *from, size_t plane, int out, const float *offset, size_t c,
                        size_t left)
{
    vector line[MOST], half[MOST_OUT * MOST], result[MOST_OUT];
    vector shift = *(const any_vector *)(offset + c);
    int in = out + 2;
    for (int x = 0; x < in; x++) {
        for (int y = 0; y < in; y++)
            line[y] = *(const any_vector *)(from + (size_t)(y * in + x) * plane + c);
        backward(out, half + x, in, line);
    }
    for (int y = 0; y < out; y++) {
        backward(out, result, 1, half + y * in);
        for (int x = 0; x < out; x++) {
            int i = y * out + x;
            if (!pixel[i])
                continue;
            vector v = result[x] + shift;
            if (add)
                v += load_dtype(add[i], dtype, c, left);
            store_dtype(pixel[i], dtype, c, v, left);
        }
    }
}

INLINE void output_of(void *const *pixel, const void *const *add, dfx_dtype dtype,
                      const float *from, size_t plane, int out, const float *offset, size_t n)
{
    size_t c = 0;
    for (; c + WIDTH <= n; c += WIDTH)
        output_part(pixel, add, dtype, from, plane, out, offset, c, WIDTH);
    if (c < n)
        output_part(pixel, add, dtype, from, plane, out, offset, c, n - c);
}

/* CALL with constants for the dtype and the size of tiles; f32 has none of 6. */
#define FOR_EACH(dtype, out)                                                                       \
    do {                                                                                           \
        if ((dtype) == DFX_F32)                                                                    \
            CALL(DFX_F32, 4);                                                                      \
        else if ((dtype) == DFX_F16 && (out) == 4)                                                 \
            CALL(DFX_F16, 4);                                                                      \
        else if ((dtype) == DFX_F16)                                                               \
            CALL(DFX_F16, 6);                                                                      \
        else if ((out) == 4)                                                                       \
            CALL(DFX_BF16, 4);                                                                     \
        else                                                                                       \
            CALL(DFX_BF16, 6);                                                                     \
    } while (0)

static void input(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, int out,
                  size_t n)
{
#define CALL(dtype, out) input_of(to, plane, pixel, dtype, out, n)
    FOR_EACH(dtype, out);
#undef CALL
}

static void weight(float *to, size_t plane, const void *panel, dfx_dtype dtype, int pairs, int out,
                   size_t inputs, size_t first, size_t n)
{
#define CALL(dtype, out) weight_of(to, plane, panel, dtype, out, inputs, first, n)
    if (!pairs)
        FOR_EACH(dtype, out);
    else if (out == 4)
        weight_pairs(to, plane, panel, 4, inputs, first, n);
    else
        weight_pairs(to, plane, panel, 6, inputs, first, n);
#undef CALL
}

static void output(void *const *pixel, const void *const *add, dfx_dtype dtype, const float *from,
                   size_t plane, int out, const float *offset, size_t n)
{
#define CALL(dtype, out) output_of(pixel, add, dtype, from, plane, out, offset, n)
    FOR_EACH(dtype, out);
#undef CALL
}

const dfx__cpu_winograd NAME(DFX_ISA) = { input, weight, output };
