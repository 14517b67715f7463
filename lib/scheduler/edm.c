/* edm.c - sigmas and preconditioning of EDM (Karras et al. 2022, table 1): the model sees samples
 * of size sigma_data and speaks of a mix of sample and noise. */
#include "scheduler/edm.h"

#include "core/status.h"

#include <math.h>

/* The same as dfx__karras, whose roots are mixed in f32. */
static float karras_f32(double most, double least, double rho, float part)
{
    double most_root = pow(most, 1 / rho), least_root = pow(least, 1 / rho);
    float root = part * (float)(least_root - most_root) + (float)most_root;
    return (float)pow(root, rho);
}

void dfx__plan_edm(dfx_scheduler *s, dfx__schedule *out, int f32)
{
    const dfx__scheduler_config *c = &s->config;
    int n = s->steps;
    float from = (float)log(c->sigma_min), to = (float)log(c->sigma_max);
    for (int i = 0; i < n; i++)
        if (c->sigma_schedule == DFX__SCHEDULE_EXPONENTIAL)
            out->sigmas[i] = (float)exp(dfx__linspace_f32(from, to, n, n - 1 - i));
        else if (f32)
            out->sigmas[i] =
                karras_f32(c->sigma_max, c->sigma_min, c->rho, dfx__linspace_f32(0, 1, n, i));
        else
            out->sigmas[i] =
                (float)dfx__karras(c->sigma_max, c->sigma_min, c->rho, dfx__linspace(0, 1, n, i));
    out->calls = out->sigma_count = n;
    s->init_noise_sigma = (float)sqrt(c->sigma_max * c->sigma_max + 1);
}

/* The output's part in x0; its sign is v's with v_prediction. */
static float output_scale(const dfx__scheduler_config *c, float sigma)
{
    float data = (float)c->sigma_data, scale = sigma * data / sqrtf(sigma * sigma + data * data);
    return c->prediction_type == DFX__V_PREDICTION ? -scale : scale;
}

static float skip_scale(const dfx__scheduler_config *c, float sigma)
{
    float data = (float)c->sigma_data;
    return data * data / (sigma * sigma + data * data);
}

float dfx__edm_x0(const dfx__scheduler_config *c, float sigma, float x, float output)
{
    return skip_scale(c, sigma) * x + output_scale(c, sigma) * output;
}

float dfx__edm_input_divisor(const dfx_scheduler *s, int i)
{
    float sigma = s->sigmas[i], data = (float)s->config.sigma_data;
    return sqrtf(sigma * sigma + data * data);
}

float dfx__edm_perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    const dfx__scheduler_config *c = &s->config;
    return (x0 - skip_scale(c, s->sigmas[i]) * x) / output_scale(c, s->sigmas[i]);
}
