/* sigmas.c - noise levels of the sigma solvers: over training timesteps, and the ways to space
 * them. As in diffusers the table is f32 and what is computed from it is double. */
#include "scheduler/flow.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>

dfx_status dfx__make_sigmas(dfx_scheduler *s)
{
    DFX__TRY(dfx__make_alphas(s));
    size_t count = (size_t)s->train;
    s->train_sigmas = dfx__alloc(count, sizeof *s->train_sigmas);
    s->log_train_sigmas = dfx__alloc(count, sizeof *s->log_train_sigmas);
    if (!s->train_sigmas || !s->log_train_sigmas)
        return dfx__no_memory();
    if (s->config.rescale_betas_zero_snr)
        s->alphas_cumprod[count - 1] = 0x1p-24f; /* so that its sigma is not infinite */
    for (size_t i = 0; i < count; i++) {
        float a = s->alphas_cumprod[i];
        s->train_sigmas[i] = sqrtf((1 - a) / a);
        s->log_train_sigmas[i] = logf(s->train_sigmas[i]);
    }
    return DFX_OK;
}

double dfx__sigma_at(const dfx_scheduler *s, double t)
{
    int last = s->train - 1;
    if (!(t > 0))
        return s->train_sigmas[0];
    if (t >= last)
        return s->train_sigmas[last];
    int i = (int)t;
    double low = s->train_sigmas[i], high = s->train_sigmas[i + 1];
    return t == i ? low : (high - low) * (t - i) + low;
}

/* The last timestep but one at most whose log sigma is not above; the first one when there is none.
 */
static int find_timestep(const dfx_scheduler *s, double log_sigma)
{
    int low = 0, high = s->train - 2;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (log_sigma >= s->log_train_sigmas[middle])
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

double dfx__sigma_to_timestep(const dfx_scheduler *s, double sigma)
{
    double log_sigma = log(fmax(sigma, 1e-10));
    if (s->train < 2)
        return 0;
    int i = find_timestep(s, log_sigma);
    float low = s->log_train_sigmas[i], high = s->log_train_sigmas[i + 1];
    double w = (low - log_sigma) / (low - high);
    w = w < 0 ? 0 : w > 1 ? 1 : w;
    return (1 - w) * i + w * (i + 1);
}

float dfx__sigma_to_timestep_f32(const dfx_scheduler *s, float sigma)
{
    float log_sigma = logf(fmaxf(sigma, 1e-10f));
    if (s->train < 2)
        return 0;
    int i = find_timestep(s, log_sigma);
    float low = s->log_train_sigmas[i], high = s->log_train_sigmas[i + 1];
    float w = (low - log_sigma) / (low - high);
    w = w < 0 ? 0 : w > 1 ? 1 : w;
    return (1 - w) * (float)i + w * (float)(i + 1);
}

double dfx__last_sigma(const dfx_scheduler *s)
{
    return s->config.final_sigmas_type == DFX__FINAL_ZERO ? 0 : s->train_sigmas[0];
}

double dfx__linspace(double from, double to, int n, int i)
{
    return n > 1 && i == n - 1 ? to : n > 1 ? i * ((to - from) / (n - 1)) + from : from;
}

dfx_status dfx__check_sigma_range(dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    int in_range = c->sigma_min > 0 && c->sigma_max > c->sigma_min; /* either may be null */
    return dfx__refuse(s, in_range ? NULL
                                   : "sigma_min must be above 0, and sigma_max above sigma_min");
}

dfx__ramp dfx__which_ramp(const dfx__scheduler_config *c)
{
    if (c->use_karras_sigmas)
        return DFX__KARRAS;
    if (c->use_lu_lambdas)
        return DFX__LU;
    if (c->use_exponential_sigmas)
        return DFX__EXPONENTIAL;
    if (c->use_beta_sigmas)
        return DFX__BETA;
    return c->use_flow_sigmas ? DFX__FLOW : DFX__NO_RAMP;
}

static double flow_sigma(const dfx__scheduler_config *c, int n, int i)
{
    double shift = isnan(c->mu) ? c->flow_shift : exp(c->mu);
    return dfx__shift_sigma(shift, 1 - dfx__linspace(1, 1.0 / c->num_train_timesteps, n + 1, n - i),
                            0);
}

static double lu_sigma(const dfx_scheduler *s, double part)
{
    double most = s->log_train_sigmas[s->train - 1], least = s->log_train_sigmas[0];
    return exp(most + part * (least - most));
}

double dfx__karras(double most, double least, double rho, double part)
{
    double most_root = pow(most, 1 / rho), least_root = pow(least, 1 / rho);
    return pow(most_root + part * (least_root - most_root), rho);
}

void dfx__ramp_sigmas(const dfx_scheduler *s, dfx__ramp ramp, double first, double last, int n,
                      double *sigmas)
{
    const dfx__scheduler_config *c = &s->config;
    const double rho = 7, a = 0.6;
    double most = isnan(c->sigma_max) ? first : c->sigma_max;
    double least = isnan(c->sigma_min) ? last : c->sigma_min;
    for (int i = 0; i < n; i++) {
        double part = dfx__linspace(0, 1, n, i);
        if (ramp == DFX__KARRAS)
            sigmas[i] = dfx__karras(most, least, rho, part);
        else if (ramp == DFX__LU)
            sigmas[i] = lu_sigma(s, part);
        else if (ramp == DFX__EXPONENTIAL)
            sigmas[i] = exp(dfx__linspace(log(most), log(least), n, i));
        else if (ramp == DFX__BETA)
            sigmas[i] = least + dfx__beta_quantile(1 - part, a) * (most - least);
        else
            sigmas[i] = flow_sigma(c, n, i);
    }
}

/* How much larger than sigma the noise is made. */
static float churn(const dfx_scheduler *s, float sigma)
{
    const dfx__scheduler_config *c = &s->config;
    if (!(sigma >= (float)c->s_tmin && sigma <= (float)c->s_tmax))
        return 0;
    return (float)fmin(c->s_churn / (s->sigma_count - 1), sqrt(2) - 1);
}

dfx_status dfx__churn(const dfx_scheduler *s, float sigma, float *drawn, float *x,
                      dfx_noise_function *noise, void *user, float *sigma_hat)
{
    float gamma = churn(s, sigma);
    *sigma_hat = sigma * (gamma + 1);
    if (!(gamma > 0))
        return DFX_OK;
    DFX__TRY(dfx__draw(s, noise, user, drawn));
    float s_noise = (float)s->config.s_noise;
    float added = sqrtf(*sigma_hat * *sigma_hat - sigma * sigma);
    for (size_t k = 0; k < s->elements; k++)
        x[k] += drawn[k] * s_noise * added;
    return DFX_OK;
}
