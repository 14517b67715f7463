/* dpmsolver.c - the updates of DPM-Solver and DPM-Solver++, and of their stochastic versions (Lu et
 * al. 2022, arXiv 2206.00927 and 2211.01095), for the classes that differ in schedules and orders.
 */
#include "scheduler/lambda.h"

#include "core/status.h"

#include <math.h>

int dfx__dpm_is_sde(const dfx__scheduler_config *c)
{
    return c->algorithm_type == DFX__SDE_DPMSOLVER || c->algorithm_type == DFX__SDE_DPMSOLVER_PP;
}

int dfx__dpm_integrates_x0(const dfx__scheduler_config *c)
{
    return c->algorithm_type == DFX__DPMSOLVER_PP || c->algorithm_type == DFX__SDE_DPMSOLVER_PP;
}

dfx_status dfx__dpm_check(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    int to_zero = !dfx__dpm_integrates_x0(c) && c->final_sigmas_type == DFX__FINAL_ZERO;
    if (c->algorithm_type == DFX__DEIS) /* as diffusers: it still counts above */
        c->algorithm_type = DFX__DPMSOLVER_PP;
    return dfx__refuse(s, to_zero ? "final_sigmas_type 'zero' needs algorithm_type dpmsolver++ or "
                                    "sde-dpmsolver++; choose 'sigma_min'"
                                  : NULL);
}

dfx_status dfx__dpm_init(dfx_scheduler *s)
{
    DFX__TRY(dfx__dpm_check(s));
    DFX__TRY(dfx__check_mu(s));
    return dfx__init_lambda(s, dfx__dpm_integrates_x0(&s->config),
                            "algorithm_type dpmsolver++ or sde-dpmsolver++");
}

dfx_status dfx__dpm_check_end(const dfx_scheduler *s, const dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    const double *last = &out->sigmas[out->calls], rounding = 1e-6;
    int order = out->calls < c->solver_order ? out->calls : c->solver_order;
    if (c->euler_at_final || (c->lower_order_final && out->calls < DFX__FEW_STEPS))
        order = 1;
    if (fabs(last[0] - last[-1]) > rounding * last[-1] || order + (c->solver_type == DFX__HEUN) < 3)
        return DFX_OK;
    return dfx__refuse(s, "the last sigma stands twice: choose euler_at_final=true, or "
                          "solver_order=2 and solver_type=midpoint");
}

/* The weights of the differences cancel for small steps; they are written as in diffusers, so that
 * the rounding is the same. */
dfx__dpm_weights dfx__dpm_weigh(const dfx_scheduler *s, int from, int to, int order)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__level end = dfx__level_at(s, to), start = dfx__level_at(s, from);
    float alpha = end.alpha, sigma = end.sigma, h = end.lambda - start.lambda;
    int midpoint = order == 2 && c->solver_type != DFX__HEUN;
    dfx__dpm_weights w = { 0 };
    switch (c->algorithm_type) {
    case DFX__DPMSOLVER_PP: {
        float e = expf(-h) - 1;
        w.x = sigma / start.sigma;
        w.d[0] = -(alpha * e);
        w.d[1] = midpoint ? -0.5f * (alpha * e) : alpha * (e / h + 1);
        w.d[2] = -(alpha * ((e + h) / (h * h) - 0.5f));
        break;
    }
    case DFX__SDE_DPMSOLVER_PP: {
        float e = 1 - expf(-2 * h);
        w.x = sigma / start.sigma * expf(-h);
        w.d[0] = alpha * e;
        w.d[1] = midpoint ? 0.5f * (alpha * e) : alpha * (e / (-2 * h) + 1);
        w.d[2] = alpha * ((e - 2 * h) / (4 * h * h) - 0.5f);
        w.noise = sigma * sqrtf(e);
        break;
    }
    case DFX__SDE_DPMSOLVER: {
        float e = expf(h) - 1;
        w.x = alpha / start.alpha;
        w.d[0] = -2 * (sigma * e);
        w.d[1] = midpoint ? -(sigma * e) : -2 * (sigma * (e / h - 1));
        w.noise = sigma * sqrtf(expf(2 * h) - 1);
        break;
    }
    default: { /* dpmsolver, and DEIS, whose first order is the same */
        float e = expf(h) - 1;
        w.x = alpha / start.alpha;
        w.d[0] = -(sigma * e);
        w.d[1] = midpoint ? -0.5f * (sigma * e) : -(sigma * (e / h - 1));
        w.d[2] = -(sigma * ((e - h) / (h * h) - 0.5f));
    }
    }
    return w;
}

void dfx__dpm_first(const dfx__dpm_weights *w, const float *m, float *x, size_t count)
{
    for (size_t k = 0; k < count; k++)
        x[k] = w->x * x[k] + w->d[0] * m[k];
}

void dfx__dpm_second(const dfx__dpm_weights *w, float r, const float *m, const float *later,
                     const float *earlier, float *x, size_t count)
{
    for (size_t k = 0; k < count; k++)
        x[k] = w->x * x[k] + w->d[0] * m[k] + w->d[1] * (1 / r * (later[k] - earlier[k]));
}

static void third_order(const dfx__dpm_weights *w, float r0, float r1, float *const m[], float *x,
                        size_t count)
{
    for (size_t k = 0; k < count; k++) {
        float now = 1 / r0 * (m[0][k] - m[1][k]), before = 1 / r1 * (m[1][k] - m[2][k]);
        float d1 = now + r0 / (r0 + r1) * (now - before), d2 = 1 / (r0 + r1) * (now - before);
        x[k] = w->x * x[k] + w->d[0] * m[0][k] + w->d[1] * d1 + w->d[2] * d2;
    }
}

dfx_status dfx__dpm_begin(dfx_scheduler *s, dfx_noise_function *noise, void *user)
{
    int past = s->config.solver_order;
    DFX__TRY(dfx__reserve(s, past + 1));
    if (dfx__dpm_is_sde(&s->config))
        DFX__TRY(dfx__draw(s, noise, user, s->buffer[past]));
    dfx__rotate(s, past);
    return DFX_OK;
}

/* The step from sigma i to the next one, in lambda. */
static float stride(const dfx_scheduler *s, int i)
{
    return dfx__level_at(s, i + 1).lambda - dfx__level_at(s, i).lambda;
}

void dfx__dpm_step(const dfx_scheduler *s, int i, float *x, size_t count)
{
    int order = dfx__multistep_order(s, i);
    dfx__dpm_weights w = dfx__dpm_weigh(s, i, i + 1, order);
    float *const *m = s->buffer, *drawn = s->buffer[s->config.solver_order], h = stride(s, i);
    if (order == 1)
        dfx__dpm_first(&w, m[0], x, count);
    else if (order == 2)
        dfx__dpm_second(&w, stride(s, i - 1) / h, m[0], m[0], m[1], x, count);
    else
        third_order(&w, stride(s, i - 1) / h, stride(s, i - 2) / h, m, x, count);
    for (size_t k = 0; k < count && dfx__dpm_is_sde(&s->config); k++)
        x[k] += w.noise * drawn[k];
}

dfx_status dfx__dpm_multistep(dfx_scheduler *s, int i, const float *model_output, float *x,
                              size_t batch, size_t n, dfx_noise_function *noise, void *user)
{
    DFX__TRY(dfx__dpm_begin(s, noise, user));
    dfx__convert_output(s, i, dfx__dpm_integrates_x0(&s->config), model_output, x, s->buffer[0],
                        batch, n);
    dfx__dpm_step(s, i, x, batch * n);
    return DFX_OK;
}
