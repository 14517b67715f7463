/* edm_euler.c - Euler's method for EDM's models (Karras et al. 2022, algorithm 2). */
#include "scheduler/edm.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

/* No sigmas of the caller's: diffusers' set_timesteps would take places on the ramp for them, in a
 * tensor, which no pipeline passes. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    dfx__plan_edm(s, out, 0);
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = 0.25f * logf((float)out->sigmas[i]);
    double last = out->sigmas[out->calls - 1];
    out->sigmas[out->sigma_count++] = s->config.final_sigmas_type == DFX__FINAL_ZERO ? 0 : last;
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    float sigma;
    DFX__TRY(dfx__reserve(s, 1));
    DFX__TRY(dfx__churn(s, s->sigmas[i], s->buffer[0], x, noise, user, &sigma));
    float dt = s->sigmas[i + 1] - sigma;
    for (size_t k = 0; k < batch * n; k++) {
        float x0 = dfx__edm_x0(&s->config, sigma, x[k], model_output[k]);
        x[k] += (x[k] - x0) / sigma * dt;
    }
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "edm_euler", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__edm_euler = {
    .class_name = "EDMEulerScheduler",
    .names = names,
    .when = "models trained as EDM, such as Playground 2.5",
    .keys = "num_train_timesteps=1000,prediction_type=epsilon,sigma_min=0.002,sigma_max=80,"
            "sigma_data=0.5,sigma_schedule=karras,rho=7,final_sigmas_type=zero,",
    .call_keys = "s_churn=0,s_tmin=0,s_tmax=Infinity,s_noise=1",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .any_steps = 1,
    .init = dfx__check_sigma_range,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__edm_input_divisor,
    .perfect_output = dfx__edm_perfect_output,
};
