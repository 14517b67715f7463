/* ddim_inverse.c - DDIM (Song et al. 2021) the other way: from a picture to its noise. */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.timestep_spacing == DFX__LINSPACE)
        return dfx__refuse(s, "does not take timestep_spacing 'linspace', but leading and "
                              "trailing");
    return dfx__make_alphas(s);
}

/* A call's sample is at the timestep before it. */
static float alpha_of_call(const dfx_scheduler *s, int i)
{
    const dfx__scheduler_config *c = &s->config;
    int t = (int)s->timesteps[i] - c->num_train_timesteps / s->steps;
    return dfx__alpha_before(s, t < c->num_train_timesteps ? t : c->num_train_timesteps - 1);
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    double *t = out->timesteps;
    out->calls = dfx__space_timesteps(s, s->config.num_train_timesteps, s->steps, t);
    DFX__TRY(dfx__check_timesteps(s, out));
    dfx__reverse(t, out->calls);
    int before_first = (int)t[0] - s->config.num_train_timesteps / s->steps;
    if (s->config.prediction_type == DFX__SAMPLE && dfx__alpha_before(s, before_first) == 1)
        return dfx__refuse(s, "with prediction_type=sample the first step needs "
                              "set_alpha_to_one=false");
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    DFX__TRY(dfx__reserve(s, 2));
    float *x0 = s->buffer[0], *eps = s->buffer[1];
    float after = dfx__alpha_at(s, (int)s->timesteps[i]);
    dfx__predict(x0, eps, s->config.prediction_type, alpha_of_call(s, i), x, model_output,
                 batch * n);
    dfx__bound(&s->config, x0, batch, n);
    dfx__mix(x, sqrtf(after), x0, sqrtf(1 - after), eps, batch * n);
    return DFX_OK;
}

static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    float a = alpha_of_call(s, i);
    *alpha = sqrtf(a);
    *sigma = sqrtf(1 - a);
}

static const dfx_scheduler_name names[] = {
    { "ddim_inverse", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__ddim_inverse = {
    .class_name = "DDIMInverseScheduler",
    .names = names,
    .when = "from a picture to the noise that ddim draws it from, for editing",
    .keys = DFX__BETA_KEYS "clip_sample=true,clip_sample_range=1,set_alpha_to_one=true,"
                           "set_alpha_to_zero=true,timestep_spacing=leading,"
                           "rescale_betas_zero_snr=false,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = noise_level,
};
