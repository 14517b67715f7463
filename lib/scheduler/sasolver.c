/* sasolver.c - SA-Solver, a stochastic Adams method with a predictor and a corrector of order 1 to
 * 4 over past model outputs (Xue et al. 2023, arXiv 2309.05019). */
#include "scheduler/lambda.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

enum { MAX_ORDER = 4 };

static int integrates_x0(const dfx_scheduler *s)
{
    return s->config.algorithm_type == DFX__DATA_PREDICTION;
}

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.thresholding && !integrates_x0(s)) /* diffusers fails in the first step */
        return dfx__refuse(s, "thresholding needs algorithm_type data_prediction");
    return dfx__init_lambda(s, integrates_x0(s), "algorithm_type data_prediction");
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__plan_lambda(s, out, 1));
    return dfx__end_lambda(s, out, dfx__prolonged_sigma(s, out));
}

/* How much noise the steps add at call i's timestep: diffusers' default of tau_func. */
static double tau_at(const dfx_scheduler *s, int i)
{
    return s->timesteps[i] >= 200 && s->timesteps[i] <= 800;
}

/* In double, as all that follows from it. */
static double lambda_at(const dfx_scheduler *s, int i)
{
    dfx__level l = dfx__level_at(s, i);
    return log(l.alpha) - log(l.sigma);
}

/* p[k]: the coefficient of u^k in the Lagrange polynomial that is 1 at node i and 0 at the others.
 */
static void lagrange(const double *nodes, int count, int i, double *p)
{
    int degree = 0;
    p[0] = 1;
    for (int j = 0; j < count; j++) {
        if (j == i)
            continue;
        double scale = nodes[i] - nodes[j];
        p[++degree] = 0;
        for (int k = degree; k >= 0; k--)
            p[k] = ((k > 0 ? p[k - 1] : 0) - nodes[j] * p[k]) / scale;
    }
}

/* moments[k]: the integral of u^k * exp(c * u) from -h to 0. */
static void integrate_powers(double c, double h, int count, double *moments)
{
    for (int k = 0; k < count; k++)
        moments[k] =
            k == 0 ? -expm1(-c * h) / c : (-pow(-h, k) * exp(-c * h) - k * moments[k - 1]) / c;
}

/* The weights of the outputs at the nodes, whose lambdas are relative to the step's end; the step
 * is h long. c: the growth of what is integrated. diffusers takes the integrals from lambda 0 and
 * in f32, where they cancel: 50 steps of order 3 are off by 3e-5, of order 4 by 5e-4. */
static void weigh(const double *nodes, int order, double c, double h, int x0, double *w)
{
    double moments[MAX_ORDER], p[MAX_ORDER];
    integrate_powers(c, h, order, moments);
    for (int i = 0; i < order; i++) {
        lagrange(nodes, order, i, p);
        w[i] = 0;
        for (int k = 0; k < order; k++)
            w[i] += p[k] * moments[k];
    }
    if (x0 && order == 2) { /* the authors' code, not the paper */
        double more = h * h / 2 - (h * c + expm1(-c * h)) / (c * c);
        w[0] += more / (nodes[0] - nodes[1]);
        w[1] -= more / (nodes[0] - nodes[1]);
    }
}

/* A step from sigma `from` to the next one, over the outputs m at sigma `newest` and before. */
static void update(const dfx_scheduler *s, int from, int newest, int order, float *const m[],
                   const float *drawn, float *x, size_t count)
{
    dfx__level start = dfx__level_at(s, from), end = dfx__level_at(s, from + 1);
    int x0 = integrates_x0(s);
    double tau = tau_at(s, from), h = lambda_at(s, from + 1) - lambda_at(s, from);
    double nodes[MAX_ORDER], w[MAX_ORDER], growth = 1 + tau * tau;
    for (int k = 0; k < order; k++)
        nodes[k] = lambda_at(s, newest - k) - lambda_at(s, from + 1);
    weigh(nodes, order, x0 ? growth : -1, h, x0, w);
    double scale = x0 ? growth * end.alpha : -growth * end.sigma;
    float ratio = (float)(x0 ? exp(-tau * tau * h) * end.sigma / start.sigma
                             : (double)end.alpha / start.alpha);
    float noise =
        (float)(end.sigma * (x0 ? sqrt(-expm1(-2 * tau * tau * h)) : tau * sqrt(expm1(2 * h))));
    for (size_t e = 0; e < count; e++) {
        float sum = 0;
        for (int k = 0; k < order; k++)
            sum += (float)(scale * w[k]) * m[k][e];
        x[e] = ratio * x[e] + sum + noise * drawn[e];
    }
}

/* The least of the order that is asked for, what past outputs allow, and what is left at the end.
 */
static int order_of(const dfx_scheduler *s, int order, int known, int left)
{
    order = known < order ? known : order;
    return s->config.lower_order_final && left < order ? left : order;
}

/* A learned variance is dropped. With one diffusers' class fails, as it draws noise of the output's
 * shape. */
static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    int predictor = s->config.predictor_order, corrector = s->config.corrector_order;
    int past = predictor > corrector ? predictor : corrector, left = s->calls - i;
    size_t count = batch * n;
    DFX__TRY(dfx__reserve(s, past + 3));
    float **b = s->buffer, *drawn = b[past], *last_drawn = b[past + 1], *before = b[past + 2];
    DFX__TRY(dfx__draw(s, noise, user, drawn));
    dfx__rotate(s, past);
    dfx__convert_output(s, i, integrates_x0(s), model_output, x, b[0], batch, n);
    if (s->taken > 0) {
        memcpy(x, before, count * sizeof *x);
        update(s, i - 1, i, order_of(s, corrector, s->taken + 1, left + 2), b, last_drawn, x,
               count);
    }
    memcpy(before, x, count * sizeof *x);
    update(s, i, i, order_of(s, predictor, s->taken + 1, left), b, drawn, x, count);
    b[past] = last_drawn;
    b[past + 1] = drawn;
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "sa_solver", "algorithm_type=data_prediction" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__sasolver = {
    .class_name = "SASolverScheduler",
    .names = names,
    .when = "adds noise between timesteps 800 and 200: varied pictures in 20 and more steps",
    .keys = DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS
    "predictor_order=2,corrector_order=2,tau_func=null,algorithm_type=data_prediction,"
    "lower_order_final=true,lambda_min_clipped=-Infinity,variance_type=null,"
    "timestep_spacing=linspace,",
    .call_keys = "",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .algorithms = 1 << DFX__DATA_PREDICTION | 1 << DFX__NOISE_PREDICTION,
    .variance = DFX__DROPS_VARIANCE,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
