/* lms.c - linear multistep (Adams-Bashforth for uneven steps) on the probability-flow ODE, as
 * k-diffusion's sample_lms. */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

/* The Lagrange polynomial that is 1 at sigma i - j and 0 at the others of `order` sigmas. */
static double lagrange(const float *sigma, int order, int j, double at)
{
    double product = 1;
    for (int k = 0; k < order; k++)
        if (k != j)
            product *= (at - sigma[-k]) / (sigma[-j] - sigma[-k]);
    return product;
}

/* Its integral over the step; diffusers' adaptive quadrature ends at the same up to its rounding.
 * Gauss's four points are exact up to degree 7, which is `order` 8. */
static float weight(const float *sigma, int order, int j)
{
    static const double points[] = { 0.33998104358485626, 0.86113631159405258 };
    static const double weights[] = { 0.65214515486254614, 0.34785484513745386 };
    double middle = ((double)sigma[1] + sigma[0]) / 2, half = ((double)sigma[1] - sigma[0]) / 2;
    double sum = 0;
    for (int k = 0; k < 2; k++)
        sum += weights[k] * (lagrange(sigma, order, j, middle - half * points[k]) +
                             lagrange(sigma, order, j, middle + half * points[k]));
    return (float)(half * sum);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    const float *sigma = s->sigmas + i;
    size_t count = batch * n;
    /* A run that starts later has fewer slopes than the order that its sigmas allow: those that are
     * missing count as 0, as in diffusers. */
    int most = s->config.order, order = least(i + 1, most), known = least(s->taken + 1, order);
    DFX__TRY(dfx__reserve(s, most));
    dfx__rotate(s, most);
    float *slope = s->buffer[0];
    for (size_t k = 0; k < count; k++) {
        float x0 = dfx__sigma_x0(s->config.prediction_type, *sigma, x[k], model_output[k]);
        slope[k] = (x[k] - x0) / *sigma;
    }
    float weights[DFX__MAX_BUFFERS];
    for (int j = 0; j < known; j++)
        weights[j] = weight(sigma, order, j);
    for (size_t k = 0; k < count; k++) {
        float sum = 0;
        for (int j = 0; j < known; j++)
            sum += weights[j] * s->buffer[j][k];
        x[k] += sum;
    }
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "lms", "" },
    { "lms_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__lms = {
    .class_name = "LMSDiscreteScheduler",
    .names = names,
    .when = "early Stable Diffusion models; 30 steps or more",
    .keys = DFX__BETA_KEYS DFX__SIGMA_KEYS "timestep_spacing=linspace,",
    .call_keys = "order=4",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .init = dfx__make_sigmas_karras,
    .plan = dfx__plan_sigmas,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__sigma_input_divisor,
};
