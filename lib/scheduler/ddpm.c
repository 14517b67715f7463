/* ddpm.c - denoising diffusion probabilistic models (Ho et al. 2020), with the learned variances of
 * Nichol & Dhariwal 2021. */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.variance_type == DFX__FIXED_LARGE_LOG) /* there it is the root of a logarithm */
        return dfx__refuse(s, "variance_type=fixed_large_log gives no numbers in diffusers "
                              "either; the same variance is variance_type=fixed_large");
    return dfx__make_alphas(s);
}

static float fixed_deviation(int type, float a, float before)
{
    float variance = fmaxf(dfx__posterior_variance(a, before), 1e-20f);
    switch (type) {
    case DFX__FIXED_LARGE:
        return sqrtf(1 - a / before);
    case DFX__FIXED_SMALL_LOG:
        return expf(0.5f * logf(variance));
    default:
        return sqrtf(variance);
    }
}

/* Adds the noise of a step with the variance that the model says, [n] for each sample. */
static void add_learned(int type, float a, float before, const float *learned, const float *noise,
                        float *x, size_t n)
{
    float least = logf(fmaxf(dfx__posterior_variance(a, before), 1e-20f));
    float most = logf(1 - a / before);
    for (size_t k = 0; k < n; k++) {
        float part = (learned[k] + 1) / 2;
        float deviation = type == DFX__LEARNED ? sqrtf(learned[k])
                                               : expf(0.5f * (part * most + (1 - part) * least));
        x[k] += deviation * noise[k];
    }
}

static dfx_status check_learned(const dfx_scheduler *s, const float *output, size_t batch, size_t n)
{
    for (size_t b = 0; b < batch && s->config.variance_type == DFX__LEARNED; b++)
        for (size_t k = 0; k < n; k++)
            if (output[(2 * b + 1) * n + k] < 0)
                return dfx__refuse(s, "the model's variance is negative: is it "
                                      "variance_type=learned_range?");
    return DFX_OK;
}

/* Formula 7's mean, from x0. */
static void move_to_mean(float a, float before, const float *x0, float *x, size_t count)
{
    float alpha = a / before;
    float of_x0 = sqrtf(before) * (1 - alpha) / (1 - a);
    float of_x = sqrtf(alpha) * (1 - before) / (1 - a);
    dfx__mix(x, of_x0, x0, of_x, x, count);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    const float *mean = model_output;
    int t = (int)s->timesteps[i], to = i + 1 < s->calls ? (int)s->timesteps[i + 1] : -1;
    int learned = dfx_scheduler_output_parts(s) == 2;
    DFX__TRY(dfx__reserve(s, 2));
    float *x0 = s->buffer[0], *drawn = s->buffer[1];
    if (learned) {
        DFX__TRY(check_learned(s, model_output, batch, n));
        DFX__TRY(dfx__take_mean(s, &mean, batch, n));
    }
    if (t > 0)
        DFX__TRY(dfx__draw(s, noise, user, drawn));

    float a = dfx__alpha_at(s, t), before = to < 0 ? 1 : dfx__alpha_at(s, to);
    dfx__predict_x0(x0, c->prediction_type, sqrtf(a), sqrtf(1 - a), x, mean, batch * n);
    dfx__bound(c, x0, batch, n);
    move_to_mean(a, before, x0, x, batch * n);
    if (t <= 0)
        return DFX_OK;
    float deviation = fixed_deviation(c->variance_type, a, before);
    if (!learned)
        dfx__mix(x, 1, x, deviation, drawn, batch * n);
    for (size_t b = 0; b < batch && learned; b++)
        add_learned(c->variance_type, a, before, model_output + (2 * b + 1) * n, drawn + b * n,
                    x + b * n, n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "ddpm", "" },
    { "DDPMParallelScheduler", "" }, /* the same steps, which diffusers can take side by side */
    { NULL, NULL },
};

const dfx__scheduler_type dfx__ddpm = {
    .class_name = "DDPMScheduler",
    .names = names,
    .when = "unconditional models and DeepFloyd IF; many steps, noise in each",
    .keys = DFX__BETA_KEYS DFX__THRESHOLD_KEYS
    "variance_type=fixed_small,clip_sample=true,clip_sample_range=1,timestep_spacing=leading,"
    "rescale_betas_zero_snr=false,",
    .call_keys = DFX__TIMESTEPS_KEY,
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .custom = DFX__TIMESTEPS,
    .variance = DFX__TAKES_VARIANCE,
    .init = init,
    .plan = dfx__plan_timesteps,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
