/* cogvideox_ddim.c - DDIM (Song et al. 2021) on CogVideoX's alphas, without noise or clipping. */
#include "scheduler/cogvideox.h"

#include "core/status.h"

#include <math.h>

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    double a, before;
    DFX__TRY(dfx__reserve(s, 1));
    dfx__cogvideox_alphas(s, i, &a, &before);
    dfx__cogvideox_predict(s, a, x, model_output, s->buffer[0], batch * n);
    double of_x = dfx__cogvideox_round(s, sqrt((1 - before) / (1 - a)));
    double of_x0 = sqrt(before) - sqrt(a) * of_x;
    dfx__mix(x, (float)of_x, x, (float)of_x0, s->buffer[0], batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "cogvideox_ddim", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__cogvideox_ddim = {
    .class_name = "CogVideoXDDIMScheduler",
    .names = names,
    .when = "CogVideoX 2B; 50 steps",
    .keys = DFX__COGVIDEOX_KEYS,
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .init = dfx__cogvideox_init,
    .plan = dfx__plan_timesteps,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
    .close = dfx__cogvideox_close,
};
