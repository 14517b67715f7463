/* euler_ancestral.c - Euler's method in steps that go too far down and add noise again (Song et al.
 * 2021, as k-diffusion's sample_euler_ancestral). */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)batch;
    (void)n;
    float sigma = s->sigmas[i], down, up;
    DFX__TRY(dfx__reserve(s, 1));
    dfx__split_ancestral(sigma, s->sigmas[i + 1], &down, &up);
    dfx__sigma_step(s, sigma, down - sigma, x, x, model_output);
    return dfx__add_drawn(s, up, s->buffer[0], x, noise, user); /* also in the last step, 0 times */
}

static const dfx_scheduler_name names[] = {
    { "euler_a", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__euler_ancestral = {
    .class_name = "EulerAncestralDiscreteScheduler",
    .names = names,
    .when = "soft, varied pictures that do not settle with more steps; SDXL Turbo, anime models",
    .keys = DFX__BETA_KEYS "timestep_spacing=linspace,rescale_betas_zero_snr=false,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .init = dfx__make_sigmas,
    .plan = dfx__plan_sigmas,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__sigma_input_divisor,
};
