/* dfxcl/rng.h - torch's CPU random generator: a seed gives the noise that diffusers draws. */
#ifndef DFXCL_RNG_H
#define DFXCL_RNG_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The state of torch.Generator("cpu"): a Mersenne twister (Matsumoto & Nishimura 1998) and the
 * second half of a pair of normal draws. Plain data: copy it to keep a state. */
typedef struct {
    uint32_t word[624];
    int next; /* the next word to use */
    int has_normal;
    double normal; /* kept for the next draw of fewer than 16 */
    uint64_t seed; /* initial_seed() */
} dfx_rng;

/* Generator("cpu").manual_seed(seed); only the low 32 bits reach the generator, as in torch. A
 * negative seed of torch's is 2^64 more. */
DFX_API void dfx_rng_seed(dfx_rng *rng, uint64_t seed);

/* torch.randn(n, generator=rng): the same draws in the same order, values within 2e-6. */
DFX_API void dfx_rng_normal(dfx_rng *rng, float *out, size_t n);

/* torch.rand(n, generator=rng): exact. */
DFX_API void dfx_rng_uniform(dfx_rng *rng, float *out, size_t n);

/* torch.randn and torch.rand with dtype=float32, float16 or bfloat16; out has room for n of them.
 * Half types are f32 draws rounded, but for n from 17 on that 16 does not divide torch takes other
 * draws for the last 16 normals. Error: DFX_ERROR_ARGUMENT (another dtype). */
DFX_API dfx_status dfx_rng_normal_as(dfx_rng *rng, dfx_dtype dtype, void *out, size_t n);
DFX_API dfx_status dfx_rng_uniform_as(dfx_rng *rng, dfx_dtype dtype, void *out, size_t n);

/* torch.randint(low, high, (n,), generator=rng): whole numbers from low to below high, exact; the
 * same numbers in every integer type of torch's. Error: DFX_ERROR_ARGUMENT (low >= high). */
DFX_API dfx_status dfx_rng_integers(dfx_rng *rng, int64_t low, int64_t high, int64_t *out,
                                    size_t n);

#ifdef __cplusplus
}
#endif
#endif
