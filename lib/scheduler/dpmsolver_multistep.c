/* dpmsolver_multistep.c - DPM-Solver and DPM-Solver++ of order 1 to 3 over past model outputs, and
 * their stochastic versions (Lu et al. 2022, arXiv 2206.00927 and 2211.01095). */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

enum { FEW_STEPS = 15 }; /* lower_order_final acts below */

static int is_sde(const dfx__scheduler_config *c)
{
    return c->algorithm_type == DFX__SDE_DPMSOLVER || c->algorithm_type == DFX__SDE_DPMSOLVER_PP;
}

/* Whether the solver integrates x0; else it integrates the noise. */
static int predicts_x0(const dfx__scheduler_config *c)
{
    return c->algorithm_type == DFX__DPMSOLVER_PP || c->algorithm_type == DFX__SDE_DPMSOLVER_PP;
}

static dfx_status init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    const char *wrong = NULL;
    if (!predicts_x0(c) && c->final_sigmas_type == DFX__FINAL_ZERO)
        wrong = "final_sigmas_type 'zero' needs algorithm_type dpmsolver++ or sde-dpmsolver++; "
                "choose 'sigma_min'";
    if (c->algorithm_type == DFX__DEIS) /* as diffusers: after the check above */
        c->algorithm_type = DFX__DPMSOLVER_PP;
    if (c->algorithm_type == DFX__SDE_DPMSOLVER && c->solver_order == 3)
        wrong = "algorithm_type sde-dpmsolver has no solver_order 3";
    if (!predicts_x0(c) && c->prediction_type == DFX__FLOW_PREDICTION)
        wrong = "prediction_type 'flow_prediction' needs algorithm_type dpmsolver++ or "
                "sde-dpmsolver++";
    if (!isnan(c->mu) && !(c->use_dynamic_shifting && c->time_shift_type == DFX__SHIFT_EXPONENTIAL))
        wrong = "mu needs use_dynamic_shifting=true and time_shift_type=exponential";
    if (wrong)
        return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: %s", s->type->class_name, wrong);
    return dfx__make_sigmas(s);
}

/* How many timesteps are left when those of a lambda below lambda_min_clipped go. */
static int count_unclipped(const dfx_scheduler *s)
{
    float least = (float)s->config.lambda_min_clipped;
    int count = s->train;
    while (count > 0) {
        float a = s->alphas_cumprod[count - 1];
        if (!(logf(sqrtf(a)) - logf(sqrtf(1 - a)) < least))
            break;
        count--;
    }
    return s->config.num_train_timesteps - (s->train - count);
}

static dfx_status check_custom(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__check_custom(s, c->use_karras_sigmas, "use_karras_sigmas"));
    DFX__TRY(dfx__check_custom(s, c->use_lu_lambdas, "use_lu_lambdas"));
    DFX__TRY(dfx__check_custom(s, c->use_exponential_sigmas, "use_exponential_sigmas"));
    DFX__TRY(dfx__check_custom(s, c->use_beta_sigmas, "use_beta_sigmas"));
    return dfx__check_custom(s, c->use_flow_sigmas, "use_flow_sigmas");
}

/* The caller's timesteps, else spaced ones, whole. */
static dfx_status select_timesteps(const dfx_scheduler *s, dfx__schedule *out)
{
    int last = count_unclipped(s);
    if (s->custom_timesteps) {
        out->calls = s->steps;
        for (int i = 0; i < out->calls; i++)
            out->timesteps[i] = trunc(s->custom_timesteps[i]);
        return DFX_OK;
    }
    if (last < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "lambda_min_clipped %g leaves no timesteps",
                         s->config.lambda_min_clipped);
    out->calls = dfx__space_timesteps(s, last, s->steps + 1, out->timesteps);
    dfx__round_all(out->timesteps, out->calls);
    return DFX_OK;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__ramp ramp = dfx__which_ramp(c);
    DFX__TRY(check_custom(s));
    DFX__TRY(select_timesteps(s, out));
    if (ramp == DFX__NO_RAMP) {
        for (int i = 0; i < out->calls; i++)
            out->sigmas[i] = dfx__sigma_at(s, out->timesteps[i]);
    } else {
        out->calls = s->steps;
        dfx__ramp_sigmas(s, ramp, s->train_sigmas[s->train - 1], s->train_sigmas[0], out->calls,
                         out->sigmas);
        for (int i = 0; i < out->calls; i++)
            out->timesteps[i] = ramp == DFX__FLOW ? out->sigmas[i] * c->num_train_timesteps
                                                  : dfx__sigma_to_timestep(s, out->sigmas[i]);
        if ((ramp == DFX__KARRAS || ramp == DFX__LU) && c->beta_schedule != DFX__SQUAREDCOS_CAP_V2)
            dfx__round_all(out->timesteps, out->calls);
    }
    for (int i = 0; i < out->calls; i++) /* what is not rounded above is cut off */
        out->timesteps[i] = trunc(out->timesteps[i]);
    out->sigma_count = out->calls + 1;
    out->sigmas[out->calls] = dfx__last_sigma(s);
    return DFX_OK;
}

