/* scm.c - sampling of continuous-time consistency models (Lu & Song 2025): a sample is
 * cos(t) x0 + sin(t) sigma_data noise, a timestep is that angle. init_noise_sigma is 1 as in
 * diffusers, where the pipeline scales the first noise by sigma_data. */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    (void)s; /* there is no table */
    return DFX_OK;
}

static dfx_status check(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    if (s->custom_timesteps && s->steps < 2)
        return dfx__refuse(s, "needs two timesteps of the caller's or more, the last one is where "
                              "the last step ends");
    if (!s->custom_timesteps && isnan(c->max_timesteps))
        return dfx__refuse(s, "max_timesteps must be a number");
    if (!s->custom_timesteps && !isnan(c->intermediate_timesteps) && s->steps != 2)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler %s: intermediate_timesteps is for 2 steps, not %d: "
                         "intermediate_timesteps=null spaces them evenly",
                         s->type->class_name, s->steps);
    return DFX_OK;
}

/* s->extra has the end of the last step behind the timesteps. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(check(s));
    s->steps -= s->custom_timesteps != NULL;
    out->calls = s->steps;
    out->extra_count = s->steps + 1;
    for (int i = 0; i < out->extra_count; i++)
        if (s->custom_timesteps)
            out->extra[i] = s->custom_timesteps[i];
        else
            out->extra[i] = dfx__linspace_f32((float)c->max_timesteps, 0, out->extra_count, i);
    if (!s->custom_timesteps && !isnan(c->intermediate_timesteps))
        out->extra[1] = c->intermediate_timesteps;
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = out->extra[i];
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    float now = s->extra[i], to = s->extra[i + 1];
    size_t count = batch * n;
    DFX__TRY(dfx__reserve(s, 1));
    DFX__TRY(dfx__draw(s, noise, user, s->buffer[0])); /* also in the last step, times sin 0 */
    dfx__predict_x0(x, DFX__TRIGFLOW, cosf(now), sinf(now), x, model_output, count);
    dfx__mix(x, cosf(to), x, sinf(to) * (float)s->config.sigma_data, s->buffer[0], count);
    return DFX_OK;
}

static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    *alpha = cosf(s->timesteps[i]);
    *sigma = sinf(s->timesteps[i]) * (float)s->config.sigma_data;
}

static float perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    return (cosf(s->timesteps[i]) * x - x0) / sinf(s->timesteps[i]);
}

static const dfx_scheduler_name names[] = {
    { "scm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__scm = {
    .class_name = "SCMScheduler",
    .names = names,
    .when = "Sana Sprint; 2 steps, or with intermediate_timesteps=null 1 to 4",
    .keys = "num_train_timesteps=1000,prediction_type=trigflow,sigma_data=0.5,",
    .call_keys = DFX__TIMESTEPS_KEY "max_timesteps=1.5708,intermediate_timesteps=1.3",
    .predictions = 1 << DFX__TRIGFLOW,
    .custom = DFX__TIMESTEPS,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = noise_level,
    .perfect_output = perfect_output,
};
