/* cosine_dpmsolver_multistep.c - stochastic DPM-Solver++ over past outputs for models of a cosine
 * schedule, along one Brownian motion: Stable Audio's (Evans et al. 2024). */
#include "scheduler/brownian.h"
#include "scheduler/edm.h"
#include "scheduler/lambda.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    c->algorithm_type = DFX__SDE_DPMSOLVER_PP;
    if (c->solver_order > 2)
        return dfx__refuse(s, "solver_order must be 1 or 2");
    if (c->final_sigmas_type != DFX__FINAL_ZERO) /* NaN, or no end of halving, in diffusers */
        return dfx__refuse(s, "final_sigmas_type 'sigma_min' leaves no noise for the last step; "
                              "choose 'zero'");
    return dfx__check_sigma_range(s);
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    dfx__plan_edm(s, out, 1);
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = atanf((float)out->sigmas[i]) / (float)M_PI * 2;
    out->sigmas[out->sigma_count++] = 0;
    return DFX_OK;
}

/* The motion of a run, from its first step on. */
static dfx_status start_motion(dfx_scheduler *s)
{
    dfx__brownian *b = s->state;
    if (s->taken > 0)
        return DFX_OK;
    if (!s->rng)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s needs the run's generator: dfx_scheduler_set_generator",
                         s->type->class_name);
    *b = (dfx__brownian){ (float)s->config.sigma_min, (float)s->config.sigma_max, s->rng->seed };
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    int past = s->config.solver_order;
    DFX__TRY(start_motion(s));
    DFX__TRY(dfx__reserve(s, past + 4));
    dfx__rotate(s, past);
    for (size_t k = 0; k < batch * n; k++)
        s->buffer[0][k] = dfx__edm_x0(&s->config, s->sigmas[i], x[k], model_output[k]);
    dfx__brownian_noise(s->state, s->sigmas[i], s->sigmas[i + 1], s->buffer[past],
                        s->buffer + past + 1, batch * n);
    dfx__dpm_step(s, i, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "cosine_dpmpp", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__cosine_dpmsolver_multistep = {
    .class_name = "CosineDPMSolverMultistepScheduler",
    .names = names,
    .when = "Stable Audio's own",
    .keys = "sigma_min=0.3,sigma_max=500,sigma_data=1,sigma_schedule=exponential,"
            "num_train_timesteps=1000,solver_order=2,prediction_type=v_prediction,rho=7,"
            "solver_type=midpoint,lower_order_final=true,euler_at_final=false,"
            "final_sigmas_type=zero,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .any_steps = 1,
    .state_size = sizeof(dfx__brownian),
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__edm_input_divisor,
    .perfect_output = dfx__edm_perfect_output,
};
