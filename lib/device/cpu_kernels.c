/* cpu_kernels.c - chooses the native CPU's kernels for this processor. */
#include "device/cpu_kernels.h"

#include "device/cpu_tile.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef DFX_HAVE_AVX2
static int runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
}
#endif

#ifdef DFX_HAVE_AVX512
static int runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct dfx__cpu_kernels *chosen;

static void choose(void)
{
    const char *wanted = getenv("DFX_CPU_ISA");
    chosen = &dfx__cpu_base;
#ifdef DFX_HAVE_AVX2
    if (runs_avx2() && !(wanted && strcmp(wanted, "base") == 0))
        chosen = &dfx__cpu_avx2;
#endif
#ifdef DFX_HAVE_AVX512
    if (runs_avx512() && !(wanted && (strcmp(wanted, "base") == 0 || strcmp(wanted, "avx2") == 0)))
        chosen = &dfx__cpu_avx512;
#endif
}

const struct dfx__cpu_kernels *dfx__cpu_kernels(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen;
}
