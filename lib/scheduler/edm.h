/* edm.h - what the schedulers of Karras et al. 2022's own preconditioning (EDM) share. */
#ifndef DFX_SCHEDULER_EDM_H
#define DFX_SCHEDULER_EDM_H

#include "scheduler/scheduler.h"

/* s->steps falling sigmas by sigma_schedule; init_noise_sigma follows from sigma_max.
 *   f32  karras in f32, as some classes have it */
void dfx__plan_edm(dfx_scheduler *s, dfx__schedule *out, int f32);

/* x0 of a sample at sigma, from the model's output. */
float dfx__edm_x0(const dfx__scheduler_config *c, float sigma, float x, float output);

/* For the rows. */
float dfx__edm_input_divisor(const dfx_scheduler *s, int i);
float dfx__edm_perfect_output(const dfx_scheduler *s, int i, float x0, float x);

#endif
