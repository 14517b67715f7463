/* lambda.c - levels, schedules, orders and conversion of outputs of the solvers over lambda. */
#include "scheduler/lambda.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

dfx__level dfx__level_at(const dfx_scheduler *s, int i)
{
    float sigma = s->sigmas[i];
    dfx__level l;
    if (!s->alphas_cumprod) { /* Karras et al.'s samples, which do not shrink */
        l.alpha = 1;
        l.sigma = sigma;
    } else if (s->config.use_flow_sigmas) {
        l.alpha = 1 - sigma;
        l.sigma = sigma;
    } else {
        l.alpha = 1 / sqrtf(sigma * sigma + 1);
        l.sigma = sigma * l.alpha;
    }
    l.lambda = logf(l.alpha) - logf(l.sigma);
    return l;
}

/* As diffusers: flow prediction takes the sigma as it is, also of samples that are not flow
 * matching's. */
dfx__level dfx__output_level(const dfx_scheduler *s, int i)
{
    dfx__level l = dfx__level_at(s, i);
    if (s->config.prediction_type == DFX__FLOW_PREDICTION)
        l.sigma = s->sigmas[i];
    return l;
}

void dfx__lambda_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    dfx__level l = dfx__level_at(s, i);
    *alpha = l.alpha;
    *sigma = l.sigma;
}

dfx_status dfx__init_lambda(dfx_scheduler *s, int integrates_x0, const char *instead)
{
    if (!integrates_x0 && s->config.prediction_type == DFX__FLOW_PREDICTION)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler %s: prediction_type 'flow_prediction' needs %s",
                         s->type->class_name, instead);
    return dfx__make_sigmas(s);
}

dfx_status dfx__check_mu(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    int shifts = c->use_dynamic_shifting && c->time_shift_type == DFX__SHIFT_EXPONENTIAL;
    return dfx__refuse(s,
                       isnan(c->mu) || shifts
                           ? NULL
                           : "mu needs use_dynamic_shifting=true and time_shift_type=exponential");
}

dfx_status dfx__count_unclipped(const dfx_scheduler *s, int *count)
{
    float least = (float)s->config.lambda_min_clipped;
    int left = s->train;
    while (left > 0) {
        float a = s->alphas_cumprod[left - 1];
        if (!(logf(sqrtf(a)) - logf(sqrtf(1 - a)) < least))
            break;
        left--;
    }
    *count = s->config.num_train_timesteps - (s->train - left);
    if (*count < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "lambda_min_clipped %g leaves no timesteps",
                         s->config.lambda_min_clipped);
    return DFX_OK;
}

static dfx_status select_timesteps(const dfx_scheduler *s, dfx__schedule *out)
{
    int last;
    if (s->custom_timesteps) {
        out->calls = s->steps;
        for (int i = 0; i < out->calls; i++)
            out->timesteps[i] = trunc(s->custom_timesteps[i]);
        return DFX_OK;
    }
    DFX__TRY(dfx__count_unclipped(s, &last));
    out->calls = dfx__space_timesteps(s, last, s->steps + 1, out->timesteps);
    dfx__round_all(out->timesteps, out->calls);
    return DFX_OK;
}

static dfx_status check_custom(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__check_custom_ramps(s));
    DFX__TRY(dfx__check_custom(s, c->use_lu_lambdas, "use_lu_lambdas"));
    return dfx__check_custom(s, c->use_flow_sigmas, "use_flow_sigmas");
}

void dfx__ramp_timesteps(const dfx_scheduler *s, dfx__schedule *out, int round)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__ramp ramp = dfx__which_ramp(c);
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = ramp == DFX__FLOW ? out->sigmas[i] * c->num_train_timesteps
                                              : dfx__sigma_to_timestep(s, out->sigmas[i]);
    if (round && (ramp == DFX__KARRAS || ramp == DFX__LU))
        dfx__round_all(out->timesteps, out->calls);
}

dfx_status dfx__plan_lambda(const dfx_scheduler *s, dfx__schedule *out, int round)
{
    dfx__ramp ramp = dfx__which_ramp(&s->config);
    DFX__TRY(check_custom(s));
    DFX__TRY(select_timesteps(s, out));
    if (ramp == DFX__NO_RAMP) {
        for (int i = 0; i < out->calls; i++)
            out->sigmas[i] = dfx__sigma_at(s, out->timesteps[i]);
        return DFX_OK;
    }
    out->calls = s->steps;
    dfx__ramp_sigmas(s, ramp, s->train_sigmas[s->train - 1], s->train_sigmas[0], out->calls,
                     out->sigmas);
    dfx__ramp_timesteps(s, out, round);
    return DFX_OK;
}

double dfx__prolonged_sigma(const dfx_scheduler *s, const dfx__schedule *out)
{
    return dfx__which_ramp(&s->config) == DFX__NO_RAMP ? s->train_sigmas[0]
                                                       : out->sigmas[out->calls - 1];
}

dfx_status dfx__end_lambda(const dfx_scheduler *s, dfx__schedule *out, double last)
{
    for (int i = 0; i < out->calls; i++) {
        out->timesteps[i] = trunc(out->timesteps[i]);
        if (!(out->sigmas[i] > 0))
            return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: sigma %d is %g, it must be above 0",
                             s->type->class_name, i, out->sigmas[i]);
        if (s->config.use_flow_sigmas && (float)out->sigmas[i] >= 1)
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "scheduler %s: sigma %d is %g, with use_flow_sigmas it must be below "
                             "1: leave the other spacings of sigmas out",
                             s->type->class_name, i, out->sigmas[i]);
    }
    out->sigma_count = out->calls + 1;
    out->sigmas[out->calls] = last;
    return DFX_OK;
}

int dfx__multistep_order(const dfx_scheduler *s, int i)
{
    const dfx__scheduler_config *c = &s->config;
    int order = s->taken + 1 < c->solver_order ? s->taken + 1 : c->solver_order;
    int few = c->lower_order_final && s->calls < DFX__FEW_STEPS;
    if (i == s->calls - 1 && (c->euler_at_final || few || s->sigmas[i + 1] == 0))
        return 1;
    return i == s->calls - 2 && few && order > 2 ? 2 : order;
}

void dfx__convert_output(const dfx_scheduler *s, int i, int to_x0, const float *output,
                         const float *x, float *out, size_t batch, size_t n)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__level l = dfx__output_level(s, i);
    size_t count = batch * n;
    if (to_x0) {
        dfx__predict_x0(out, c->prediction_type, l.alpha, l.sigma, x, output, count);
        if (c->thresholding)
            dfx__threshold(c, out, batch, n);
        return;
    }
    dfx__predict_noise(out, c->prediction_type, l.alpha, l.sigma, x, output, count);
    if (c->thresholding) {
        dfx__predict_x0(out, DFX__EPSILON, l.alpha, l.sigma, x, out, count);
        dfx__threshold(c, out, batch, n);
        dfx__predict_noise(out, DFX__SAMPLE, l.alpha, l.sigma, x, out, count);
    }
}
