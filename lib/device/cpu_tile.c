/* cpu_tile.c - the native CPU's inner loops, compiled once for each instruction set DFX_ISA.
 *
 * A tile is computed in passes of two vectors of columns, so that its accumulators, two vectors of
 * the panel and a broadcast element fit into the registers: 8 rows of 2 x 16 columns with AVX-512,
 * 6 of 2 x 8 with AVX2, 4 of 2 x 4 with SSE2 or NEON. */
#include "device/cpu_tile.h"

#include <string.h>
#if defined __AVX2__
#include <immintrin.h>
#endif

/* An instruction set that helps this file alone takes the other parts from DFX_PARTS. */
#ifndef DFX_PARTS
#define DFX_PARTS DFX_ISA
#endif

#define NAME_(isa) dfx__cpu_##isa
#define NAME(isa) NAME_(isa)
#define MATH_(isa) dfx__cpu_math_##isa
#define MATH(isa) MATH_(isa)
#define ATTENTION_(isa) dfx__cpu_attention_##isa
#define ATTENTION(isa) ATTENTION_(isa)
#define WINOGRAD_(isa) dfx__cpu_winograd_##isa
#define WINOGRAD(isa) WINOGRAD_(isa)
#define TEXT_(isa) #isa
#define TEXT(isa) TEXT_(isa)

#if defined __AVX512F__
enum { WIDTH = 16, ROWS = 8 };
#elif defined __AVX2__
enum { WIDTH = 8, ROWS = 6 };
#else
enum { WIDTH = 4, ROWS = 4 };
#endif

typedef float vector __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t words __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t halves __attribute__((vector_size(WIDTH * 2)));
typedef float any_vector __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

static void tile(float *acc, const float *const *row, const float *panel, size_t k)
{
    const float *a[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        a[r] = row[r];
    for (int column = 0; column < DFX__TILE_COLUMNS; column += 2 * WIDTH) {
        const float *b = panel + column;
        vector sum[ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r][0] = sum[r][1] = (vector){ 0 };
        for (size_t i = 0; i < k; i++, b += DFX__TILE_COLUMNS) {
            vector b0 = ((const any_vector *)b)[0], b1 = ((const any_vector *)b)[1];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[r][0] += a[r][i] * b0;
                sum[r][1] += a[r][i] * b1;
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            any_vector *to = (any_vector *)(acc + r * DFX__TILE_COLUMNS + column);
            to[0] += sum[r][0];
            to[1] += sum[r][1];
        }
    }
}

#if defined __AVX512BF16__
static void tile_pairs(float *acc, const uint16_t *const *row, const uint16_t *panel, size_t pairs)
{
    _Static_assert(DFX__TILE_COLUMNS == 2 * WIDTH, "a tile is one pass");
    __m512 sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        sum[r][0] = _mm512_loadu_ps(acc + r * DFX__TILE_COLUMNS);
        sum[r][1] = _mm512_loadu_ps(acc + r * DFX__TILE_COLUMNS + WIDTH);
    }
    for (size_t p = 0; p < pairs; p++, panel += 2 * DFX__TILE_COLUMNS) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(panel);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(panel + 2 * WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            int32_t pair;
            memcpy(&pair, row[r] + 2 * p, sizeof pair);
            __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, b0);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], a, b1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        _mm512_storeu_ps(acc + r * DFX__TILE_COLUMNS, sum[r][0]);
        _mm512_storeu_ps(acc + r * DFX__TILE_COLUMNS + WIDTH, sum[r][1]);
    }
}
#define TILE_PAIRS tile_pairs
#else
#define TILE_PAIRS NULL
#endif

/* Lanes of a where the mask is all ones, of b where it is 0. */
static inline words choose(words mask, words a, words b)
{
    return (mask & a) | (~mask & b);
}

/* exp(x) = 2^n exp(r), |r| <= ln(2)/2; the polynomial is that of Cephes' expf. */
static inline vector exp_vector(vector x)
{
    const float round = 0x1.8p23f, lowest = -87.33654f, highest = 88.72283f;
    words small = (words)(x < lowest), large = (words)(x > highest);
    vector y = (vector)choose(small | large, (words){ 0 }, (words)x);
    vector n = (y * 1.44269504f + round) - round;
    vector r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
    vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    /* Two factors, because 2^128 is no float. */
    words exponent = (words)(n + round) - 0x4b400000, half = (words)(n * 0.5f + round) - 0x4b400000;
    vector scale0 = (vector)((half + 127) << 23), scale1 = (vector)((exponent - half + 127) << 23);
    words result = (words)(p * scale0 * scale1);
    result = choose(large, (words){ 0 } + 0x7f800000, result);
    return (vector)(result & ~small);
}

