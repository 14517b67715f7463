/* rng.c - torch's CPU generator: mt19937, its uniform and its two ways to draw normal numbers. */
#include "dfxcl/rng.h"

#include <math.h>
#include <string.h>

enum { WORDS = 624, SHIFT = 397, BLOCK = 16 };

void dfx_rng_seed(dfx_rng *rng, uint64_t seed)
{
    memset(rng, 0, sizeof *rng);
    rng->word[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++)
        rng->word[i] = 1812433253u * (rng->word[i - 1] ^ rng->word[i - 1] >> 30) + i;
    rng->next = WORDS;
}

static void refill(dfx_rng *rng)
{
    uint32_t *w = rng->word;
    for (int i = 0; i < WORDS; i++) {
        uint32_t y = (w[i] & 0x80000000u) | (w[(i + 1) % WORDS] & 0x7fffffffu);
        w[i] = w[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    rng->next = 0;
}

static uint32_t next_word(dfx_rng *rng)
{
    if (rng->next >= WORDS)
        refill(rng);
    uint32_t y = rng->word[rng->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* 24 bits in [0, 1), as at::uniform_real_distribution<float>. */
static float uniform_float(dfx_rng *rng)
{
    return (float)(next_word(rng) & 0xffffff) * 0x1p-24f;
}

/* 53 bits in [0, 1), as at::uniform_real_distribution<double>; the high word is drawn first. */
static double uniform_double(dfx_rng *rng)
{
    uint64_t high = next_word(rng);
    return (double)((high << 32 | next_word(rng)) & 0x1fffffffffffff) * 0x1p-53;
}

/* Box and Muller (1958) in double, as at::normal_distribution<double>: pairs, the second one kept.
 */
static double normal_double(dfx_rng *rng)
{
    if (rng->has_normal) {
        rng->has_normal = 0;
        return rng->normal;
    }
    double angle = 2 * M_PI * uniform_double(rng);
    double radius = sqrt(-2 * log1p(-uniform_double(rng)));
    rng->normal = radius * sin(angle);
    rng->has_normal = 1;
    return radius * cos(angle);
}

/* Box and Muller on 16 uniform floats in place: the first 8 give radii, the others angles. */
static void normal_block(float *x)
{
    for (int j = 0; j < BLOCK / 2; j++) {
        float radius = sqrtf(-2 * logf(1 - x[j]));
        float angle = 2 * (float)M_PI * x[j + BLOCK / 2];
        x[j] = radius * cosf(angle);
        x[j + BLOCK / 2] = radius * sinf(angle);
    }
}

void dfx_rng_normal(dfx_rng *rng, float *out, size_t n)
{
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++)
            out[i] = (float)normal_double(rng);
        return;
    }
    dfx_rng_uniform(rng, out, n);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK)
        normal_block(out + i);
    if (n % BLOCK) { /* torch draws the last 16 again instead of finishing a part of a block */
        dfx_rng_uniform(rng, out + n - BLOCK, BLOCK);
        normal_block(out + n - BLOCK);
    }
}

void dfx_rng_uniform(dfx_rng *rng, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniform_float(rng);
}
