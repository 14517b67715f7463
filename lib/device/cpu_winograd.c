/* cpu_winograd.c - the transforms of Winograd's F(4x4, 3x3), compiled once for each instruction set
 * DFX_ISA. The points are 0, +-sqrt(1/2), +-sqrt(2) and infinity; see op/conv2d_winograd.c. */
#include "device/cpu_winograd.h"

#include "device/cpu_vector.h"

#define NAME_(isa) dfx__cpu_winograd_##isa
#define NAME(isa) NAME_(isa)

enum { IN = 6, OUT = 4, TAPS = 9, WINDOW = 3, PANEL = 32, STEP = 16 };

static const float half_root = 0.707106781f, root = 1.41421356f;

/* r = B^T d; elements of r are `step` apart. */
INLINE void forward(vector *r, int step, const vector *d)
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

/* y = A^T m; elements of y are `step` apart. */
INLINE void backward(vector *y, int step, const vector *m)
{
    vector s1 = m[1] + m[2], t1 = half_root * (m[1] - m[2]);
    vector s2 = m[3] + m[4], t2 = root * (m[3] - m[4]);
    y[0] = m[0] + (s1 + s2);
    y[step] = t1 + t2;
    y[2 * step] = 0.5f * s1 + 2.0f * s2;
    y[3 * step] = 0.5f * t1 + 2.0f * t2 + m[5];
}

/* u = G g: polynomials of degree 2 at the points, each over the product of its point's distances;
 * elements of u are `step` apart. */
INLINE void spread(vector *u, int step, const vector *g)
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

INLINE void input_of(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, size_t n)
{
    size_t rounded = (n + STEP - 1) / STEP * STEP;
    for (size_t c = 0; c < rounded; c += WIDTH) {
        vector line[IN], half[IN * IN], result[IN];
        size_t left = c < n ? n - c : 0;
        for (int x = 0; x < IN; x++) {
            for (int y = 0; y < IN; y++) {
                const void *from = pixel[y * IN + x];
                line[y] = from && left ? load_dtype(from, dtype, c, left) : (vector){ 0 };
            }
            forward(half + x, IN, line);
        }
        for (int y = 0; y < IN; y++) {
            forward(result, 1, half + y * IN);
            for (int x = 0; x < IN; x++)
                *(any_vector *)(to + (size_t)(y * IN + x) * plane + c) = result[x];
        }
    }
}

static void input(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, size_t n)
{
    if (dtype == DFX_F32)
        input_of(to, plane, pixel, DFX_F32, n);
    else if (dtype == DFX_F16)
        input_of(to, plane, pixel, DFX_F16, n);
    else
        input_of(to, plane, pixel, DFX_BF16, n);
}

/* U = G g G^T for a vector of outputs. */
INLINE void window(float *to, size_t plane, const vector *g)
{
    vector line[WINDOW], half[IN * WINDOW], result[IN];
    for (int x = 0; x < WINDOW; x++) {
        for (int y = 0; y < WINDOW; y++)
            line[y] = g[y * WINDOW + x];
        spread(half + x, WINDOW, line);
    }
    for (int y = 0; y < IN; y++) {
        spread(result, 1, half + y * WINDOW);
        for (int x = 0; x < IN; x++)
            *(any_vector *)(to + (size_t)(y * IN + x) * plane) = result[x];
    }
}

INLINE void weight_of(float *to, size_t plane, const void *panel, dfx_dtype dtype, size_t inputs,
                      size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < PANEL; o += WIDTH) {
            vector g[TAPS];
            for (size_t t = 0; t < TAPS; t++)
                g[t] = load_dtype(panel, dtype, (t * inputs + first + i) * PANEL + o, WIDTH);
            window(to + i * PANEL + o, plane, g);
        }
}

static void weight_pairs(float *to, size_t plane, const uint32_t *panel, size_t inputs,
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
            window(to + i * PANEL + o, plane, even);
            if (i + 1 < n)
                window(to + (i + 1) * PANEL + o, plane, odd);
        }
}

static void weight(float *to, size_t plane, const void *panel, dfx_dtype dtype, int pairs,
                   size_t inputs, size_t first, size_t n)
{
    if (pairs)
        weight_pairs(to, plane, panel, inputs, first, n);
    else if (dtype == DFX_F32)
        weight_of(to, plane, panel, DFX_F32, inputs, first, n);
    else if (dtype == DFX_F16)
        weight_of(to, plane, panel, DFX_F16, inputs, first, n);
    else
        weight_of(to, plane, panel, DFX_BF16, inputs, first, n);
}

INLINE void output_of(void *const *pixel, const void *const *add, dfx_dtype dtype,
                      const float *from, size_t plane, const float *offset, size_t n)
{
    for (size_t c = 0; c < n; c += WIDTH) {
        vector line[IN], half[OUT * IN], result[OUT];
        vector shift = *(const any_vector *)(offset + c);
        for (int x = 0; x < IN; x++) {
            for (int y = 0; y < IN; y++)
                line[y] = *(const any_vector *)(from + (size_t)(y * IN + x) * plane + c);
            backward(half + x, IN, line);
        }
        for (int y = 0; y < OUT; y++) {
            backward(result, 1, half + y * IN);
            for (int x = 0; x < OUT; x++) {
                int i = y * OUT + x;
                if (!pixel[i])
                    continue;
                vector v = result[x] + shift;
                if (add)
                    v += load_dtype(add[i], dtype, c, n - c);
                store_dtype(pixel[i], dtype, c, v, n - c);
            }
        }
    }
}

static void output(void *const *pixel, const void *const *add, dfx_dtype dtype, const float *from,
                   size_t plane, const float *offset, size_t n)
{
    if (dtype == DFX_F32)
        output_of(pixel, add, DFX_F32, from, plane, offset, n);
    else if (dtype == DFX_F16)
        output_of(pixel, add, DFX_F16, from, plane, offset, n);
    else
        output_of(pixel, add, DFX_BF16, from, plane, offset, n);
}

const dfx__cpu_winograd NAME(DFX_ISA) = { input, weight, output };
