/* cm.c - multistep sampling of consistency models (Song et al. 2023, algorithm 1). */
#include "scheduler/edm.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <math.h>

static dfx_status init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    c->clip_sample = c->clip_denoised;
    c->clip_sample_range = 1;
    if (!(c->sigma_min < c->sigma_max)) /* either may be null */
        return dfx__refuse(s, "sigma_min must be a number below sigma_max");
    if (c->num_train_timesteps < 2)
        return dfx__refuse(s, "num_train_timesteps must be 2 or more");
    return DFX_OK;
}

/* Karras et al.'s ramp over the training timesteps, 0 the noisiest, taken at some of them. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    double *taken = out->extra; /* falling */
    int stride = c->num_train_timesteps / s->steps;
    if (s->custom_timesteps)
        DFX__TRY(dfx__take_timesteps(s, taken));
    for (int i = 0; i < s->steps; i++) {
        double t = s->custom_timesteps ? taken[s->steps - 1 - i] : (double)i * stride;
        double part = t / (c->num_train_timesteps - 1);
        out->sigmas[i] = dfx__karras(c->sigma_max, c->sigma_min, c->rho, part);
        out->timesteps[i] = 1000 * 0.25 * log(out->sigmas[i] + 1e-44);
    }
    out->calls = s->steps;
    out->sigma_count = s->steps + 1;
    out->sigmas[s->steps] = c->sigma_min;
    s->init_noise_sigma = (float)c->sigma_max;
    return DFX_OK;
}

/* x0 = skip * x + out * the model's output; at sigma_min the sample is its own x0. */
static void boundary(const dfx_scheduler *s, int i, float *skip, float *out)
{
    float sigma = s->sigmas[i], data = (float)s->config.sigma_data;
    float above = sigma - (float)s->config.sigma_min;
    *skip = data * data / (above * above + data * data);
    *out = above * data / sqrtf(sigma * sigma + data * data);
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    float next = s->sigmas[i + 1], skip, out;
    DFX__TRY(dfx__reserve(s, 1));
    if (s->calls > 1) /* also in the last step, where it comes to nothing */
        DFX__TRY(dfx__draw(s, noise, user, s->buffer[0]));
    boundary(s, i, &skip, &out);
    dfx__mix(x, out, model_output, skip, x, batch * n);
    dfx__bound(c, x, batch, n);
    /* sigma_min's square is rounded from double: what is left of it may be below 0 */
    float added = sqrtf(fmaxf(next * next - (float)(c->sigma_min * c->sigma_min), 0));
    if (s->calls > 1)
        dfx__mix(x, 1, x, (float)c->s_noise * added, s->buffer[0], batch * n);
    return DFX_OK;
}

static float perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    float skip, out;
    boundary(s, i, &skip, &out);
    return (x0 - skip * x) / out;
}

static const dfx_scheduler_name names[] = {
    { "cm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__cm = {
    .class_name = "CMStochasticIterativeScheduler",
    .names = names,
    .when = "consistency models of pixels; 1 or 2 steps, or timesteps of one's own",
    .keys = "num_train_timesteps=40,sigma_min=0.002,sigma_max=80,sigma_data=0.5,s_noise=1,rho=7,"
            "clip_denoised=true,",
    .call_keys = DFX__TIMESTEPS_KEY,
    .custom = DFX__TIMESTEPS,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__sigma_noise_level,
    .input_divisor = dfx__edm_input_divisor,
    .perfect_output = perfect_output,
};
