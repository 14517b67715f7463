/* cogvideox.h - cumulative alphas of CogVideoX's schedulers (Yang et al. 2024). */
#ifndef DFX_SCHEDULER_COGVIDEOX_H
#define DFX_SCHEDULER_COGVIDEOX_H

#include "scheduler/scheduler.h"

#define DFX__COGVIDEOX_KEYS                                                                        \
    DFX__SD_BETA_KEYS "clip_sample=true,clip_sample_range=1,sample_max_value=1,"                   \
                      "set_alpha_to_one=true,timestep_spacing=leading,"                            \
                      "rescale_betas_zero_snr=false,snr_shift_scale=3,"

/* The table, in s->own and rounded in alphas_cumprod. As in diffusers it is in double for
 * scaled_linear, where 1 - alpha has more digits, else in float. */
dfx_status dfx__cogvideox_init(dfx_scheduler *s);
void dfx__cogvideox_close(dfx_scheduler *s);

/* v in the table's precision. */
double dfx__cogvideox_round(const dfx_scheduler *s, double v);
/* The cumulative alphas of call i's timestep and of its step's end. */
void dfx__cogvideox_alphas(const dfx_scheduler *s, int i, double *a, double *before);
/* x0 of call i's sample. */
void dfx__cogvideox_predict(const dfx_scheduler *s, double a, const float *x,
                            const float *model_output, float *x0, size_t count);

#endif
