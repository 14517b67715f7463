/* cpu_kernels.c - chooses the native CPU's kernels for this processor. */
#include "device/cpu_kernels.h"

#include "device/cpu_tile.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef DFX_HAVE_NEON_BF16
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#ifdef DFX_HAVE_AVX2
static int runs_avx2(void)
{
    /* no processor has AVX2 without F16C, whose name clang 14 does not know */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef DFX_HAVE_AVX512
static int runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#ifdef DFX_HAVE_AVX512BF16
static int runs_avx512bf16(void)
{
    return runs_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

#ifdef DFX_HAVE_AMX
static int runs_amx(void)
{
    return runs_avx512bf16() && dfx__cpu_runs_amx();
}
#endif

#ifdef DFX_HAVE_NEON_BF16
static int runs_neon_bf16(void)
{
    return (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
}
#endif

static int runs_base(void)
{
    return 1;
}

/* The best first. */
static const struct {
    const struct dfx__cpu_kernels *kernels;
    int (*runs)(void);
} choices[] = {
#ifdef DFX_HAVE_AMX
    { &dfx__cpu_amx, runs_amx },
#endif
#ifdef DFX_HAVE_AVX512BF16
    { &dfx__cpu_avx512bf16, runs_avx512bf16 },
#endif
#ifdef DFX_HAVE_AVX512
    { &dfx__cpu_avx512, runs_avx512 },
#endif
#ifdef DFX_HAVE_AVX2
    { &dfx__cpu_avx2, runs_avx2 },
#endif
#ifdef DFX_HAVE_NEON_BF16
    { &dfx__cpu_neon_bf16, runs_neon_bf16 },
#endif
    { &dfx__cpu_base, runs_base },
};

enum { CHOICES = sizeof choices / sizeof *choices };

static const struct dfx__cpu_kernels *chosen;

static void choose(void)
{
    const char *wanted = getenv("DFX_CPU_ISA");
    int i = 0;
    while (wanted && i < CHOICES && strcmp(choices[i].kernels->name, wanted) != 0)
        i++;
    if (i == CHOICES) /* none of that name: as if not asked */
        i = 0;
    while (!choices[i].runs())
        i++;
    chosen = choices[i].kernels;
}

const struct dfx__cpu_kernels *dfx__cpu_kernels(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen;
}

int dfx__cpu_has_pairs(void)
{
    for (int i = 0; i < CHOICES; i++)
        if (choices[i].kernels->tile_pairs && choices[i].runs())
            return 1;
    return 0;
}
