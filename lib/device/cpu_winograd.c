/* cpu_winograd.c - the transforms of Winograd's F(4x4, 3x3), compiled once for each instruction set
 * DFX_ISA. The points are 0, +-sqrt(1/2), +-sqrt(2) and infinity; see op/conv2d_winograd.c. */
#include "device/cpu_winograd.h"

#include <string.h>

#define NAME_(isa) dfx__cpu_winograd_##isa
#define NAME(isa) NAME_(isa)

#if defined __AVX512F__
enum { WIDTH = 16 };
#elif defined __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif

enum { IN = 6, OUT = 4, STEP = 16 };

typedef float vector __attribute__((vector_size(WIDTH * 4)));
typedef float any_vector __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

static const float half_root = 0.707106781f, root = 1.41421356f;

/* A vector of which only n <= WIDTH elements are there. */
static inline vector load(const float *from, size_t n)
{
    vector v = { 0 };
    if (n >= WIDTH)
        return *(const any_vector *)from;
    memcpy(&v, from, n * sizeof *from);
    return v;
}

static inline void store(float *to, vector v, size_t n)
{
    if (n >= WIDTH)
        *(any_vector *)to = v;
    else
        memcpy(to, &v, n * sizeof *to);
}

/* r = B^T d; elements of r are `step` apart. */
static inline void forward(vector *r, int step, const vector *d)
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
static inline void backward(vector *y, int step, const vector *m)
{
    vector s1 = m[1] + m[2], t1 = half_root * (m[1] - m[2]);
    vector s2 = m[3] + m[4], t2 = root * (m[3] - m[4]);
    y[0] = m[0] + (s1 + s2);
    y[step] = t1 + t2;
    y[2 * step] = 0.5f * s1 + 2.0f * s2;
    y[3 * step] = 0.5f * t1 + 2.0f * t2 + m[5];
}

static void input(float *to, size_t plane, const float *const *pixel, size_t n)
{
    size_t rounded = (n + STEP - 1) / STEP * STEP;
    for (size_t c = 0; c < rounded; c += WIDTH) {
        vector line[IN], half[IN * IN], result[IN];
        size_t left = c < n ? n - c : 0;
        for (int x = 0; x < IN; x++) {
            for (int y = 0; y < IN; y++)
                line[y] =
                    pixel[y * IN + x] && left ? load(pixel[y * IN + x] + c, left) : (vector){ 0 };
            forward(half + x, IN, line);
        }
        for (int y = 0; y < IN; y++) {
            forward(result, 1, half + y * IN);
            for (int x = 0; x < IN; x++)
                *(any_vector *)(to + (size_t)(y * IN + x) * plane + c) = result[x];
        }
    }
}

static void output(float *const *pixel, const float *from, size_t plane, const float *bias,
                   size_t n)
{
    for (size_t c = 0; c < n; c += WIDTH) {
        vector line[IN], half[OUT * IN], result[OUT];
        vector offset = bias ? load(bias + c, n - c) : (vector){ 0 };
        for (int x = 0; x < IN; x++) {
            for (int y = 0; y < IN; y++)
                line[y] = *(const any_vector *)(from + (size_t)(y * IN + x) * plane + c);
            backward(half + x, IN, line);
        }
        for (int y = 0; y < OUT; y++) {
            backward(result, 1, half + y * IN);
            for (int x = 0; x < OUT; x++)
                if (pixel[y * OUT + x])
                    store(pixel[y * OUT + x] + c, result[x] + offset, n - c);
        }
    }
}

const dfx__cpu_winograd NAME(DFX_ISA) = { input, output };
