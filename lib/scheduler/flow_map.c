/* flow_map.c - Euler's method for models of flow maps, which were distilled to go from any sigma to
 * any other in one step (Gu et al. 2026, AnyFlow). */
#include "scheduler/flow.h"

#include "core/status.h"

/* Shifted once, in double, where FlowMatchEulerDiscreteScheduler shifts its end points before. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    int n = s->steps, train = s->config.num_train_timesteps;
    for (int i = 0; i < n; i++) {
        double sigma = 1 - (double)i / n;
        if (s->custom_sigmas)
            sigma = s->custom_sigmas[i];
        else if (s->custom_timesteps)
            sigma = (double)s->custom_timesteps[i] / train;
        out->sigmas[i] = dfx__shift_sigma(s->config.shift, sigma, 0);
        out->timesteps[i] = out->sigmas[i] * train;
    }
    out->calls = n;
    out->sigma_count = n + 1;
    out->sigmas[n] = 0;
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    dfx__flow_advance(s, i, model_output, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "flow_map", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__flow_map = {
    .class_name = "FlowMapEulerDiscreteScheduler",
    .names = names,
    .when = "flow-map models (AnyFlow), which take any number of steps from 1 on",
    .keys = "num_train_timesteps=1000,shift=1,",
    .call_keys = DFX__TIMESTEPS_KEY DFX__SIGMAS_KEY,
    .custom = DFX__TIMESTEPS | DFX__SIGMAS | DFX__BOTH_LISTS,
    .any_steps = 1,
    .init = dfx__init_flow,
    .plan = plan,
    .step = step,
    .noise_level = dfx__flow_noise_level,
};
