/* cpu_vector.h - vectors as wide as an instruction set's registers, for the files that are compiled
 * once for each. */
#ifndef DFX_DEVICE_CPU_VECTOR_H
#define DFX_DEVICE_CPU_VECTOR_H

#include "dfxcl/base.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined __AVX2__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

/* For bodies that are called with a constant dtype: what depends on it is decided before loops. */
#define INLINE static inline __attribute__((always_inline))

/* Floats of a register, and rows of a tile (see cpu_tile.c). */
#if defined __AVX512F__
enum { WIDTH = 16, ROWS = 8 };
#elif defined __AVX2__
enum { WIDTH = 8, ROWS = 6 };
#elif defined __aarch64__
enum { WIDTH = 4, ROWS = 8 };
#else
enum { WIDTH = 4, ROWS = 4 };
#endif

typedef float vector __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ints __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t words __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t halves __attribute__((vector_size(WIDTH * 2)));
typedef float any_vector __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

/* Lanes of a where the mask is all ones, of b where it is 0. */
static inline words choose_words(words mask, words a, words b)
{
    return (mask & a) | (~mask & b);
}

/* Processors convert f16 themselves, but for x86 before F16C. */
static inline vector widen_f16(halves from)
{
#if defined __AVX512F__
    return (vector)_mm512_cvtph_ps((__m256i)from);
#elif defined __AVX2__ && defined __F16C__
    return (vector)_mm256_cvtph_ps((__m128i)from);
#elif defined __aarch64__
    return (vector)vcvt_f32_f16((float16x4_t)from);
#else
    words h = __builtin_convertvector(from, words);
    words sign = (h & 0x8000) << 16, m = (h & 0x7fff) << 13;
    words denormal = (words)((vector)(m + 0x38800000) - 0x1p-14f);
    words infinite = (words)(m >= 0x0f800000);
    words normal = m + 0x38000000 + (infinite & 0x38000000);
    return (vector)(sign | choose_words((words)(m < 0x00800000), denormal, normal));
#endif
}

static inline vector widen_bf16(halves from)
{
#if defined __AVX512F__
    return (vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)from), 16);
#else
    return (vector)(__builtin_convertvector(from, words) << 16);
#endif
}

static inline halves narrow_f16(vector from)
{
#if defined __AVX512F__
    return (halves)_mm512_cvtps_ph((__m512)from, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined __AVX2__ && defined __F16C__
    return (halves)_mm256_cvtps_ph((__m256)from, _MM_FROUND_TO_NEAREST_INT);
#elif defined __aarch64__
    return (halves)vcvt_f16_f32((float32x4_t)from);
#else
    words u = (words)from, sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    words denormal = (words)((vector)a + 0.5f) - 0x3f000000;
    words normal = (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13;
    words h = choose_words((words)(a < 0x38800000), denormal, normal);
    h = choose_words((words)(a >= 0x477ff000), (words){ 0 } + 0x7c00, h);
    h = choose_words((words)(a > 0x7f800000), (words){ 0 } + 0x7e00, h);
    return __builtin_convertvector(sign | h, halves);
#endif
}

/* AVX512-BF16 would make denormals 0 and is not used; BFCVTN keeps them. */
static inline halves narrow_bf16(vector from)
{
#if defined __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
    return (halves)vcvt_bf16_f32((float32x4_t)from);
#elif defined __AVX512F__
    words u = (words)from, h = u + 0x7fff + (u >> 16 & 1), quiet = u | 0x400000;
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)from, (__m512)from, _CMP_UNORD_Q);
    __m512i bits = _mm512_mask_mov_epi32((__m512i)h, nan, (__m512i)quiet);
    return (halves)_mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
#else
    words u = (words)from, nan = (words)((u & 0x7fffffff) > 0x7f800000);
    words h = choose_words(nan, u >> 16 | 0x40, (u + 0x7fff + (u >> 16 & 1)) >> 16);
    return __builtin_convertvector(h, halves);
#endif
}

