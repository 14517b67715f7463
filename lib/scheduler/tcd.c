/* tcd.c - trajectory consistency distillation's strategic stochastic sampling (Zheng et al. 2024,
 * algorithm 4); eta is the paper's gamma. */
#include "scheduler/distilled.h"

#include "core/status.h"

#include <math.h>

/* Its call's original_inference_steps, which takes timesteps off the grid, is not a key here: a
 * list of the caller's own does the same. */
static dfx_status init(dfx_scheduler *s)
{
    if (s->config.eta > 1)
        return dfx__refuse(s, "eta must be a number from 0 to 1");
    s->config.clip_sample = s->config.thresholding = 0; /* without effect in diffusers */
    return dfx__make_alphas(s);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    size_t count = batch * n;
    int noisy = c->eta > 0 && i != s->steps - 1;
    DFX__TRY(dfx__reserve(s, 3));
    float *x0 = s->buffer[0], *eps = s->buffer[1], *drawn = s->buffer[2];
    if (noisy)
        DFX__TRY(dfx__draw(s, noise, user, drawn));

    /* down to a timestep below the next one, and by noise up to that */
    float to = i + 1 < s->calls ? s->timesteps[i + 1] : 0;
    float below = dfx__alpha_at(s, (int)floorf((float)(1 - c->eta) * to));
    dfx__predict(x0, eps, c->prediction_type, dfx__alpha_at(s, (int)s->timesteps[i]), x,
                 model_output, count);
    dfx__mix(x, sqrtf(below), x0, sqrtf(1 - below), eps, count);
    if (noisy) {
        float kept = dfx__alpha_at(s, (int)to) / below;
        dfx__mix(x, sqrtf(kept), x, sqrtf(1 - kept), drawn, count);
    }
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "tcd", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__tcd = {
    .class_name = "TCDScheduler",
    .names = names,
    .when = "TCD and Hyper-SD LoRAs; 2 to 8 steps or more, the less eta the less noise",
    .keys = DFX__DISTILLED_KEYS,
    .call_keys = DFX__TIMESTEPS_KEY "strength=1,eta=0.3",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .custom = DFX__TIMESTEPS,
    .init = init,
    .plan = dfx__plan_distilled,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
