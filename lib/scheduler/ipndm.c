/* ipndm.c - improved pseudo linear multistep (Liu et al. 2022; Zhang & Chen 2023), as Dance
 * Diffusion has it: a schedule of angles, for models that predict v. */
#include "scheduler/adams_bashforth.h"
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

enum { ORDER = DFX__ADAMS_BASHFORTH_MOST, SUM = ORDER /* buffer */ };

/* The noise of a sample is s->extra[i], its signal is alpha_of that. */
static float alpha_of(float beta)
{
    return sqrtf(1 - beta * beta);
}

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.trained_betas.count == 1)
        return dfx__refuse(s, "trained_betas must be two or more");
    return DFX_OK;
}

static dfx_status plan_levels(const dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__floats *trained = &s->config.trained_betas;
    out->extra_count = trained->values ? trained->count : s->steps + 1;
    DFX__TRY(dfx__reserve_schedule(out, (size_t)out->extra_count));
    for (int i = 0; i < out->extra_count; i++) {
        float sine = sinf(dfx__linspace_f32(1, 0, s->steps + 1, i) * (float)M_PI / 2);
        out->extra[i] = trained->values ? trained->values[i] : sine * sine;
    }
    return DFX_OK;
}

/* trained_betas give their own number of steps, as in diffusers. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(plan_levels(s, out));
    out->calls = out->extra_count - 1;
    for (int i = 0; i < out->calls; i++) {
        float beta = (float)out->extra[i];
        out->timesteps[i] = atan2f(beta, alpha_of(beta)) / (float)M_PI * 2;
    }
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise;
    (void)user;
    size_t count = batch * n;
    float beta = s->extra[i], next = s->extra[i + 1], alpha = alpha_of(beta);
    float next_alpha = alpha_of(next);
    DFX__TRY(dfx__reserve(s, SUM + 1));
    dfx__rotate(s, ORDER);
    float *eps = s->buffer[0], *sum = s->buffer[SUM];
    for (size_t k = 0; k < count; k++)
        eps[k] = x[k] * beta + model_output[k] * alpha;
    dfx__adams_bashforth(s->buffer, s->taken + 1, sum, count);
    for (size_t k = 0; k < count; k++)
        x[k] = next_alpha * ((x[k] - beta * sum[k]) / fmaxf(alpha, 1e-8f)) + sum[k] * next;
    return DFX_OK;
}

static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    *sigma = s->extra[i];
    *alpha = alpha_of(*sigma);
}

/* v */
static float perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    float sigma = s->extra[i];
    return (alpha_of(sigma) * x - x0) / sigma;
}

static const dfx_scheduler_name names[] = {
    { "ipndm", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__ipndm = {
    .class_name = "IPNDMScheduler",
    .names = names,
    .when = "Dance Diffusion's own, for models that predict v of an angle",
    .keys = "num_train_timesteps=1000,trained_betas=null,",
    .call_keys = "",
    .any_steps = 1,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = noise_level,
    .perfect_output = perfect_output,
};
