/* rng.c - torch's CPU generator: mt19937, its uniform and whole numbers, its two ways to draw
 * normal ones. */
#include "dfxcl/rng.h"

#include "core/dtype.h"
#include "core/status.h"

#include <math.h>
#include <string.h>

enum {
    WORDS = 624,
    SHIFT = 397,
    BLOCK = 16,
    TWO_WORDS_FROM = 1 << 28 /* so that the remainder favours no number by more than a sixteenth */
};

void dfx_rng_seed(dfx_rng *rng, uint64_t seed)
{
    memset(rng, 0, sizeof *rng);
    rng->seed = seed;
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

static uint64_t next_two_words(dfx_rng *rng)
{
    uint64_t high = next_word(rng);
    return high << 32 | next_word(rng);
}

/* 53 bits in [0, 1), as at::uniform_real_distribution<double>. */
static double uniform_double(dfx_rng *rng)
{
    return (double)(next_two_words(rng) & 0x1fffffffffffff) * 0x1p-53;
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

/* Box and Muller on 16 uniform floats: the first 8 give radii, the others angles. */
static void draw_block(dfx_rng *rng, float *x)
{
    dfx_rng_uniform(rng, x, BLOCK);
    for (int j = 0; j < BLOCK / 2; j++) {
        float radius = sqrtf(-2 * logf(1 - x[j]));
        float angle = 2 * (float)M_PI * x[j + BLOCK / 2];
        x[j] = radius * cosf(angle);
        x[j + BLOCK / 2] = radius * sinf(angle);
    }
}

static void draw_normal(dfx_rng *rng, dfx_dtype dtype, void *out, size_t n)
{
    float block[BLOCK];
    char *to = out;
    size_t size = dfx_dtype_size(dtype);
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++)
            block[i] = (float)normal_double(rng);
        dfx__from_f32(out, dtype, block, n);
        return;
    }
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) {
        draw_block(rng, block);
        dfx__from_f32(to + i * size, dtype, block, BLOCK);
    }
    if (n % BLOCK == 0)
        return;
    /* torch draws the last 16 again instead of finishing a part of a block: in f32 after it has
     * drawn the part, in the half types in its place */
    for (size_t i = 0; i < n % BLOCK && dtype == DFX_F32; i++)
        (void)next_word(rng);
    draw_block(rng, block);
    dfx__from_f32(to + (n - BLOCK) * size, dtype, block, BLOCK);
}

void dfx_rng_normal(dfx_rng *rng, float *out, size_t n)
{
    draw_normal(rng, DFX_F32, out, n);
}

static dfx_status check_float(dfx_dtype dtype)
{
    if (dfx__dtype_is_float(dtype))
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "random numbers of type %s: must be f32, f16 or bf16",
                     dfx_dtype_name(dtype));
}

dfx_status dfx_rng_normal_as(dfx_rng *rng, dfx_dtype dtype, void *out, size_t n)
{
    DFX__TRY(check_float(dtype));
    draw_normal(rng, dtype, out, n);
    return DFX_OK;
}

void dfx_rng_uniform(dfx_rng *rng, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniform_float(rng);
}

dfx_status dfx_rng_uniform_as(dfx_rng *rng, dfx_dtype dtype, void *out, size_t n)
{
    DFX__TRY(check_float(dtype));
    size_t size = dfx_dtype_size(dtype);
    for (size_t i = 0; i < n; i++) {
        float value = uniform_float(rng), rounded;
        dfx__from_f32((char *)out + i * size, dtype, &value, 1);
        dfx__to_f32(&rounded, (char *)out + i * size, dtype, 1);
        if (rounded == 1) /* is not in [0, 1): torch gives 0 */
            memset((char *)out + i * size, 0, size);
    }
    return DFX_OK;
}

dfx_status dfx_rng_integers(dfx_rng *rng, int64_t low, int64_t high, int64_t *out, size_t n)
{
    if (low >= high)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "whole numbers from %lld to below %lld: there are none", (long long)low,
                         (long long)high);
    uint64_t range = (uint64_t)high - (uint64_t)low;
    for (size_t i = 0; i < n; i++) {
        uint64_t drawn = range < TWO_WORDS_FROM ? next_word(rng) : next_two_words(rng);
        out[i] = (int64_t)(drawn % range + (uint64_t)low);
    }
    return DFX_OK;
}
