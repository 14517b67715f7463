/* pndm.c - pseudo numerical methods (Liu et al. 2022): Runge-Kutta steps first, then linear
 * multistep; or, with skip_prk_steps, the multistep alone as Stable Diffusion's PLMS has it. */
#include "scheduler/adams_bashforth.h"
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

enum {
    ORDER = DFX__ADAMS_BASHFORTH_MOST,
    PRK_CALLS = 12, /* three Runge-Kutta steps of four calls */
    SAVED = ORDER,  /* buffer: the sample that a step starts from */
    SUM = ORDER + 1 /* buffer: the Runge-Kutta sum of outputs, or the multistep one */
};

/* The top four timesteps, each with its half step: t0 h0 h0 t1 t1 h1 h1 t2 t2 h2 h2 t3. */
static void space_prk(const double *t, double half, dfx__schedule *out)
{
    for (int i = 0; i < ORDER - 1; i++) {
        double four[] = { t[i], t[i + 1] + half, t[i + 1] + half, t[i + 1] };
        memcpy(out->timesteps + 4 * i, four, sizeof four);
    }
    out->calls = PRK_CALLS;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    double *t = out->sigmas; /* room that is not needed otherwise */
    int points = dfx__space_timesteps(s, s->config.num_train_timesteps, s->steps, t);
    int first = 0; /* that the multistep takes */
    dfx__round_all(t, points);
    if (!s->config.skip_prk_steps) {
        if (points < ORDER)
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "%d steps: PNDM needs at least %d, or skip_prk_steps=true", s->steps,
                             ORDER);
        space_prk(t, s->config.num_train_timesteps / s->steps / 2, out);
        first = ORDER - 1;
    } else if (points > 1) { /* the second one comes twice */
        out->timesteps[out->calls++] = t[0];
        out->timesteps[out->calls++] = t[1];
        first = 1;
    }
    while (first < points)
        out->timesteps[out->calls++] = t[first++];
    return dfx__check_timesteps(s, out);
}

/* Formula 9: x becomes the sample at `to`, from `from` at t with the noise that was predicted. */
static void transfer(const dfx_scheduler *s, int t, int to, const float *from, const float *output,
                     float *x, size_t count)
{
    float a = dfx__alpha_at(s, t), before = dfx__alpha_before(s, to);
    float b = 1 - a, b_before = 1 - before;
    float scale = sqrtf(before / a);
    float divisor = a * sqrtf(b_before) + sqrtf(a * b * before);
    int v = s->config.prediction_type == DFX__V_PREDICTION;
    float root_a = sqrtf(a), root_b = sqrtf(b);
    for (size_t k = 0; k < count; k++) {
        float noise = v ? root_a * output[k] + root_b * from[k] : output[k];
        x[k] = scale * from[k] - (before - a) * noise / divisor;
    }
}

static void add_scaled(float *sum, float weight, const float *output, size_t count)
{
    for (size_t k = 0; k < count; k++)
        sum[k] += weight * output[k];
}

/* Call `taken` of the Runge-Kutta steps. */
static void step_prk(dfx_scheduler *s, int i, const float *output, float *x, size_t count)
{
    int half = s->config.num_train_timesteps / s->steps / 2;
    int to = (int)s->timesteps[i] - (s->taken % 2 ? 0 : half);
    float *sum = s->buffer[SUM], *saved = s->buffer[SAVED];
    switch (s->taken % 4) {
    case 0:
        memset(sum, 0, count * sizeof *sum);
        add_scaled(sum, 1.0f / 6, output, count);
        dfx__rotate(s, ORDER);
        memcpy(s->buffer[0], output, count * sizeof *output);
        memcpy(saved, x, count * sizeof *x);
        break;
    case 3:
        add_scaled(sum, 1.0f / 6, output, count);
        output = sum;
        break;
    default:
        add_scaled(sum, 1.0f / 3, output, count);
    }
    transfer(s, (int)s->timesteps[s->taken / 4 * 4], to, saved, output, x, count);
}

/* The second call: the first step again from its start, with the mean of both outputs. */
static void step_again(dfx_scheduler *s, int i, const float *output, float *x, size_t count)
{
    int to = (int)s->timesteps[i], t = to + s->config.num_train_timesteps / s->steps;
    float *sum = s->buffer[SUM];
    for (size_t k = 0; k < count; k++)
        sum[k] = (output[k] + s->buffer[0][k]) / 2;
    transfer(s, t, to, s->buffer[SAVED], sum, x, count);
}

static void step_plms(dfx_scheduler *s, int i, const float *output, float *x, size_t count)
{
    int t = (int)s->timesteps[i], to = t - s->config.num_train_timesteps / s->steps;
    int known = s->config.skip_prk_steps ? s->taken : ORDER; /* call 1 leaves no output */
    dfx__rotate(s, ORDER);
    memcpy(s->buffer[0], output, count * sizeof *output);
    if (s->taken == 0) {
        known = 1;
        memcpy(s->buffer[SAVED], x, count * sizeof *x);
    }
    dfx__adams_bashforth(s->buffer, known, s->buffer[SUM], count);
    transfer(s, t, to, x, s->buffer[SUM], x, count);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    DFX__TRY(dfx__reserve(s, SUM + 1));
    if (!s->config.skip_prk_steps && s->taken < PRK_CALLS)
        step_prk(s, i, model_output, x, batch * n);
    else if (s->taken == 1)
        step_again(s, i, model_output, x, batch * n);
    else
        step_plms(s, i, model_output, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "pndm", "" },
    { "plms", "skip_prk_steps=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__pndm = {
    .class_name = "PNDMScheduler",
    .names = names,
    .when = "Stable Diffusion 1's own (as plms); n + 1 calls of the model",
    .keys = DFX__BETA_KEYS "skip_prk_steps=false,set_alpha_to_one=false,timestep_spacing=leading,",
    .call_keys = "",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__V_PREDICTION,
    .init = dfx__make_alphas,
    .plan = plan,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
