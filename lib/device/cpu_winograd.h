/* cpu_winograd.h - the transforms of Winograd's convolution on the native CPU; part of
 * dfx__cpu_kernels. op/conv2d_winograd.c says what they are for. */
#ifndef DFX_DEVICE_CPU_WINOGRAD_H
#define DFX_DEVICE_CPU_WINOGRAD_H

#include "dfxcl/base.h"

#include <stddef.h>

typedef struct dfx__cpu_winograd {
    /* Transforms a square of 6 x 6 pixels of n channels each, NULL for zeros. Element i of the
     * result goes to `to` + i * plane; n is rounded up to 16 there. */
    void (*input)(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, size_t n);

    /* Transforms the 3x3 windows of n inputs from `first` on of a panel [9][inputs][32], or, in
     * pairs of bf16, [9][ceil(inputs / 2)][32][2], `first` even. Element i of them, [n][32], goes
     * to `to` + i * plane. */
    void (*weight)(float *to, size_t plane, const void *panel, dfx_dtype dtype, int pairs,
                   size_t inputs, size_t first, size_t n);

    /* Transforms 36 lines of n <= 32 columns, `plane` apart, back to a square of 4 x 4 pixels, adds
     * offset [32] and, where it is not NULL, what lies at add[pixel]; a pixel that is NULL is left
     * out. */
    void (*output)(void *const *pixel, const void *const *add, dfx_dtype dtype, const float *from,
                   size_t plane, const float *offset, size_t n);
} dfx__cpu_winograd;

extern const dfx__cpu_winograd dfx__cpu_winograd_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_winograd dfx__cpu_winograd_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_winograd dfx__cpu_winograd_avx512;
#endif

#endif
