/* flow.h - what the schedulers of flow matching share: x = (1 - sigma) * x0 + sigma * noise, and
 * the model's output is noise - x0. */
#ifndef DFX_SCHEDULER_FLOW_H
#define DFX_SCHEDULER_FLOW_H

#include "scheduler/scheduler.h"

/* base_shift, max_shift and the sequence lengths are the pipeline's, which computes mu from them.
 */
#define DFX__FLOW_KEYS                                                                             \
    "num_train_timesteps=1000,shift=1,use_dynamic_shifting=false,base_shift=0.5,max_shift=1.15,"   \
    "base_image_seq_len=256,max_image_seq_len=4096,invert_sigmas=false,shift_terminal=null,"       \
    "time_shift_type=exponential," DFX__SIGMA_KEYS

/* sigma moved towards noise (Esser et al. 2024, formula 23). single: as numpy and torch compute it
 * of a list in f32, each operation rounded. */
double dfx__shift_sigma(double shift, double sigma, int single);
/* The same with a shift of exp(mu), or of mu, in the order of operations that diffusers has. */
double dfx__shift_by_mu(const dfx__scheduler_config *c, double sigma, int single);
/* Stretches sigmas so that the last one is shift_terminal (LTX-Video), where that is set. */
dfx_status dfx__stretch_sigmas(const dfx__scheduler_config *c, double *sigmas, int n, int single);

dfx_status dfx__init_flow(dfx_scheduler *s);
/* The shifted sigmas of s->steps steps, or of the caller's lists, and 0 behind them. */
dfx_status dfx__plan_flow(dfx_scheduler *s, dfx__schedule *out);
void dfx__flow_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma);

/* Euler's step: x along the model's output to the next sigma. */
void dfx__flow_advance(const dfx_scheduler *s, int i, const float *model_output, float *x,
                       size_t count);
/* The step of a model that jumps to x0: from there back to the next level with new noise (Song et
 * al. 2023, algorithm 1). */
dfx_status dfx__flow_jump(dfx_scheduler *s, int i, const float *model_output, float *x,
                          size_t batch, size_t n, dfx_noise_function *noise, void *user);

#endif
