/* distilled.h - what schedulers of latent consistency models share. */
#ifndef DFX_SCHEDULER_DISTILLED_H
#define DFX_SCHEDULER_DISTILLED_H

#include "scheduler/scheduler.h"

/* Plans s->steps of the original_inference_steps timesteps, or of the lower `strength` of them; or
 * the caller's. */
dfx_status dfx__plan_distilled(dfx_scheduler *s, dfx__schedule *out);

/* Stable Diffusion's betas, and the other keys of these schedulers' constructors; some of them are
 * without effect in diffusers too. */
#define DFX__DISTILLED_KEYS                                                                        \
    DFX__SD_BETA_KEYS DFX__THRESHOLD_KEYS                                                          \
        "original_inference_steps=50,clip_sample=false,clip_sample_range=1,set_alpha_to_one=true," \
        "timestep_spacing=leading,timestep_scaling=10,rescale_betas_zero_snr=false,"

#endif