/* The noise level of sigma i: x = alpha * x0 + sigma * noise. */
static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    float level = s->sigmas[i];
    *alpha = s->config.use_flow_sigmas ? 1 - level : 1 / sqrtf(level * level + 1);
    *sigma = s->config.use_flow_sigmas ? level : level * *alpha;
}

static float lambda(const dfx_scheduler *s, int i)
{
    float alpha, sigma;
    noise_level(s, i, &alpha, &sigma);
    return logf(alpha) - logf(sigma);
}

/* What a step multiplies: the sample, the output and its first and second difference, noise. */
struct weights {
    float x, d[3], noise;
};

/* The weights of a step from sigma i to the next one. Those of the differences cancel for small
 * steps; they are written as in diffusers, so that the rounding is the same. */
static struct weights weigh(const dfx_scheduler *s, int i, int order)
{
    const dfx__scheduler_config *c = &s->config;
    float alpha, sigma, alpha0, sigma0;
    noise_level(s, i + 1, &alpha, &sigma);
    noise_level(s, i, &alpha0, &sigma0);
    float h = lambda(s, i + 1) - lambda(s, i);
    int midpoint = order == 2 && c->solver_type != DFX__HEUN;
    struct weights w = { 0 };
    switch (c->algorithm_type) {
    case DFX__DPMSOLVER_PP: {
        float e = expf(-h) - 1;
        w.x = sigma / sigma0;
        w.d[0] = -(alpha * e);
        w.d[1] = midpoint ? -0.5f * (alpha * e) : alpha * (e / h + 1);
        w.d[2] = -(alpha * ((e + h) / (h * h) - 0.5f));
        break;
    }
    case DFX__DPMSOLVER: {
        float e = expf(h) - 1;
        w.x = alpha / alpha0;
        w.d[0] = -(sigma * e);
        w.d[1] = midpoint ? -0.5f * (sigma * e) : -(sigma * (e / h - 1));
        w.d[2] = -(sigma * ((e - h) / (h * h) - 0.5f));
        break;
    }
    case DFX__SDE_DPMSOLVER_PP: {
        float e = 1 - expf(-2 * h);
        w.x = sigma / sigma0 * expf(-h);
        w.d[0] = alpha * e;
        w.d[1] = midpoint ? 0.5f * (alpha * e) : alpha * (e / (-2 * h) + 1);
        w.d[2] = alpha * ((e - 2 * h) / (4 * h * h) - 0.5f);
        w.noise = sigma * sqrtf(e);
        break;
    }
    default: { /* sde-dpmsolver */
        float e = expf(h) - 1;
        w.x = alpha / alpha0;
        w.d[0] = -2 * (sigma * e);
        w.d[1] = midpoint ? -(sigma * e) : -2 * (sigma * (e / h - 1));
        w.noise = sigma * sqrtf(expf(2 * h) - 1);
    }
    }
    return w;
}

static void first_order(const struct weights *w, float *const m[], float *x, size_t count)
{
    for (size_t k = 0; k < count; k++)
        x[k] = w->x * x[k] + w->d[0] * m[0][k];
}

static void second_order(const struct weights *w, float r0, float *const m[], float *x,
                         size_t count)
{
    for (size_t k = 0; k < count; k++) {
        float d1 = 1 / r0 * (m[0][k] - m[1][k]);
        x[k] = w->x * x[k] + w->d[0] * m[0][k] + w->d[1] * d1;
    }
}

static void third_order(const struct weights *w, float r0, float r1, float *const m[], float *x,
                        size_t count)
{
    for (size_t k = 0; k < count; k++) {
        float now = 1 / r0 * (m[0][k] - m[1][k]), before = 1 / r1 * (m[1][k] - m[2][k]);
        float d1 = now + r0 / (r0 + r1) * (now - before), d2 = 1 / (r0 + r1) * (now - before);
        x[k] = w->x * x[k] + w->d[0] * m[0][k] + w->d[1] * d1 + w->d[2] * d2;
    }
}

