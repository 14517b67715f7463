/* noise.h - numbers that only have to differ, the same in each run, and cheap: the linear
 * congruential generator of Numerical Recipes. */
#ifndef DFX_CORE_NOISE_H
#define DFX_CORE_NOISE_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t dfx__noise_next(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

/* n numbers of [-1, 1). */
static inline void dfx__noise(float *to, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)(dfx__noise_next(&seed) >> 8) * 0x1p-23f - 1;
}

#endif
