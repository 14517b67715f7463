/* cpu_winograd.h - the transforms of Winograd's convolution on the native CPU; part of
 * dfx__cpu_kernels. op/conv2d_winograd.c says what they are for. */
#ifndef DFX_DEVICE_CPU_WINOGRAD_H
#define DFX_DEVICE_CPU_WINOGRAD_H

#include "dfxcl/base.h"

#include <stddef.h>

/* `out` is 4 or 6: a tile is out x out results, and out + 2 pixels across and down. */
typedef struct dfx__cpu_winograd {
    /* Transforms a square of pixels of n channels each, NULL for zeros. Element i of the result
     * goes to `to` + i * plane; n is rounded up to 16 there. */
    void (*input)(float *to, size_t plane, const void *const *pixel, dfx_dtype dtype, int out,
                  size_t n);

    /* Transforms the 3x3 windows of n inputs from `first` on of a panel [9][inputs][32], or, in
     * pairs of bf16, [9][ceil(inputs / 2)][32][2], `first` even. Element i of them, [n][32], goes
     * to `to` + i * plane. */
    void (*weight)(float *to, size_t plane, const void *panel, dfx_dtype dtype, int pairs, int out,
                   size_t inputs, size_t first, size_t n);

    /* Transforms (out + 2)^2 lines of n <= 32 columns, `plane` apart, back to out x out pixels,
     * adds offset [32] and, where it is not NULL, what lies at add[pixel]; a pixel that is NULL is
     * left out. */
    void (*output)(void *const *pixel, const void *const *add, dfx_dtype dtype, const float *from,
                   size_t plane, int out, const float *offset, size_t n);
} dfx__cpu_winograd;

extern const dfx__cpu_winograd dfx__cpu_winograd_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_winograd dfx__cpu_winograd_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_winograd dfx__cpu_winograd_avx512;
#endif

#endif
