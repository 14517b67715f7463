/* sigma_solver.h - what the solvers over samples x = x0 + sigma * noise share. */
#ifndef DFX_SCHEDULER_SIGMA_SOLVER_H
#define DFX_SCHEDULER_SIGMA_SOLVER_H

#include "scheduler/scheduler.h"

/* dfx__make_sigmas for classes whose karras sigmas do not look at sigma_min and sigma_max. */
dfx_status dfx__make_sigmas_karras(dfx_scheduler *s);
/* The caller's timesteps, else spaced ones, in f32, and the sigmas there. */
void dfx__select_sigmas(const dfx_scheduler *s, dfx__schedule *out);
/* Replaces both by karras, exponential or beta sigmas between the first and the last one, where a
 * key says so. */
void dfx__apply_ramp(const dfx_scheduler *s, dfx__schedule *out);
/* Ends the sigmas with `last`; init_noise_sigma follows from them. */
void dfx__finish_sigmas(dfx_scheduler *s, dfx__schedule *out, double last);
/* DFX_ERROR_ARGUMENT when the caller gave timesteps and a key asks for a ramp. */
dfx_status dfx__check_custom_ramps(const dfx_scheduler *s);
/* All of the above, down to sigma 0. */
dfx_status dfx__plan_sigmas(dfx_scheduler *s, dfx__schedule *out);

/* Steps of two calls, but for the last one: call 2 k is at the start of step k, the next one at its
 * end or at a sigma s->extra[k] between, of which the last one is 0. */

/* Makes them of plain steps: `between`, which may be timesteps + 1, has the second calls'
 * timesteps, and each sigma but the first and the last comes twice. */
void dfx__halve_steps(dfx__schedule *out, const double *between);
/* DFX_ERROR_ARGUMENT when a run would start with the second call of a step. */
dfx_status dfx__check_half_step(const dfx_scheduler *s, int i);
/* For the rows of those with sigmas between. */
float dfx__half_step_divisor(const dfx_scheduler *s, int i);
float dfx__half_step_output(const dfx_scheduler *s, int i, float x0, float x);

/* kdpm2.c: steps whose second call is half way in log sigma, to where the first one goes down. */
dfx_status dfx__plan_kdpm2(dfx_scheduler *s, dfx__schedule *out, int ancestral);
/* Call i; the second one of a step goes to sigma `end`. buffer[1] is free. */
dfx_status dfx__step_kdpm2(dfx_scheduler *s, int i, float end, const float *model_output, float *x);

/* x0 of a sample at sigma, from the model's output. */
float dfx__sigma_x0(int prediction, float sigma, float x, float output);
/* x = from + the derivative at x, which is at sigma, times dt; `from` may be x. */
void dfx__sigma_step(const dfx_scheduler *s, float sigma, float dt, const float *from, float *x,
                     const float *output);
/* Splits a step to sigma `to` into one down and noise up again (Song et al. 2021). */
void dfx__split_ancestral(float from, float to, float *down, float *up);
/* x += scale * drawn noise; `drawn` is room for it. */
dfx_status dfx__add_drawn(const dfx_scheduler *s, float scale, float *drawn, float *x,
                          dfx_noise_function *noise, void *user);

/* For the rows. */
void dfx__sigma_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma);
float dfx__sigma_input_divisor(const dfx_scheduler *s, int i);

#endif
