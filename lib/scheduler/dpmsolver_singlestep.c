/* dpmsolver_singlestep.c - DPM-Solver and DPM-Solver++ whose steps of order 2 and 3 are made of as
 * many calls, each of which starts again from the sample before the first one (Lu et al. 2022). */
#include "scheduler/lambda.h"

#include "core/status.h"

#include <string.h>

static dfx_status init(dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__dpm_init(s));
    if (c->thresholding && !dfx__dpm_integrates_x0(c)) /* diffusers fails in the first step */
        return dfx__refuse(s, "thresholding needs algorithm_type dpmsolver++ or sde-dpmsolver++");
    return DFX_OK;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__plan_lambda(s, out, 1));
    return dfx__end_lambda(s, out, dfx__last_sigma(s));
}

/* Which call of its step call i is: 1, 2, 3, 1, 2, 3 ... In a run that ends inside a step, or at
 * sigma 0, lower_order_final is on; then a whole last step ends with one of order 1. */
static int order_of(const dfx_scheduler *s, int i)
{
    const dfx__scheduler_config *c = &s->config;
    int order = i % c->solver_order + 1, whole = s->calls % c->solver_order == 0;
    if (i == s->calls - 1 && (s->sigmas[i + 1] == 0 || (c->lower_order_final && whole)))
        order = 1;
    return s->taken + 1 < order ? s->taken + 1 : order;
}

/* The part of a step from sigma `from` to sigma `to` that is done at sigma i. */
static float part(const dfx_scheduler *s, int from, int i, int to)
{
    float start = dfx__level_at(s, from).lambda;
    return (dfx__level_at(s, i).lambda - start) / (dfx__level_at(s, to).lambda - start);
}

static void third_order(const dfx_scheduler *s, const dfx__dpm_weights *w, int i, float *x,
                        size_t count)
{
    float *const *m = s->buffer;
    float r0 = part(s, i - 2, i, i + 1), r1 = part(s, i - 2, i - 1, i + 1);
    if (s->config.solver_type != DFX__HEUN) {
        dfx__dpm_second(w, r0, m[2], m[0], m[2], x, count);
        return;
    }
    for (size_t k = 0; k < count; k++) {
        float near = 1 / r1 * (m[1][k] - m[2][k]), far = 1 / r0 * (m[0][k] - m[2][k]);
        float d1 = (r0 * near - r1 * far) / (r0 - r1), d2 = 2 * (far - near) / (r0 - r1);
        x[k] = w->x * x[k] + w->d[0] * m[2][k] + w->d[1] * d1 + w->d[2] * d2;
    }
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    int past = s->config.solver_order, order = order_of(s, i), is_sde = dfx__dpm_is_sde(&s->config);
    size_t count = batch * n;
    DFX__TRY(dfx__dpm_begin(s, noise, user));
    DFX__TRY(dfx__reserve(s, past + 2));
    float *const *m = s->buffer, *drawn = s->buffer[past], *start = s->buffer[past + 1];
    dfx__convert_output(s, i, dfx__dpm_integrates_x0(&s->config), model_output, x, m[0], batch, n);
    if (order == 1)
        memcpy(start, x, count * sizeof *x);
    memcpy(x, start, count * sizeof *x);

    dfx__dpm_weights w = dfx__dpm_weigh(s, i + 1 - order, i + 1, order);
    if (order == 1)
        dfx__dpm_first(&w, m[0], x, count);
    else if (order == 2)
        dfx__dpm_second(&w, part(s, i - 1, i, i + 1), m[1], m[0], m[1], x, count);
    else
        third_order(s, &w, i, x, count);
    for (size_t k = 0; k < count && is_sde; k++)
        x[k] += w.noise * drawn[k];
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "dpmpp_2s", "algorithm_type=dpmsolver++,solver_order=2" },
    { "dpmpp_2s_karras", "algorithm_type=dpmsolver++,solver_order=2,use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__dpmsolver_singlestep = {
    .class_name = "DPMSolverSinglestepScheduler",
    .names = names,
    .when = "as dpmpp_2m, in pairs of calls that keep no older outputs: steadier, less sharp",
    .keys = DFX__NOISE_KEYS("0.0001", "0.02", "linear")
        DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS DFX__DYNAMIC_KEYS
    "solver_order=2,algorithm_type=dpmsolver++,solver_type=midpoint,lower_order_final=false,"
    "final_sigmas_type=zero,lambda_min_clipped=-Infinity,variance_type=null,",
    .call_keys = DFX__TIMESTEPS_KEY "mu=null",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .algorithms =
        1 << DFX__DPMSOLVER | 1 << DFX__DPMSOLVER_PP | 1 << DFX__SDE_DPMSOLVER_PP | 1 << DFX__DEIS,
    .custom = DFX__TIMESTEPS,
    .variance = DFX__DROPS_VARIANCE,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__lambda_noise_level,
};
