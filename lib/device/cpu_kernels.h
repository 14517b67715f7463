/* cpu_kernels.h - the native CPU's fast inner loops, chosen for this processor at run time. */
#ifndef DFX_DEVICE_CPU_KERNELS_H
#define DFX_DEVICE_CPU_KERNELS_H

#include "device/cpu_attention.h"
#include "device/cpu_math.h"
#include "device/cpu_winograd.h"
#include "dfxcl/base.h"

enum {
    DFX__TILE_COLUMNS = 32, /* of a tile and of a panel */
    DFX__TILE_ROWS = 16     /* the most that any instruction set has */
};

/* One instruction set's kernels. All of them take unaligned pointers. */
struct dfx__cpu_kernels {
    const char *name; /* "avx512" */
    int rows;         /* of a tile */

    /* acc [rows][32] += sum over k of row[r][k] panel[k][32]; the sum is added as a whole, so that
     * rounding errors stay small where it is one block of many. With `first` [32] it is added to
     * that in each row, and what acc held does not count. */
    void (*tile)(float *acc, const float *first, const float *const *row, const float *panel,
                 size_t k);

    /* The same of a panel in half precision, which comes to lie in wide [k][32] as floats on the
     * way, for the next tiles; of what follows the panel as much is asked for from memory. */
    void (*tile_widening)(float *acc, const float *first, const float *const *row,
                          const void *panel, dfx_dtype dtype, float *wide, size_t k);

    /* The same of bf16 in pairs, with the processor's dot product: acc [rows][32] += sum over p of
     * row[r][2 p] panel[p][32][0] + row[r][2 p + 1] panel[p][32][1]. NULL where it has none. */
    void (*tile_pairs)(float *acc, const float *first, const uint16_t *const *row,
                       const uint16_t *panel, size_t pairs);

    /* The same of rows that are packed as well, all words of two bf16: to [rows][32] = sum over p
     * of panel [p][rows] lines [p][32], added to what is there where `add` says so. NULL where
     * there is none, which may be where tile_pairs is.
     */
    void (*tile_packed_pairs)(float *to, const float *panel, const float *lines, size_t pairs,
                              int add);

    /* out = acc [rows][32] + add, where it is not NULL; both have `columns` <= 32 in rows `stride`
     * elements apart. */
    void (*store_tile)(void *out, size_t stride, const void *add, dfx_dtype dtype, const float *acc,
                       int rows, size_t columns);

    /* dfx__to_f32 and dfx__from_f32 of f32, f16 and bf16, many at a time: the same bits, but for
     * the payload of a NaN. `to` and `from` do not overlap. */
    void (*widen)(float *to, const void *from, dfx_dtype dtype, size_t n);
    void (*narrow)(void *to, dfx_dtype dtype, const float *from, size_t n);

    const dfx__cpu_math *math; /* activations, moments */
    const dfx__cpu_attention *attention;
    const dfx__cpu_winograd *winograd;
};

/* The best kernels that this processor runs and this library was built with. DFX_CPU_ISA=base,
 * avx2, avx512 or avx512bf16 in the environment asks for less; what cannot run here is not taken.
 * On 64-bit ARM base is NEON, and above it is neon_bf16. */
const struct dfx__cpu_kernels *dfx__cpu_kernels(void);

/* Whether this processor has a dot product of bf16 pairs, whatever DFX_CPU_ISA asks for. */
int dfx__cpu_has_pairs(void);

#endif
