/* kdpm2_ancestral.c - DPM-Solver-2 (kdpm2.c) in steps that go too far down and add noise again. */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <string.h>

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    return dfx__plan_kdpm2(s, out, 1);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    DFX__TRY(dfx__check_half_step(s, i));
    DFX__TRY(dfx__reserve(s, 2));
    float *start = s->buffer[0], middle = s->extra[i / 2], sigma = s->sigmas[i - i % 2];
    if (i % 2 == 0) {
        memcpy(start, x, batch * n * sizeof *x);
        dfx__sigma_step(s, sigma, middle - sigma, x, x, model_output);
        return DFX_OK;
    }
    float down, up;
    dfx__split_ancestral(sigma, s->sigmas[i], &down, &up);
    dfx__sigma_step(s, middle, down - sigma, start, x, model_output);
    return dfx__add_drawn(s, up, s->buffer[1], x, noise, user);
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
    .init = dfx__make_sigmas,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__half_step_divisor,
    .perfect_output = dfx__half_step_output,
};
