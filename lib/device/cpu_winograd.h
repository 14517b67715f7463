/* cpu_winograd.h - the transforms of Winograd's convolution on the native CPU; part of
 * dfx__cpu_kernels. op/conv2d_winograd.c says what they are for. */
#ifndef DFX_DEVICE_CPU_WINOGRAD_H
#define DFX_DEVICE_CPU_WINOGRAD_H

#include <stddef.h>

typedef struct dfx__cpu_winograd {
    /* Transforms a square of 6 x 6 pixels of n channels each, NULL for zeros. Element i of the
     * result goes to `to` + i * plane; n is rounded up to 16 there. */
    void (*input)(float *to, size_t plane, const float *const *pixel, size_t n);

    /* Transforms 36 lines of n <= 32 columns, `plane` apart, back to a square of 4 x 4 pixels and
     * adds the bias [n], which may be NULL; a pixel that is NULL is left out. */
    void (*output)(float *const *pixel, const float *from, size_t plane, const float *bias,
                   size_t n);
} dfx__cpu_winograd;

extern const dfx__cpu_winograd dfx__cpu_winograd_base;
#ifdef DFX_HAVE_AVX2
extern const dfx__cpu_winograd dfx__cpu_winograd_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const dfx__cpu_winograd dfx__cpu_winograd_avx512;
#endif

#endif
