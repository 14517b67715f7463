/* sigma_solver.c - schedules and steps of samples x = x0 + sigma * noise (Karras et al. 2022). */
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

dfx_status dfx__make_sigmas_karras(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    if (c->use_karras_sigmas)
        c->sigma_min = c->sigma_max = NAN;
    return dfx__make_sigmas(s);
}

void dfx__select_sigmas(const dfx_scheduler *s, dfx__schedule *out)
{
    double *t = out->timesteps;
    out->calls = s->steps;
    if (s->custom_timesteps)
        for (int i = 0; i < s->steps; i++)
            t[i] = s->custom_timesteps[i];
    else
        out->calls = dfx__space_timesteps(s, s->config.num_train_timesteps, s->steps, t);
    out->sigma_count = out->calls;
    for (int i = 0; i < out->calls; i++) {
        t[i] = (float)t[i]; /* linspace makes fractions, in f32 */
        out->sigmas[i] = dfx__sigma_at(s, t[i]);
    }
}

void dfx__apply_ramp(const dfx_scheduler *s, dfx__schedule *out)
{
    dfx__ramp ramp = dfx__which_ramp(&s->config);
    if (ramp == DFX__NO_RAMP)
        return;
    double first = out->sigmas[0], last = out->sigmas[out->sigma_count - 1];
    dfx__ramp_sigmas(s, ramp, first, last, s->steps, out->sigmas);
    out->calls = out->sigma_count = s->steps;
    for (int i = 0; i < out->calls; i++)
        out->timesteps[i] = dfx__sigma_to_timestep(s, out->sigmas[i]);
}

void dfx__finish_sigmas(dfx_scheduler *s, dfx__schedule *out, double last)
{
    float most = 0;
    out->sigmas[out->sigma_count++] = last;
    for (int i = 0; i < out->sigma_count; i++)
        most = fmaxf(most, (float)out->sigmas[i]);
    int leading = s->config.timestep_spacing == DFX__LEADING;
    s->init_noise_sigma = leading ? sqrtf(most * most + 1) : most;
}

dfx_status dfx__check_custom_ramps(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    DFX__TRY(dfx__check_custom(s, c->use_karras_sigmas, "use_karras_sigmas"));
    DFX__TRY(dfx__check_custom(s, c->use_exponential_sigmas, "use_exponential_sigmas"));
    return dfx__check_custom(s, c->use_beta_sigmas, "use_beta_sigmas");
}

dfx_status dfx__plan_sigmas(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__check_custom_ramps(s));
    dfx__select_sigmas(s, out);
    dfx__apply_ramp(s, out);
    dfx__finish_sigmas(s, out, 0);
    return DFX_OK;
}

/* list[0] between[0] list[1] between[1] ... list[n - 1] */
static void interleave(double *list, int n, const double *between)
{
    for (int k = n - 1; k > 0; k--) {
        double middle = between[k - 1];
        list[2 * k] = list[k];
        list[2 * k - 1] = middle;
    }
}

void dfx__halve_steps(dfx__schedule *out, const double *between)
{
    int n = out->calls;
    out->sigmas[2 * n - 1] = out->sigmas[n];
    interleave(out->sigmas, n, out->sigmas + 1);
    interleave(out->timesteps, n, between);
    out->calls = 2 * n - 1;
    out->sigma_count = 2 * n;
}

dfx_status dfx__check_half_step(const dfx_scheduler *s, int i)
{
    if (s->taken > 0 || i % 2 == 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "step %d: a step of %s has two calls; start with an even one", i,
                     s->type->class_name);
}

static float half_step_sigma(const dfx_scheduler *s, int i)
{
    return i % 2 ? s->extra[i / 2] : s->sigmas[i];
}

static float divisor(float sigma)
{
    return sqrtf(sigma * sigma + 1);
}

float dfx__half_step_divisor(const dfx_scheduler *s, int i)
{
    return divisor(half_step_sigma(s, i));
}

float dfx__half_step_output(const dfx_scheduler *s, int i, float x0, float x)
{
    float sigma = half_step_sigma(s, i), noise = (x - x0) / sigma;
    return s->config.prediction_type == DFX__EPSILON ? noise
                                                     : (noise - sigma * x0) / divisor(sigma);
}

float dfx__sigma_x0(int prediction, float sigma, float x, float output)
{
    switch (prediction) {
    case DFX__EPSILON:
        return x - sigma * output;
    case DFX__V_PREDICTION:
        return output * (-sigma / sqrtf(sigma * sigma + 1)) + x / (sigma * sigma + 1);
    default: /* the sample itself, under either name */
        return output;
    }
}

void dfx__sigma_step(const dfx_scheduler *s, float sigma, float dt, const float *from, float *x,
                     const float *output)
{
    for (size_t k = 0; k < s->elements; k++) {
        float x0 = dfx__sigma_x0(s->config.prediction_type, sigma, x[k], output[k]);
        x[k] = from[k] + (x[k] - x0) / sigma * dt;
    }
}

void dfx__split_ancestral(float from, float to, float *down, float *up)
{
    float square = to * to;
    *up = sqrtf(square * (from * from - square) / (from * from));
    *down = sqrtf(square - *up * *up);
}

dfx_status dfx__add_drawn(const dfx_scheduler *s, float scale, float *drawn, float *x,
                          dfx_noise_function *noise, void *user)
{
    DFX__TRY(dfx__draw(s, noise, user, drawn));
    for (size_t k = 0; k < s->elements; k++)
        x[k] += drawn[k] * scale;
    return DFX_OK;
}

void dfx__sigma_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    *alpha = 1;
    *sigma = s->sigmas[i];
}

float dfx__sigma_input_divisor(const dfx_scheduler *s, int i)
{
    return divisor(s->sigmas[i]);
}