/* The order of step i: what past outputs allow, and lower at the end for stability. */
static int order_of(const dfx_scheduler *s, int i)
{
    const dfx__scheduler_config *c = &s->config;
    int order = s->taken + 1 < c->solver_order ? s->taken + 1 : c->solver_order;
    int few = c->lower_order_final && s->calls < FEW_STEPS;
    if (i == s->calls - 1 && (c->euler_at_final || few || c->final_sigmas_type == DFX__FINAL_ZERO))
        return 1;
    return i == s->calls - 2 && few && order > 2 ? 2 : order;
}

/* The model's output as x0, or as noise, into `out`. */
static void convert(const dfx_scheduler *s, int i, const float *output, const float *x, float *out,
                    size_t batch, size_t n)
{
    const dfx__scheduler_config *c = &s->config;
    float alpha, sigma;
    size_t count = batch * n;
    noise_level(s, i, &alpha, &sigma);
    if (predicts_x0(c)) {
        dfx__predict_x0(out, c->prediction_type, alpha, sigma, x, output, count);
        if (c->thresholding)
            dfx__threshold(c, out, batch, n);
        return;
    }
    dfx__predict_noise(out, c->prediction_type, alpha, sigma, x, output, count);
    if (c->thresholding) {
        dfx__predict_x0(out, DFX__EPSILON, alpha, sigma, x, out, count);
        dfx__threshold(c, out, batch, n);
        dfx__predict_noise(out, DFX__SAMPLE, alpha, sigma, x, out, count);
    }
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    int past = s->config.solver_order, order = order_of(s, i);
    size_t count = batch * n;
    DFX__TRY(dfx__reserve(s, past + 1));
    float *drawn = s->buffer[past];
    if (is_sde(&s->config))
        DFX__TRY(dfx__draw(s, noise, user, drawn));
    dfx__rotate(s, past);
    convert(s, i, model_output, x, s->buffer[0], batch, n);

    struct weights w = weigh(s, i, order);
    float h = lambda(s, i + 1) - lambda(s, i);
    float r0 = order > 1 ? (lambda(s, i) - lambda(s, i - 1)) / h : 0;
    if (order == 1)
        first_order(&w, s->buffer, x, count);
    else if (order == 2)
        second_order(&w, r0, s->buffer, x, count);
    else
        third_order(&w, r0, (lambda(s, i - 1) - lambda(s, i - 2)) / h, s->buffer, x, count);
    for (size_t k = 0; k < count && is_sde(&s->config); k++)
        x[k] += w.noise * drawn[k];
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "dpmpp_2m", "algorithm_type=dpmsolver++,solver_order=2" },
    { "dpmpp_2m_karras", "algorithm_type=dpmsolver++,solver_order=2,use_karras_sigmas=true" },
    { "dpmpp_2m_sde", "algorithm_type=sde-dpmsolver++,solver_order=2" },
    { "dpmpp_2m_sde_karras",
      "algorithm_type=sde-dpmsolver++,solver_order=2,use_karras_sigmas=true" },
    { "dpmpp_3m", "algorithm_type=dpmsolver++,solver_order=3" },
    { "dpmpp_3m_sde", "algorithm_type=sde-dpmsolver++,solver_order=3" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__dpmsolver_multistep = {
    .class_name = "DPMSolverMultistepScheduler",
    .names = names,
    .when = "the best pictures in 15 to 25 steps for most models; the sde ones add noise",
    .keys = DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS
    "solver_order=2,algorithm_type=dpmsolver++,solver_type=midpoint,lower_order_final=true,"
    "euler_at_final=false,use_lu_lambdas=false,use_flow_sigmas=false,flow_shift=1,"
    "final_sigmas_type=zero,lambda_min_clipped=-Infinity,timestep_spacing=linspace,"
    "rescale_betas_zero_snr=false,use_dynamic_shifting=false,time_shift_type=exponential,"
    "variance_type=null,",
    .call_keys = "mu=null",
    .predictions =
        1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION | 1 << DFX__FLOW_PREDICTION,
    .algorithms = 1 << DFX__DPMSOLVER | 1 << DFX__DPMSOLVER_PP | 1 << DFX__SDE_DPMSOLVER |
                  1 << DFX__SDE_DPMSOLVER_PP | 1 << DFX__DEIS,
    .custom = DFX__TIMESTEPS,
    .variance = DFX__DROPS_VARIANCE,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = noise_level,
};
