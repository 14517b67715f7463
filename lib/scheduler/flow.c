/* flow.c - the sigmas of flow matching, shifted by a constant or by the picture's size. */
#include "scheduler/flow.h"

#include "core/status.h"

#include <math.h>

double dfx__shift_sigma(double shift, double sigma, int single)
{
    double more = dfx__rounded(dfx__rounded(shift - 1, single) * sigma, single);
    return dfx__rounded(dfx__rounded(dfx__rounded(shift, single) * sigma, single) /
                            dfx__rounded(1 + more, single),
                        single);
}

double dfx__shift_by_mu(const dfx__scheduler_config *c, double sigma, int single)
{
    double shift = c->time_shift_type == DFX__SHIFT_EXPONENTIAL ? exp(c->mu) : c->mu;
    double odds = dfx__rounded(dfx__rounded(1 / sigma, single) - 1, single);
    shift = dfx__rounded(shift, single);
    return dfx__rounded(shift / dfx__rounded(shift + odds, single), single);
}

dfx_status dfx__stretch_sigmas(const dfx__scheduler_config *c, double *sigmas, int n, int single)
{
    if (!(c->shift_terminal > 0)) /* so for null, and 0 is null to Python */
        return DFX_OK;
    double left = dfx__rounded(1 - sigmas[n - 1], single);
    double scale = dfx__rounded(left / dfx__rounded(1 - c->shift_terminal, single), single);
    if (left == 0)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "shift_terminal cannot stretch a schedule that ends at sigma 1: take more "
                         "than one step");
    for (int i = 0; i < n; i++)
        sigmas[i] = dfx__rounded(
            1 - dfx__rounded(dfx__rounded(1 - sigmas[i], single) / scale, single), single);
    return DFX_OK;
}

/* The sigmas before their shift: the caller's, those of its timesteps, or even ones between the
 * ends of training, which diffusers has shifted once already. */
static void start_sigmas(const dfx_scheduler *s, double *sigmas)
{
    const dfx__scheduler_config *c = &s->config;
    int n = s->steps, train = c->num_train_timesteps;
    double least = (float)(1.0 / train), most = 1;
    if (!c->use_dynamic_shifting) {
        least = dfx__shift_sigma(c->shift, least, 1);
        most = dfx__shift_sigma(c->shift, most, 1);
    }
    for (int i = 0; i < n; i++)
        if (s->custom_sigmas)
            sigmas[i] = s->custom_sigmas[i];
        else if (s->custom_timesteps)
            sigmas[i] = s->custom_timesteps[i] / (float)train;
        else
            sigmas[i] = dfx__linspace(most * train, least * train, n, i) / train;
}

static dfx_status shift_sigmas(const dfx_scheduler *s, double *sigmas)
{
    const dfx__scheduler_config *c = &s->config;
    int n = s->steps, single = s->custom_timesteps || s->custom_sigmas;
    dfx__ramp ramp = dfx__which_ramp(c);
    for (int i = 0; i < n; i++)
        sigmas[i] = c->use_dynamic_shifting ? dfx__shift_by_mu(c, sigmas[i], single)
                                            : dfx__shift_sigma(c->shift, sigmas[i], single);
    DFX__TRY(dfx__stretch_sigmas(c, sigmas, n, single));
    if (ramp != DFX__NO_RAMP)
        dfx__ramp_sigmas(s, ramp, sigmas[0], sigmas[n - 1], n, sigmas);
    return DFX_OK;
}

dfx_status dfx__init_flow(dfx_scheduler *s)
{
    s->config.prediction_type = DFX__FLOW_PREDICTION; /* there is no key for it */
    return DFX_OK;
}

dfx_status dfx__plan_flow(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    if (c->use_dynamic_shifting && isnan(c->mu))
        return dfx__refuse(s, "use_dynamic_shifting needs mu, which pipelines compute "
                              "from the picture's size: give mu=X");
    start_sigmas(s, out->sigmas);
    DFX__TRY(shift_sigmas(s, out->sigmas));
    out->calls = s->steps;
    out->sigma_count = s->steps + 1;
    for (int i = 0; i < out->calls; i++) {
        float sigma = (float)out->sigmas[i];
        out->sigmas[i] = c->invert_sigmas ? 1 - sigma : sigma;
        out->timesteps[i] = (float)out->sigmas[i] * (float)c->num_train_timesteps;
        if (s->custom_timesteps && !c->invert_sigmas)
            out->timesteps[i] = s->custom_timesteps[i];
    }
    out->sigmas[out->calls] = c->invert_sigmas;
    return DFX_OK;
}

void dfx__flow_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    *alpha = 1 - s->sigmas[i];
    *sigma = s->sigmas[i];
}

void dfx__flow_advance(const dfx_scheduler *s, int i, const float *model_output, float *x,
                       size_t count)
{
    float dt = s->sigmas[i + 1] - s->sigmas[i];
    for (size_t k = 0; k < count; k++)
        x[k] += dt * model_output[k];
}

dfx_status dfx__flow_jump(dfx_scheduler *s, int i, const float *model_output, float *x,
                          size_t batch, size_t n, dfx_noise_function *noise, void *user)
{
    DFX__TRY(dfx__reserve(s, 1));
    float *drawn = s->buffer[0];
    DFX__TRY(dfx__draw(s, noise, user, drawn));
    float now = s->sigmas[i], next = s->sigmas[i + 1];
    for (size_t k = 0; k < batch * n; k++) {
        float x0 = x[k] - now * model_output[k];
        x[k] = (1 - next) * x0 + next * drawn[k];
    }
    return DFX_OK;
}
