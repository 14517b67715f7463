/* brownian.h - Brownian motion whose values do not depend on the order of asking, as torchsde. */
#ifndef DFX_SCHEDULER_BROWNIAN_H
#define DFX_SCHEDULER_BROWNIAN_H

#include "scheduler/scheduler.h"

/* W over [start, end], of a sample's size. */
typedef struct {
    double start, end;
    uint64_t seed;
} dfx__brownian;

/* out = (W(from) - W(to)) / sqrt(from - to) for from > to, as k-diffusion's noise sampler draws it
 * on the way from sigma `from` down to `to`; times outside [start, end] are its ends. All of `out`
 * and `work`, three more, are n long. */
void dfx__brownian_noise(const dfx__brownian *b, float from, float to, float *out,
                         float *const work[3], size_t n);

#endif
