/* bench_flops.cl - multiply-adds in registers as lib/bench/flops.c times them: CHAINS of them that
 * do not wait for each other, on vectors of WIDTH. KIND: 0 f32, 1 half, 2 int8; PAIRS: x86's dot
 * product of bf16 pairs; MMA: NVIDIA's tensor cores. */

#define CHAINS 8

#if defined PAIRS

#include "panel.cl"

/* 16 sums of 2 products */
typedef float16 V;
#define START(c) (float16)(0.0f)
#define STEP(v) DOT(v, a, b)
#define PREPARE int16 a = (int16)0x3f803f80, b = (int16)0x3f803f80 + (int)get_global_id(0) % 2;
#define SUM(v) ((v).s0 + (v).sf)

#elif defined MMA

#include "mma.cl"

/* 16 x 8 sums of 16 products, by a warp */
typedef struct {
    float c[4];
} V;
#define START(n) (V){ { 0.0f, 0.0f, 0.0f, 0.0f } }
#define STEP(v) mma((v).c, a, a[0], a[1])
#define PREPARE                                 \
    uint a[4] = { 0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u + get_global_id(0) % 2 };
#define SUM(v) ((v).c[0] + (v).c[3])

#else

#if KIND == 0
#define ELEMENT float
#elif KIND == 1
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define ELEMENT half
#else
#define ELEMENT char
#endif

#define JOIN(a, b) a##b
#define VECTOR(type, n) JOIN(type, n)
#if WIDTH == 1
typedef ELEMENT V;
#define SUM(v) (float)(v)
#else
typedef VECTOR(ELEMENT, WIDTH) V;
#define SUM(v) ((float)(v).s0 + (float)(v).s1)
#endif

#define START(n) (V)(ELEMENT)((n) + (int)get_global_id(0) % 8)
#if KIND == 2
#define PREPARE V a = (V)(ELEMENT)scale, b = (V)(ELEMENT)3;
#define STEP(v) v = v * a + b
#else
#define PREPARE V a = (V)(ELEMENT)scale, b = (V)(ELEMENT)0.25f;
#define STEP(v) v = fma(v, a, b)
#endif

#endif

WORK_GROUP(GROUP, 1, 1)
void bench_multiply_add(__global float *restrict y, float scale, int rounds)
{
    V v[CHAINS];
    PREPARE
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        v[c] = START(c);
    for (int i = 0; i < rounds; i++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++)
            STEP(v[c]);
    }
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        sum += SUM(v[c]);
    y[get_global_id(0)] = sum;
}
