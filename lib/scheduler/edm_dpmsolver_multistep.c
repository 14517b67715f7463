/* edm_dpmsolver_multistep.c - DPM-Solver++ over past model outputs in Karras et al. 2022's
 * parameterisation, as Playground 2.5 has it. */
#include "scheduler/edm.h"
#include "scheduler/lambda.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__dpm_check(s));
    if (c->algorithm_type == DFX__SDE_DPMSOLVER_PP && c->solver_order == 3)
        return dfx__refuse(s, "algorithm_type sde-dpmsolver++ has no solver_order 3");
    return dfx__check_sigma_range(s);
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__plan_edm(s, out, 1);
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = 0.25f * logf((float)out->sigmas[i]);
    out->sigmas[out->sigma_count++] = c->final_sigmas_type == DFX__FINAL_ZERO ? 0 : c->sigma_min;
    return dfx__dpm_check_end(s, out);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__dpm_begin(s, noise, user));
    for (size_t k = 0; k < batch * n; k++)
        s->buffer[0][k] = dfx__edm_x0(c, s->sigmas[i], x[k], model_output[k]);
    if (c->thresholding)
        dfx__threshold(c, s->buffer[0], batch, n);
    dfx__dpm_step(s, i, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "edm_dpmpp_2m", "algorithm_type=dpmsolver++,solver_order=2" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__edm_dpmsolver_multistep = {
    .class_name = "EDMDPMSolverMultistepScheduler",
    .names = names,
    .when = "Playground 2.5's own: models trained as EDM, in 20 to 50 steps",
    .keys = DFX__THRESHOLD_KEYS
    "sigma_min=0.002,sigma_max=80,sigma_data=0.5,sigma_schedule=karras,num_train_timesteps=1000,"
    "prediction_type=epsilon,rho=7,solver_order=2,algorithm_type=dpmsolver++,solver_type=midpoint,"
    "lower_order_final=true,euler_at_final=false,final_sigmas_type=zero,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .algorithms = 1 << DFX__DPMSOLVER_PP | 1 << DFX__SDE_DPMSOLVER_PP | 1 << DFX__DEIS,
    .any_steps = 1,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__lambda_noise_level,
    .input_divisor = dfx__edm_input_divisor,
    .perfect_output = dfx__edm_perfect_output,
};
