/* flow_euler.c - Euler's method on the ODE of flow matching (Lipman et al. 2023; Liu et al. 2023).
 */
#include "scheduler/flow.h"

#include "core/status.h"

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    if (s->config.stochastic_sampling)
        return dfx__flow_jump(s, i, model_output, x, batch, n, noise, user);
    dfx__flow_advance(s, i, model_output, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "flow_euler", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__flow_euler = {
    .class_name = "FlowMatchEulerDiscreteScheduler",
    .names = names,
    .when = "the usual one of flow-matching models (Stable Diffusion 3, Flux); 20 to 50 steps",
    .keys = DFX__FLOW_KEYS "stochastic_sampling=false,",
    .call_keys = DFX__TIMESTEPS_KEY DFX__SIGMAS_KEY "mu=null",
    .custom = DFX__TIMESTEPS | DFX__SIGMAS | DFX__BOTH_LISTS,
    .any_steps = 1,
    .init = dfx__init_flow,
    .plan = dfx__plan_flow,
    .step = step,
    .noise_level = dfx__flow_noise_level,
};
