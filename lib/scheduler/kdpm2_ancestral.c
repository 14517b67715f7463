/* kdpm2_ancestral.c - DPM-Solver-2 (kdpm2.c) in steps that go too far down and add noise again. */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    return dfx__plan_kdpm2(s, out, 1);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)batch;
    (void)n;
    float down = 0, up;
    if (i % 2)
        dfx__split_ancestral(s->sigmas[i - 1], s->sigmas[i], &down, &up);
    DFX__TRY(dfx__step_kdpm2(s, i, down, model_output, x));
    return i % 2 ? dfx__add_drawn(s, up, s->buffer[1], x, noise, user) : DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "kdpm2_a", "" },
    { "kdpm2_a_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__kdpm2_ancestral = {
    .class_name = "KDPM2AncestralDiscreteScheduler",
    .names = names,
    .when = "DPM2 a: as kdpm2 with new noise in each step; 2 n - 1 calls of the model",
    .keys = DFX__BETA_KEYS_FROM("0.00085", "0.012") DFX__SIGMA_KEYS "timestep_spacing=linspace,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .order = 2,
    .init = dfx__make_sigmas,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__half_step_divisor,
    .perfect_output = dfx__half_step_output,
};
