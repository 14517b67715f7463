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
} dfx_rng;

/* Generator("cpu").manual_seed(seed); only the low 32 bits reach the generator, as in torch. */
DFX_API void dfx_rng_seed(dfx_rng *rng, uint64_t seed);

/* torch.randn(n, generator=rng): the same draws in the same order, values within 2e-6. */
DFX_API void dfx_rng_normal(dfx_rng *rng, float *out, size_t n);

/* torch.rand(n, generator=rng): exact. */
DFX_API void dfx_rng_uniform(dfx_rng *rng, float *out, size_t n);

#ifdef __cplusplus
}
#endif
#endif
