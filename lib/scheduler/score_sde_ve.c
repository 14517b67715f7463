/* score_sde_ve.c - the variance exploding SDE of score-based models (Song et al. 2021): at each
 * timestep Langevin corrections, then a prediction (algorithms 2 and 4). Each is a call of the
 * model, which takes the call's sigma and gives the score. */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

/* s->extra has the ladder of sigmas between which predictions step, rising. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    int each = c->correct_steps + 1;
    float least = (float)c->sigma_min, ratio = (float)(c->sigma_max / c->sigma_min);
    float from = (float)log(c->sigma_min), to = (float)log(c->sigma_max);
    DFX__TRY(dfx__reserve_schedule(out, (size_t)s->steps * (size_t)each));
    out->calls = out->sigma_count = s->steps * each;
    for (int i = 0; i < out->calls; i++) {
        float t = dfx__linspace_f32(1, (float)c->sampling_eps, s->steps, i / each);
        out->timesteps[i] = t;
        out->sigmas[i] = least * powf(ratio, t);
    }
    out->extra_count = s->steps;
    for (int i = 0; i < s->steps; i++)
        out->extra[i] = expf(dfx__linspace_f32(from, to, s->steps, i));
    s->init_noise_sigma = (float)c->sigma_max;
    return DFX_OK;
}

/* Where call i is on the ladder. */
static int rung(const dfx_scheduler *s, int i)
{
    return (int)(s->timesteps[i] * (float)(s->steps - 1));
}

/* The mean norm of `batch` samples. */
static double mean_norm(const float *x, size_t batch, size_t n)
{
    double sum = 0;
    for (size_t b = 0; b < batch; b++) {
        double squares = 0;
        for (size_t k = 0; k < n; k++)
            squares += (double)x[b * n + k] * x[b * n + k];
        sum += sqrt(squares);
    }
    return sum / (double)batch;
}

static dfx_status correct(const dfx_scheduler *s, const float *score, float *x, size_t batch,
                          size_t n)
{
    const float *drawn = s->buffer[0];
    double norm = mean_norm(score, batch, n);
    if (norm == 0)
        return dfx__refuse(s, "a correction needs a score other than 0: check the model, "
                              "or choose correct_steps=0");
    double part = s->config.snr * mean_norm(drawn, batch, n) / norm, size = 2 * part * part;
    dfx__mix(x, 1, x, (float)size, score, batch * n);
    dfx__mix(x, 1, x, (float)sqrt(2 * size), drawn, batch * n);
    return DFX_OK;
}

/* The last prediction leaves out its noise: the mean is diffusers' picture. */
static void predict(const dfx_scheduler *s, int i, const float *score, float *x, size_t count)
{
    int k = rung(s, i);
    float sigma = s->extra[k], next = k > 0 ? s->extra[k - 1] : 0;
    float diffusion = sqrtf(sigma * sigma - next * next);
    dfx__mix(x, 1, x, diffusion * diffusion, score, count);
    if (i + 1 < s->calls)
        dfx__mix(x, 1, x, diffusion, s->buffer[0], count);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    int each = s->config.correct_steps + 1;
    DFX__TRY(dfx__reserve(s, 1));
    DFX__TRY(dfx__draw(s, noise, user, s->buffer[0]));
    if (i % each < each - 1)
        return correct(s, model_output, x, batch, n);
    predict(s, i, model_output, x, batch * n);
    return DFX_OK;
}

static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    *alpha = 1;
    *sigma = s->extra[rung(s, i)];
}

static float perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    float sigma = s->extra[rung(s, i)];
    return (x0 - x) / (sigma * sigma);
}

static const dfx_scheduler_name names[] = {
    { "score_sde_ve", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__score_sde_ve = {
    .class_name = "ScoreSdeVeScheduler",
    .names = names,
    .when =
        "NCSN++ models of pixels, which take the call's sigma; 1000 to 2000 steps, two calls each",
    .keys = "num_train_timesteps=2000,snr=0.15,sigma_min=0.01,sigma_max=1348,sampling_eps=1e-05,"
            "correct_steps=1,",
    .call_keys = "",
    .any_steps = 1,
    .init = dfx__check_sigma_range,
    .plan = plan,
    .step = step,
    .noise_level = noise_level,
    .perfect_output = perfect_output,
};
