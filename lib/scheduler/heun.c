/* heun.c - Heun's method on the probability-flow ODE: two calls of the model in each step but the
 * last one (Karras et al. 2022, algorithm 1). */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <string.h>

/* The second call of a step is at its end. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__plan_sigmas(s, out));
    dfx__halve_steps(out, out->timesteps + 1);
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    const dfx__scheduler_config *c = &s->config;
    size_t count = batch * n;
    DFX__TRY(dfx__check_half_step(s, i));
    DFX__TRY(dfx__reserve(s, 3));
    float *slope = s->buffer[0], *start = s->buffer[1], *x0 = s->buffer[2];
    float sigma = s->sigmas[i];
    for (size_t k = 0; k < count; k++)
        x0[k] = dfx__sigma_x0(c->prediction_type, sigma, x[k], model_output[k]);
    if (c->clip_sample)
        dfx__clip(c, x0, count);
    if (i % 2 == 0) {
        float dt = s->sigmas[i + 1] - sigma;
        memcpy(start, x, count * sizeof *x);
        for (size_t k = 0; k < count; k++) {
            slope[k] = (x[k] - x0[k]) / sigma;
            x[k] += slope[k] * dt;
        }
        return DFX_OK;
    }
    float dt = sigma - s->sigmas[i - 1];
    for (size_t k = 0; k < count; k++)
        x[k] = start[k] + (slope[k] + (x[k] - x0[k]) / sigma) / 2 * dt;
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "heun", "" },
    { "heun_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__heun = {
    .class_name = "HeunDiscreteScheduler",
    .names = names,
    .when = "precise at 2 n - 1 calls of the model; Shap-E",
    .keys = DFX__BETA_KEYS_FROM("0.00085", "0.012") DFX__SIGMA_KEYS
    "clip_sample=false,clip_sample_range=1,timestep_spacing=linspace,",
    .call_keys = DFX__TIMESTEPS_KEY,
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .custom = DFX__TIMESTEPS,
    .order = 2,
    .init = dfx__make_sigmas,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__sigma_input_divisor,
};
