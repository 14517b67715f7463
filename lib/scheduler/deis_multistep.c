/* deis_multistep.c - DEIS of order 1 to 3 over past model outputs, with polynomials in log rho,
 * where rho = sigma / alpha (Zhang & Chen 2023, arXiv 2204.13902). */
#include "scheduler/lambda.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    s->config.algorithm_type = DFX__DEIS; /* others stand for it, as in diffusers */
    DFX__TRY(dfx__check_mu(s));
    return dfx__init_lambda(s, 1, "");
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__plan_lambda(s, out, 1));
    return dfx__end_lambda(s, out, dfx__prolonged_sigma(s, out));
}

/* The integral to rho of the polynomial in log rho that is 1 at nodes[0] and 0 at the others. */
static double integrate(double rho, const double *nodes, int count)
{
    double l = log(rho), a = log(nodes[0]), b = log(nodes[1]);
    if (count == 2)
        return rho * (l - b - 1) / (a - b);
    double c = log(nodes[2]);
    return rho * (l * l - l * (b + c + 2) + b * c + b + c + 2) / ((a - b) * (a - c));
}

/* The weights of the outputs at rho[0] and before for a step from there to `end`. The integrals
 * cancel: in f32, as diffusers has them, 50 steps of order 3 are off by 5e-5. */
static void weigh(const double *rho, int order, double end, double *w)
{
    for (int i = 0; i < order; i++) {
        double nodes[] = { rho[i], rho[(i + 1) % order], rho[(i + 2) % order] };
        w[i] = integrate(end, nodes, order) - integrate(rho[0], nodes, order);
    }
}

static double rho_at(const dfx_scheduler *s, int i)
{
    dfx__level l = dfx__level_at(s, i);
    return (double)l.sigma / l.alpha;
}

static void higher_order(const dfx_scheduler *s, int i, int order, float *x, size_t count)
{
    float *const *m = s->buffer;
    double alpha = dfx__level_at(s, i + 1).alpha, rho[3] = { 0 }, w[3];
    float ratio = (float)(alpha / dfx__level_at(s, i).alpha);
    for (int k = 0; k < order; k++)
        rho[k] = rho_at(s, i - k);
    weigh(rho, order, rho_at(s, i + 1), w);
    for (size_t k = 0; k < count; k++) {
        x[k] *= ratio;
        for (int j = 0; j < order; j++)
            x[k] += (float)(alpha * w[j]) * m[j][k];
    }
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise, (void)user;
    int past = s->config.solver_order;
    dfx__level l = dfx__output_level(s, i);
    DFX__TRY(dfx__reserve(s, past));
    dfx__rotate(s, past);
    float *m = s->buffer[0]; /* the noise, by way of a thresholded x0 */
    dfx__convert_output(s, i, 1, model_output, x, m, batch, n);
    dfx__predict_noise(m, DFX__SAMPLE, l.alpha, l.sigma, x, m, batch * n);
    int order = dfx__multistep_order(s, i);
    if (order > 1) {
        higher_order(s, i, order, x, batch * n);
        return DFX_OK;
    }
    dfx__dpm_weights w = dfx__dpm_weigh(s, i, i + 1, 1);
    dfx__dpm_first(&w, m, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "deis", "" },
    { "deis_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__deis_multistep = {
    .class_name = "DEISMultistepScheduler",
    .names = names,
    .when = "as dpmpp_2m, for few steps of models that predict noise",
    .keys =
        DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS DFX__DYNAMIC_KEYS
    "solver_order=2,algorithm_type=deis,solver_type=logrho,lower_order_final=true,"
    "timestep_spacing=linspace,",
    .call_keys = "mu=null",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .algorithms = 1 << DFX__DEIS | 1 << DFX__DPMSOLVER | 1 << DFX__DPMSOLVER_PP,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__lambda_noise_level,
};