static void exp_array(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        *(any_vector *)(to + i) = exp_vector(*(const any_vector *)(from + i));
    if (i < n) {
        vector v = { 0 };
        memcpy(&v, from + i, (n - i) * sizeof *from);
        v = exp_vector(v);
        memcpy(to + i, &v, (n - i) * sizeof *to);
    }
}

/* Processors convert f16 themselves, but for SSE2 and NEON without its extension. */
static inline vector widen_f16(halves from)
{
#if defined __AVX512F__
    return (vector)_mm512_cvtph_ps((__m256i)from);
#elif defined __AVX2__ && defined __F16C__
    return (vector)_mm256_cvtph_ps((__m128i)from);
#else
    words h = __builtin_convertvector(from, words);
    words sign = (h & 0x8000) << 16, m = (h & 0x7fff) << 13;
    words denormal = (words)((vector)(m + 0x38800000) - 0x1p-14f);
    words infinite = (words)(m >= 0x0f800000);
    words normal = m + 0x38000000 + (infinite & 0x38000000);
    return (vector)(sign | choose((words)(m < 0x00800000), denormal, normal));
#endif
}

static inline vector widen_bf16(halves from)
{
    return (vector)(__builtin_convertvector(from, words) << 16);
}

static inline halves narrow_f16(vector from)
{
#if defined __AVX512F__
    return (halves)_mm512_cvtps_ph((__m512)from, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined __AVX2__ && defined __F16C__
    return (halves)_mm256_cvtps_ph((__m256)from, _MM_FROUND_TO_NEAREST_INT);
#else
    words u = (words)from, sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    words denormal = (words)((vector)a + 0.5f) - 0x3f000000;
    words normal = (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13;
    words h = choose((words)(a < 0x38800000), denormal, normal);
    h = choose((words)(a >= 0x477ff000), (words){ 0 } + 0x7c00, h);
    h = choose((words)(a > 0x7f800000), (words){ 0 } + 0x7e00, h);
    return __builtin_convertvector(sign | h, halves);
#endif
}

static inline halves narrow_bf16(vector from)
{
    words u = (words)from, nan = (words)((u & 0x7fffffff) > 0x7f800000);
    words h = choose(nan, u >> 16 | 0x40, (u + 0x7fff + (u >> 16 & 1)) >> 16);
    return __builtin_convertvector(h, halves);
}

/* Arrays, a vector at a time; the last elements take a detour through a vector of their own. */
#define WIDEN(name)                                                                                \
    static void name##_array(float *to, const uint16_t *from, size_t n)                            \
    {                                                                                              \
        halves v = { 0 };                                                                          \
        size_t i = 0;                                                                              \
        for (; i + WIDTH <= n; i += WIDTH) {                                                       \
            memcpy(&v, from + i, sizeof v);                                                        \
            *(any_vector *)(to + i) = name(v);                                                     \
        }                                                                                          \
        if (i < n) {                                                                               \
            memcpy(&v, from + i, (n - i) * sizeof *from);                                          \
            vector wide = name(v);                                                                 \
            memcpy(to + i, &wide, (n - i) * sizeof *to);                                           \
        }                                                                                          \
    }

#define NARROW(name)                                                                               \
    static void name##_array(uint16_t *to, const float *from, size_t n)                            \
    {                                                                                              \
        halves half;                                                                               \
        size_t i = 0;                                                                              \
        for (; i + WIDTH <= n; i += WIDTH) {                                                       \
            half = name(*(const any_vector *)(from + i));                                          \
            memcpy(to + i, &half, sizeof half);                                                    \
        }                                                                                          \
        if (i < n) {                                                                               \
            vector v = { 0 };                                                                      \
            memcpy(&v, from + i, (n - i) * sizeof *from);                                          \
            half = name(v);                                                                        \
            memcpy(to + i, &half, (n - i) * sizeof *to);                                           \
        }                                                                                          \
    }

WIDEN(widen_f16)
WIDEN(widen_bf16)
NARROW(narrow_f16)
NARROW(narrow_bf16)

static void widen(float *to, const void *from, dfx_dtype dtype, size_t n)
{
    if (dtype == DFX_F32)
        memcpy(to, from, n * sizeof *to);
    else if (dtype == DFX_F16)
        widen_f16_array(to, from, n);
    else
        widen_bf16_array(to, from, n);
}

static void narrow(void *to, dfx_dtype dtype, const float *from, size_t n)
{
    if (dtype == DFX_F32)
        memcpy(to, from, n * sizeof *from);
    else if (dtype == DFX_F16)
        narrow_f16_array(to, from, n);
    else
        narrow_bf16_array(to, from, n);
}

const struct dfx__cpu_kernels NAME(DFX_ISA) = {
    TEXT(DFX_ISA),
    ROWS,
    tile,
    TILE_PAIRS,
    exp_array,
    widen,
    narrow,
    &MATH(DFX_PARTS),
    &ATTENTION(DFX_PARTS),
    &WINOGRAD(DFX_PARTS),
};
