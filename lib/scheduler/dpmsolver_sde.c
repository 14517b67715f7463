/* dpmsolver_sde.c - stochastic DPM-Solver++ of two calls a step, the second half way in log sigma,
 * along one Brownian motion: k-diffusion's sample_dpmpp_sde (Lu et al. 2022). */
#include "scheduler/brownian.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

enum { START, X0, NOISE, WORK, BUFFERS = WORK + 3 };

/* f32, rounded to nearest: a time that is one ulp off moves the motion by a thousandth. torch with
 * MKL is for a twentieth of its logarithms, with other builds for others. */
static float log_of(float x)
{
    return (float)log(x);
}

static float exp_of(float x)
{
    return (float)exp(x);
}

static float middle_sigma(float from, float to)
{
    float t = -log_of(from);
    return exp_of(-(t + (-log_of(to) - t) * 0.5f));
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    out->calls = dfx__space_timesteps(s, s->config.num_train_timesteps, s->steps, out->timesteps);
    out->sigma_count = out->calls;
    for (int i = 0; i < out->calls; i++)
        out->sigmas[i] = dfx__sigma_at(s, out->timesteps[i]);
    dfx__apply_ramp(s, out);
    int n = out->calls;
    double *between = out->extra + n; /* timesteps, in room that is not needed otherwise */
    for (int k = 0; k < n - 1; k++) {
        double sigma = out->sigmas[k], next = out->sigmas[k + 1];
        if (!((float)next < (float)sigma && next > 0))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "scheduler %s: sigmas must fall, but after %g comes %g: take fewer "
                             "steps, or check the beta keys",
                             s->type->class_name, sigma, next);
        between[k] = dfx__sigma_to_timestep(s, exp((log(sigma) + log(next)) / 2));
        out->extra[k] = middle_sigma((float)sigma, (float)next);
    }
    out->extra[n - 1] = 0;
    out->extra_count = n;
    dfx__finish_sigmas(s, out, 0);
    dfx__halve_steps(out, between);
    return DFX_OK;
}

/* The motion of a run, from its first step on. */
static dfx_status start_motion(dfx_scheduler *s)
{
    dfx__brownian *b = s->state;
    double seed = s->config.noise_sampler_seed;
    int64_t drawn = 0;
    if (s->taken > 0)
        return DFX_OK;
    if (isnan(seed) && !s->rng)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s needs noise_sampler_seed, or a generator from "
                         "dfx_scheduler_set_generator",
                         s->type->class_name);
    if (isnan(seed)) /* BrownianTreeNoiseSampler draws it so */
        DFX__TRY(dfx_rng_integers(s->rng, 0, INT64_MAX, &drawn, 1));
    b->start = s->sigmas[s->sigma_count - 2];
    b->end = s->sigmas[0];
    b->seed = isnan(seed) ? (uint64_t)drawn : (uint64_t)seed;
    return DFX_OK;
}

/* x from `start`, at sigma `from`, to `to`, on the way that x0 tells, with noise of the motion. */
static void move(dfx_scheduler *s, float from, float to, const float *start, const float *x0,
                 float *x)
{
    float down, up, *noise = s->buffer[NOISE], s_noise = (float)s->config.s_noise;
    dfx__split_ancestral(from, to, &down, &up);
    if (!(up < to))
        up = to, down = 0;
    float t = -log_of(from), end = -log_of(down);
    float keep = exp_of(-end) / from, weight = expm1f(t - end);
    dfx__brownian_noise(s->state, from, to, noise, s->buffer + WORK, s->elements);
    for (size_t k = 0; k < s->elements; k++)
        x[k] = keep * start[k] - weight * x0[k] + noise[k] * s_noise * up;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    size_t count = batch * n;
    int second = i % 2;
    float sigma = s->sigmas[i - second], next = s->sigmas[i - second + 1], middle = s->extra[i / 2];
    DFX__TRY(dfx__check_half_step(s, i));
    DFX__TRY(start_motion(s));
    DFX__TRY(dfx__reserve(s, BUFFERS));
    if (next == 0) {
        dfx__sigma_step(s, sigma, -sigma, x, x, model_output);
        return DFX_OK;
    }
    float *start = s->buffer[START], *x0 = s->buffer[X0], at = second ? middle : sigma;
    for (size_t k = 0; k < count; k++)
        x0[k] = dfx__sigma_x0(s->config.prediction_type, at, x[k], model_output[k]);
    if (!second)
        memcpy(start, x, count * sizeof *x);
    float from = exp_of(log_of(sigma)), to = second ? exp_of(log_of(next)) : middle;
    move(s, from, to, start, x0, x);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "dpmpp_sde", "" },
    { "dpmpp_sde_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__dpmsolver_sde = {
    .class_name = "DPMSolverSDEScheduler",
    .names = names,
    .when = "DPM++ SDE: fine detail in 10 to 15 steps, at 2 n - 1 calls of the model",
    .keys = DFX__BETA_KEYS_FROM("0.00085", "0.012") DFX__SIGMA_KEYS
    "noise_sampler_seed=null,timestep_spacing=linspace,",
    .call_keys = "s_noise=1",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .state_size = sizeof(dfx__brownian),
    .order = 2,
    .init = dfx__make_sigmas_karras,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__half_step_divisor,
    .perfect_output = dfx__half_step_output,
};
