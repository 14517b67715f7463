/* euler.c - Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2). */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

/* One more sigma than steps, from the most to the least of training: as diffusers has it. */
static void space_log_linear(const dfx_scheduler *s, dfx__schedule *out)
{
    out->sigma_count = s->steps + 1;
    float from = s->log_train_sigmas[s->train - 1], to = s->log_train_sigmas[0];
    for (int i = 0; i < out->sigma_count; i++)
        out->sigmas[i] = expf(dfx__linspace_f32(from, to, out->sigma_count, i));
}

static int is_continuous(const dfx__scheduler_config *c)
{
    return c->timestep_type == DFX__CONTINUOUS && c->prediction_type == DFX__V_PREDICTION;
}

static dfx_status check_custom(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    if (s->custom_sigmas && s->steps < 2)
        return dfx__refuse(s, "needs two sigmas of the caller's or "
                              "more, the last one is where the last step ends");
    DFX__TRY(dfx__check_custom_ramps(s));
    return dfx__check_custom(s, is_continuous(c), "timestep_type=continuous and v_prediction");
}

/* All sigmas but the last one, and their timesteps. */
static void plan_sigmas(dfx_scheduler *s, dfx__schedule *out)
{
    if (!s->custom_sigmas) {
        dfx__select_sigmas(s, out);
        if (s->config.interpolation_type == DFX__INTERPOLATE_LOG_LINEAR)
            space_log_linear(s, out);
        dfx__apply_ramp(s, out);
        return;
    }
    out->calls = out->sigma_count = --s->steps;
    for (int i = 0; i < out->calls; i++) {
        out->sigmas[i] = s->custom_sigmas[i];
        out->timesteps[i] = dfx__sigma_to_timestep(s, out->sigmas[i]);
    }
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(check_custom(s));
    plan_sigmas(s, out);
    if (is_continuous(c)) {
        out->calls = out->sigma_count;
        for (int i = 0; i < out->calls; i++)
            out->timesteps[i] = 0.25f * logf((float)out->sigmas[i]);
    }
    dfx__finish_sigmas(s, out, s->custom_sigmas ? s->custom_sigmas[s->steps] : dfx__last_sigma(s));
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    size_t count = batch * n;
    float sigma = s->sigmas[i], sigma_hat;
    DFX__TRY(dfx__reserve(s, 1));
    DFX__TRY(dfx__churn(s, sigma, s->buffer[0], x, noise, user, &sigma_hat));
    int prediction = s->config.prediction_type;
    float at = prediction == DFX__EPSILON ? sigma_hat : sigma; /* as diffusers has it */
    float dt = s->sigmas[i + 1] - sigma_hat;
    for (size_t k = 0; k < count; k++) {
        float x0 = dfx__sigma_x0(prediction, at, x[k], model_output[k]);
        x[k] += (x[k] - x0) / sigma_hat * dt;
    }
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "euler", "" },
    { "euler_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__euler = {
    .class_name = "EulerDiscreteScheduler",
    .names = names,
    .when = "the plain, reliable one of Stable Diffusion XL; 20 to 30 steps",
    .keys = DFX__BETA_KEYS DFX__SIGMA_KEYS
    "interpolation_type=linear,timestep_spacing=linspace,timestep_type=discrete,"
    "rescale_betas_zero_snr=false,final_sigmas_type=zero,",
    .call_keys = DFX__TIMESTEPS_KEY DFX__SIGMAS_KEY "s_churn=0,s_tmin=0,s_tmax=Infinity,s_noise=1",
    .predictions =
        1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION | 1 << DFX__ORIGINAL_SAMPLE,
    .custom = DFX__TIMESTEPS | DFX__SIGMAS,
    .init = dfx__make_sigmas,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__sigma_input_divisor,
};