/* exp(x) within 2 units in the last place; where that would be denormal, 0 or the least normal
 * number. exp(x) = 2^n exp(r), |r| <= ln(2)/2; the polynomial is that of Cephes' expf. */
static inline vector exp_vector(vector x)
{
    const float lowest = -87.33654f, highest = 88.72283f;
#if defined __AVX512F__
    const vector least = (vector){ 0 } + lowest, most = (vector){ 0 } + 2 * highest;
    vector y = (vector)_mm512_min_ps((__m512)most, _mm512_max_ps((__m512)least, (__m512)x));
    vector n = (vector)_mm512_roundscale_ps((__m512)(y * 1.44269504f), _MM_FROUND_TO_NEAREST_INT);
#else
    const float round = 0x1.8p23f;
    words small = (words)(x < lowest), large = (words)(x > highest);
    vector y = (vector)choose_words(small | large, (words){ 0 }, (words)x);
    vector n = (y * 1.44269504f + round) - round;
#endif
    vector r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
    vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
#if defined __AVX512F__
    return (vector)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    /* Two factors, because 2^128 is no float. */
    words exponent = (words)(n + round) - 0x4b400000, half = (words)(n * 0.5f + round) - 0x4b400000;
    vector scale0 = (vector)((half + 127) << 23), scale1 = (vector)((exponent - half + 127) << 23);
    words result = (words)(p * scale0 * scale1);
    result = choose_words(large, (words){ 0 } + 0x7f800000, result);
    return (vector)(result & ~small);
#endif
}

/* a / b for 2^-126 <= b <= 2^126, within 2 units in the last place. */
static inline vector divide(vector a, vector b)
{
#if defined __AVX512F__
    vector r = (vector)_mm512_rcp14_ps((__m512)b);
    return a * (r + r * (1.0f - b * r));
#else
    return a / b;
#endif
}

/* CALL(DTYPE), which the caller defines, with a constant in place of dtype. */
#define FOR_DTYPE(dtype)                                                                           \
    do {                                                                                           \
        if ((dtype) == DFX_F32)                                                                    \
            CALL(DFX_F32);                                                                         \
        else if ((dtype) == DFX_F16)                                                               \
            CALL(DFX_F16);                                                                         \
        else                                                                                       \
            CALL(DFX_BF16);                                                                        \
    } while (0)

/* The first n lanes of a vector from index i on, zeros after them; all where n >= WIDTH. */
INLINE vector load_dtype(const void *from, dfx_dtype dtype, size_t i, size_t n)
{
    size_t lanes = n < WIDTH ? n : WIDTH;
    if (dtype == DFX_F32) {
        const float *p = (const float *)from + i;
        vector v = { 0 };
        if (lanes == WIDTH)
            return *(const any_vector *)p;
        memcpy(&v, p, lanes * sizeof *p);
        return v;
    }
    halves h = { 0 };
    if (lanes == WIDTH)
        memcpy(&h, (const uint16_t *)from + i, sizeof h);
    else
        memcpy(&h, (const uint16_t *)from + i, lanes * sizeof(uint16_t));
    return dtype == DFX_F16 ? widen_f16(h) : widen_bf16(h);
}

INLINE void store_dtype(void *to, dfx_dtype dtype, size_t i, vector v, size_t n)
{
    size_t lanes = n < WIDTH ? n : WIDTH;
    if (dtype == DFX_F32) {
        float *p = (float *)to + i;
        if (lanes == WIDTH)
            *(any_vector *)p = v;
        else
            memcpy(p, &v, lanes * sizeof *p);
        return;
    }
    halves h = dtype == DFX_F16 ? narrow_f16(v) : narrow_bf16(v);
    if (lanes == WIDTH)
        memcpy((uint16_t *)to + i, &h, sizeof h);
    else
        memcpy((uint16_t *)to + i, &h, lanes * sizeof(uint16_t));
}

#endif
