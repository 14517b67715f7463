/* lcm.c - multistep sampling of latent consistency models (Luo et al. 2023, algorithm 3). */
#include "scheduler/distilled.h"

#include "core/status.h"

#include <math.h>

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    size_t count = batch * n;
    int last = i == s->steps - 1, t = (int)s->timesteps[i];
    DFX__TRY(dfx__reserve(s, 2));
    float *x0 = s->buffer[0], *drawn = s->buffer[1];
    if (!last)
        DFX__TRY(dfx__draw(s, noise, user, drawn));

    float a = dfx__alpha_at(s, t);
    float before = i + 1 < s->calls ? dfx__alpha_at(s, (int)s->timesteps[i + 1]) : a;
    dfx__predict_x0(x0, c->prediction_type, sqrtf(a), sqrtf(1 - a), x, model_output, count);
    dfx__bound(c, x0, batch, n);

    /* the boundary condition: at timestep 0 the sample is its own x0 */
    const float data_variance = 0.25f;
    float scaled = (float)t * (float)c->timestep_scaling;
    float norm = scaled * scaled + data_variance;
    dfx__mix(x, scaled / sqrtf(norm), x0, data_variance / norm, x, count);
    if (!last)
        dfx__mix(x, sqrtf(before), x, sqrtf(1 - before), drawn, count);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "lcm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__lcm = {
    .class_name = "LCMScheduler",
    .names = names,
    .when = "latent consistency models and LCM LoRAs; 2 to 8 steps, guidance 1 to 2",
    .keys = DFX__DISTILLED_KEYS,
    .call_keys = DFX__TIMESTEPS_KEY "strength=1",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .custom = DFX__TIMESTEPS,
    .init = dfx__make_alphas,
    .plan = dfx__plan_distilled,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
