/* kdpm2.c - DPM-Solver-2 of Karras et al. 2022: two calls of the model in each step but the last
 * one, the second half way in log sigma. */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

/* Half way in log sigma, as torch.lerp has it. */
static float middle_sigma(float from, float to)
{
    float from_log = logf(from), to_log = logf(to);
    return expf(to_log - (to_log - from_log) * 0.5f);
}

dfx_status dfx__plan_kdpm2(dfx_scheduler *s, dfx__schedule *out, int ancestral)
{
    DFX__TRY(dfx__plan_sigmas(s, out));
    if (s->config.use_karras_sigmas)
        dfx__round_all(out->timesteps, out->calls);
    int n = out->calls;
    double *between = out->extra + n; /* timesteps, in room that is not needed otherwise */
    for (int k = 0; k < n - 1; k++) {
        float sigma = (float)out->sigmas[k], next = (float)out->sigmas[k + 1], down, up;
        dfx__split_ancestral(sigma, next, &down, &up);
        if (ancestral && !(down > 0))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "%s: the step from sigma %g to %g has no middle: take other steps",
                             s->type->class_name, sigma, next);
        float middle = ancestral ? middle_sigma(sigma, down) : middle_sigma(next, sigma);
        between[k] = dfx__sigma_to_timestep_f32(s, middle);
        out->extra[k] = middle;
    }
    out->extra[n - 1] = 0;
    out->extra_count = n;
    dfx__halve_steps(out, between);
    for (int i = 0; i < 2; i++) /* diffusers' list ends with sigma 0 three times */
        out->sigmas[out->sigma_count++] = 0;
    return DFX_OK;
}

dfx_status dfx__step_kdpm2(dfx_scheduler *s, int i, float end, const float *model_output, float *x)
{
    DFX__TRY(dfx__check_half_step(s, i));
    DFX__TRY(dfx__reserve(s, 2));
    float *start = s->buffer[0], middle = s->extra[i / 2], sigma = s->sigmas[i - i % 2];
    if (i % 2 == 0) {
        memcpy(start, x, s->elements * sizeof *x);
        dfx__sigma_step(s, sigma, middle - sigma, x, x, model_output);
    } else {
        dfx__sigma_step(s, middle, end - sigma, start, x, model_output);
    }
    return DFX_OK;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    return dfx__plan_kdpm2(s, out, 0);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)batch;
    (void)n;
    (void)noise;
    (void)user;
    return dfx__step_kdpm2(s, i, s->sigmas[i], model_output, x);
}

static const dfx_scheduler_name names[] = {
    { "kdpm2", "" },
    { "kdpm2_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__kdpm2 = {
    .class_name = "KDPM2DiscreteScheduler",
    .names = names,
    .when = "DPM2: precise at 2 n - 1 calls of the model",
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
