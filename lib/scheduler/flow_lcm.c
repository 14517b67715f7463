/* flow_lcm.c - sampling of flow-matching models that were distilled to jump to x0 in each step. */
#include "scheduler/flow.h"

#include "core/status.h"

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.scale_factors.count > 0)
        return dfx__refuse(s, "scale_factors makes the sample larger from step to step, "
                              "which this library does not do: it must be null");
    return dfx__init_flow(s);
}

static const dfx_scheduler_name names[] = {
    { "flow_lcm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__flow_lcm = {
    .class_name = "FlowMatchLCMScheduler",
    .names = names,
    .when = "flow-matching models that were distilled to few steps; 1 to 8 steps",
    .keys = DFX__FLOW_KEYS "scale_factors=null,upscale_mode=bicubic,",
    .call_keys = DFX__TIMESTEPS_KEY DFX__SIGMAS_KEY "mu=null",
    .custom = DFX__TIMESTEPS | DFX__SIGMAS | DFX__BOTH_LISTS,
    .any_steps = 1,
    .init = init,
    .plan = dfx__plan_flow,
    .step = dfx__flow_jump,
    .noise_level = dfx__flow_noise_level,
};
