/* cogvideox_dpm.c - DPM-Solver++ 2M SDE (Lu et al. 2022) on CogVideoX's alphas. */
#include "scheduler/cogvideox.h"

#include "core/status.h"

#include <math.h>

enum { X0, LAST_X0, DRAWN, BUFFERS };

/* The logarithm of alpha / sigma. */
static double lambda(const dfx_scheduler *s, double a)
{
    double ratio = dfx__cogvideox_round(s, a / dfx__cogvideox_round(s, 1 - a));
    return dfx__cogvideox_round(s, log(dfx__cogvideox_round(s, sqrt(ratio))));
}

/* What x0 and the last step's, which it replaces, say of the middle of a step of length h. */
static void extrapolate(const dfx_scheduler *s, double h, double a, double a_back, size_t count)
{
    double ratio = (lambda(s, a) - lambda(s, a_back)) / h, of_last = 1 / (2 * ratio);
    dfx__mix(s->buffer[LAST_X0], (float)(1 + of_last), s->buffer[X0], (float)-of_last,
             s->buffer[LAST_X0], count);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    double a, a_back, before;
    size_t count = batch * n;
    dfx__cogvideox_alphas(s, i, &a, &before);
    int inside = (int)s->timesteps[i] >= s->config.num_train_timesteps / s->steps;
    int second = s->taken > 0 && inside;
    DFX__TRY(dfx__reserve(s, BUFFERS));
    for (int k = 0; k <= second; k++) /* the second order draws once more, and takes that */
        DFX__TRY(dfx__draw(s, noise, user, s->buffer[DRAWN]));
    dfx__cogvideox_predict(s, a, x, model_output, s->buffer[X0], count);

    double h = lambda(s, before) - lambda(s, a);
    double of_x = sqrt((1 - before) / (1 - a)) * exp(-h), of_x0 = -expm1(-2 * h) * sqrt(before);
    double of_noise = sqrt(1 - before) * sqrt(1 - exp(-2 * h));
    if (second) {
        dfx__cogvideox_alphas(s, i - 1, &a_back, &before);
        extrapolate(s, h, a, a_back, count);
    }
    dfx__mix(x, (float)of_x, x, (float)of_x0, s->buffer[second ? LAST_X0 : X0], count);
    dfx__mix(x, 1, x, (float)of_noise, s->buffer[DRAWN], count);
    dfx__rotate(s, LAST_X0 + 1);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "cogvideox_dpm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__cogvideox_dpm = {
    .class_name = "CogVideoXDPMScheduler",
    .names = names,
    .when = "CogVideoX 5B and 1.5; 50 steps",
    .keys = DFX__COGVIDEOX_KEYS,
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .init = dfx__cogvideox_init,
    .plan = dfx__plan_timesteps,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
    .close = dfx__cogvideox_close,
};
