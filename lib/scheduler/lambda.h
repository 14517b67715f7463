/* lambda.h - what the solvers share that integrate over lambda = log(alpha / sigma), half the
 * logarithm of the signal-to-noise ratio: DPM-Solver, DEIS, UniPC and SA-Solver. */
#ifndef DFX_SCHEDULER_LAMBDA_H
#define DFX_SCHEDULER_LAMBDA_H

#include "scheduler/scheduler.h"

#define DFX__FLOW_SIGMA_KEYS "use_flow_sigmas=false,flow_shift=1,"
#define DFX__DYNAMIC_KEYS "use_dynamic_shifting=false,time_shift_type=exponential,"
#define DFX__LAMBDA_PREDICTIONS                                                                    \
    (1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION | 1 << DFX__FLOW_PREDICTION)

/* lambda.c */

/* What a sample is at a sigma: alpha * x0 + sigma * noise. */
typedef struct {
    float alpha, sigma, lambda;
} dfx__level;
dfx__level dfx__level_at(const dfx_scheduler *s, int i);
/* The level that outputs of call i are converted at. */
dfx__level dfx__output_level(const dfx_scheduler *s, int i);
/* For rows. */
void dfx__lambda_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma);

/* The tables of a solver that integrates x0, or else the noise; `instead` are the keys of x0. */
dfx_status dfx__init_lambda(dfx_scheduler *s, int integrates_x0, const char *instead);
/* DFX_ERROR_ARGUMENT when the call gives a mu that the keys make no use of. */
dfx_status dfx__check_mu(const dfx_scheduler *s);

/* How many timesteps are left when those of a lambda below lambda_min_clipped go. */
dfx_status dfx__count_unclipped(const dfx_scheduler *s, int *count);
/* Calls of whole timesteps and their sigmas: the caller's timesteps, else n of n + 1 spaced ones;
 * with a ramp its sigmas and their timesteps, which are rounded (karras and lu, on request) or cut
 * off. */
dfx_status dfx__plan_lambda(const dfx_scheduler *s, dfx__schedule *out, int round);
/* The timesteps of the ramp's sigmas that are in out->sigmas. */
void dfx__ramp_timesteps(const dfx_scheduler *s, dfx__schedule *out, int round);
/* Where such a ramp ends that diffusers prolongs by its last sigma; without one at timestep 0. */
double dfx__prolonged_sigma(const dfx_scheduler *s, const dfx__schedule *out);
/* The last sigma; fails when another one leaves no noise, or in flow matching no signal. */
dfx_status dfx__end_lambda(const dfx_scheduler *s, dfx__schedule *out, double last);

enum { DFX__FEW_STEPS = 15 }; /* lower_order_final acts below */
/* The order of step i of a solver over past outputs: what they allow, and lower at the end. */
int dfx__multistep_order(const dfx_scheduler *s, int i);
/* A model's output as x0, or else as noise, thresholded. */
void dfx__convert_output(const dfx_scheduler *s, int i, int to_x0, const float *output,
                         const float *x, float *out, size_t batch, size_t n);

/* dpmsolver.c */

int dfx__dpm_is_sde(const dfx__scheduler_config *c);
/* Whether the algorithm integrates x0; else it integrates the noise. */
int dfx__dpm_integrates_x0(const dfx__scheduler_config *c);
/* Takes algorithm_type deis for dpmsolver++; where the class has no algorithm for the last step to
 * sigma 0 it is refused. */
dfx_status dfx__dpm_check(dfx_scheduler *s);
/* The same and the tables. */
dfx_status dfx__dpm_init(dfx_scheduler *s);
/* DFX_ERROR_ARGUMENT when the last sigma stands twice and the order of a step between the two gives
 * values that are not numbers in diffusers. */
dfx_status dfx__dpm_check_end(const dfx_scheduler *s, const dfx__schedule *out);

/* What a step multiplies: the sample, the output and its first and second difference, noise. */
typedef struct {
    float x, d[3], noise;
} dfx__dpm_weights;
/* The weights of a step of that order from sigma `from` to sigma `to`. */
dfx__dpm_weights dfx__dpm_weigh(const dfx_scheduler *s, int from, int to, int order);
void dfx__dpm_first(const dfx__dpm_weights *w, const float *m, float *x, size_t count);
/* From output m, with the difference of two outputs that are r of the step apart. */
void dfx__dpm_second(const dfx__dpm_weights *w, float r, const float *m, const float *later,
                     const float *earlier, float *x, size_t count);

/* Before a step over past outputs: buffer[0] is free for the new one, the noise is drawn. */
dfx_status dfx__dpm_begin(dfx_scheduler *s, dfx_noise_function *noise, void *user);
/* The step itself, from the converted outputs that buffer[0] and the following ones hold. */
void dfx__dpm_step(const dfx_scheduler *s, int i, float *x, size_t count);
/* All of that, for rows. */
dfx_status dfx__dpm_multistep(dfx_scheduler *s, int i, const float *model_output, float *x,
                              size_t batch, size_t n, dfx_noise_function *noise, void *user);

#endif
