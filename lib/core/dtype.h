/* dtype.h - element types: sizes, and conversion to and from f32. */
#ifndef DFX_CORE_DTYPE_H
#define DFX_CORE_DTYPE_H

#include "dfxcl/base.h"

#include <string.h>

/* Whether models can run in it: f32, f16, bf16. */
int dfx__dtype_is_float(dfx_dtype dtype);

float dfx__f16_to_f32(uint16_t h);
uint16_t dfx__f32_to_f16(float f); /* rounds half to even, overflows to infinity */

static inline float dfx__bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t dfx__f32_to_bf16(float f) /* rounds half to even; NaN stays NaN */
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* n elements of `dtype` (any of dfx_dtype) at `from`, which need not be aligned, as floats, and
 * floats as n elements of a float type. */
void dfx__to_f32(float *to, const void *from, dfx_dtype dtype, size_t n);
void dfx__from_f32(void *to, dfx_dtype dtype, const float *from, size_t n);

/* Whether none of n elements of `dtype` at `from`, which need not be aligned, is NaN or infinite.
 */
int dfx__is_finite(const void *from, dfx_dtype dtype, size_t n);

/* Elements of a shape. */
size_t dfx__elements(const dfx_spec *spec);
size_t dfx__spec_bytes(const dfx_spec *spec);

/* "[2, 4, 64, 64]" into a buffer; returns it. */
enum { DFX__SHAPE_TEXT = 128 };
const char *dfx__shape_text(char text[DFX__SHAPE_TEXT], int rank, const int64_t *dim);

#endif
