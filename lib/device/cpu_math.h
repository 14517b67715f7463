/* cpu_math.h - activations and moments over arrays on the native CPU; part of dfx__cpu_kernels. */
#ifndef DFX_DEVICE_CPU_MATH_H
#define DFX_DEVICE_CPU_MATH_H

#include "dfxcl/base.h"

#include <stddef.h>

typedef struct dfx__cpu_math {
    /* to[i] = f(from[i]), within 3e-7 max(1, |from[i]|); `to` may be `from`. */
    void (*silu)(float *to, const float *from, size_t n);
    void (*gelu)(float *to, const float *from, size_t n);
    void (*quick_gelu)(float *to, const float *from, size_t n);

    /* to[i] = value[i] gelu(gate[i]); `to` may be `value`. */
    void (*geglu)(void *to, const void *value, const void *gate, dfx_dtype dtype, size_t n);

    /* Mean and sum of squared deviations of each of n columns, over rows that are `stride` apart.
     */
    void (*column_moments)(float *mean, float *squares, const void *x, dfx_dtype dtype,
                           size_t stride, size_t rows, size_t n);

    /* to[i] = (from[i] - mean[i]) factor[i] + shift[i], or silu of it; `to` may be `from`. */
    void (*normalise_columns)(void *to, const void *from, dfx_dtype dtype, const float *mean,
                              const float *factor, const float *shift, int with_silu, size_t n);

    /* to[i] = (from[i] - mean) / sqrt(variance + eps) scale[i] + shift[i], with mean and variance
     * of the n >= 1 numbers; scale and shift may be NULL for 1 and 0. */
    void (*normalise_row)(void *to, const void *from, dfx_dtype dtype, float eps,
                          const float *scale, const float *shift, size_t n);
} dfx__cpu_math;

extern const dfx__cpu_math dfx__cpu_math_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_math dfx__cpu_math_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_math dfx__cpu_math_avx512;
#endif

#endif
