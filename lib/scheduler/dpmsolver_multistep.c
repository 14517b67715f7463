/* dpmsolver_multistep.c - DPM-Solver and DPM-Solver++ of order 1 to 3 over past model outputs. */
#include "scheduler/lambda.h"

#include "core/status.h"

static dfx_status init(dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    if (c->algorithm_type == DFX__SDE_DPMSOLVER && c->solver_order == 3)
        return dfx__refuse(s, "algorithm_type sde-dpmsolver has no solver_order 3");
    return dfx__dpm_init(s);
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    int round = s->config.beta_schedule != DFX__SQUAREDCOS_CAP_V2;
    DFX__TRY(dfx__plan_lambda(s, out, round));
    DFX__TRY(dfx__end_lambda(s, out, dfx__last_sigma(s)));
    return dfx__dpm_check_end(s, out);
}

static const dfx_scheduler_name names[] = {
    { "dpmpp_2m", "algorithm_type=dpmsolver++,solver_order=2" },
    { "dpmpp_2m_karras", "algorithm_type=dpmsolver++,solver_order=2,use_karras_sigmas=true" },
    { "dpmpp_2m_sde", "algorithm_type=sde-dpmsolver++,solver_order=2" },
    { "dpmpp_2m_sde_karras",
      "algorithm_type=sde-dpmsolver++,solver_order=2,use_karras_sigmas=true" },
    { "dpmpp_3m", "algorithm_type=dpmsolver++,solver_order=3" },
    { "dpmpp_3m_sde", "algorithm_type=sde-dpmsolver++,solver_order=3" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__dpmsolver_multistep = {
    .class_name = "DPMSolverMultistepScheduler",
    .names = names,
    .when = "the best pictures in 15 to 25 steps for most models; the sde ones add noise",
    .keys =
        DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS DFX__DYNAMIC_KEYS
    "solver_order=2,algorithm_type=dpmsolver++,solver_type=midpoint,lower_order_final=true,"
    "euler_at_final=false,use_lu_lambdas=false,final_sigmas_type=zero,"
    "lambda_min_clipped=-Infinity,timestep_spacing=linspace,rescale_betas_zero_snr=false,"
    "variance_type=null,",
    .call_keys = DFX__TIMESTEPS_KEY "mu=null",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .algorithms = 1 << DFX__DPMSOLVER | 1 << DFX__DPMSOLVER_PP | 1 << DFX__SDE_DPMSOLVER |
                  1 << DFX__SDE_DPMSOLVER_PP | 1 << DFX__DEIS,
    .custom = DFX__TIMESTEPS,
    .variance = DFX__DROPS_VARIANCE,
    .init = init,
    .plan = plan,
    .step = dfx__dpm_multistep,
    .noise_level = dfx__lambda_noise_level,
};
