/* cpu_tile.h - cpu_tile.c as compiled for each instruction set. */
#ifndef DFX_DEVICE_CPU_TILE_H
#define DFX_DEVICE_CPU_TILE_H

#include "device/cpu_kernels.h"

extern const struct dfx__cpu_kernels dfx__cpu_base;
#ifdef DFX_HAVE_AVX2
extern const struct dfx__cpu_kernels dfx__cpu_avx2;
#endif
#ifdef DFX_HAVE_AVX512
extern const struct dfx__cpu_kernels dfx__cpu_avx512;
#endif
#ifdef DFX_HAVE_AVX512BF16
extern const struct dfx__cpu_kernels dfx__cpu_avx512bf16;
#endif
#ifdef DFX_HAVE_AMX
/* AVX-512's kernels with AMX's product of pairs (cpu_amx.c), ready once it was asked whether this
 * process may use them. */
extern struct dfx__cpu_kernels dfx__cpu_amx;
int dfx__cpu_runs_amx(void);
#endif
#ifdef DFX_HAVE_NEON_BF16
extern const struct dfx__cpu_kernels dfx__cpu_neon_bf16;
#endif

#endif
