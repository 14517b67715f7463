/* repaint.c - RePaint (Lugmayr et al. 2022, algorithm 1): DDIM steps that take the known part from
 * a picture, and go back up to noisier timesteps again and again so that both parts agree. */
#include "scheduler/list.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CALLS = 1000000 };

/* The picture and its mask, one allocation. */
struct known {
    float *picture, *mask;
    size_t elements;
};

static dfx_status init(dfx_scheduler *s)
{
    if (s->config.eta > 1)
        return dfx__refuse(s, "eta must be a number from 0 to 1");
    s->config.clip_sample_range = s->config.set_alpha_to_one = 1; /* no keys of this class */
    s->own = dfx__alloc(1, sizeof(struct known));
    if (!s->own)
        return dfx__no_memory();
    return dfx__make_alphas(s);
}

static void close_known(dfx_scheduler *s)
{
    struct known *known = s->own;
    if (known)
        free(known->picture);
    free(known);
}

dfx_status dfx_scheduler_set_inpaint(dfx_scheduler *s, const float *picture, const float *mask,
                                     size_t elements)
{
    if (s->type != &dfx__repaint)
        return dfx__refuse(s, "takes no picture to inpaint, RePaintScheduler does");
    struct known *known = s->own;
    float *copy = dfx__alloc(elements, 2 * sizeof *copy);
    if (!copy)
        return dfx__no_memory();
    free(known->picture);
    *known = (struct known){ copy, copy + elements, elements };
    memcpy(known->picture, picture, elements * sizeof *copy);
    memcpy(known->mask, mask, elements * sizeof *copy);
    return DFX_OK;
}

/* Calls go down to 0; from every jump_length-th of the lower timesteps jump_n_sample - 1 times up
 * again by jump_length. s->extra has how many timesteps go up after each call. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    int length = c->jump_length, stride = c->num_train_timesteps / s->steps;
    int jumps = s->steps > length ? (s->steps - length - 1) / length + 1 : 0;
    double calls = s->steps + (double)jumps * (c->jump_n_sample - 1) * length;
    if (calls > MOST_CALLS)
        return dfx__fail(
            DFX_ERROR_ARGUMENT,
            "scheduler %s: %d steps with jump_n_sample %d are %.0f calls of the model: "
            "must be %d at most",
            s->type->class_name, s->steps, c->jump_n_sample, calls, MOST_CALLS);
    DFX__TRY(dfx__reserve_schedule(out, (size_t)calls));
    double *left = out->sigmas; /* jumps of each place; the room is not needed otherwise */
    for (int k = 0; k < jumps; k++)
        left[k] = c->jump_n_sample - 1;
    for (int t = s->steps - 1; t >= 0; t--) {
        int jump = t % length == 0 && t / length < jumps && left[t / length]-- > 0;
        out->timesteps[out->calls] = (double)t * stride;
        out->extra[out->calls++] = jump ? length : 0;
        t += jump ? length : 0;
    }
    out->extra_count = out->calls;
    return dfx__check_timesteps(s, out);
}

/* Formula 8: the known part of the picture at the step's end, the unknown one by DDIM's step. */
static void step_down(const dfx_scheduler *s, int t, const float *output, float *x, size_t batch,
                      size_t n)
{
    const struct known *known = s->own;
    float *x0 = s->buffer[0];
    const float *drawn = s->buffer[1], *mask = known->mask;
    float a = dfx__alpha_at(s, t);
    float before = dfx__alpha_before(s, t - s->config.num_train_timesteps / s->steps);
    dfx__predict_x0(x0, DFX__EPSILON, sqrtf(a), sqrtf(1 - a), x, output, batch * n);
    dfx__bound(&s->config, x0, batch, n);
    float deviation = (float)s->config.eta * sqrtf(dfx__posterior_variance(a, before));
    float keep = sqrtf(before), direction = sqrtf(1 - before - deviation * deviation);
    float added = t > 0 ? deviation : 0, of_noise = sqrtf(1 - before);
    for (size_t k = 0; k < batch * n; k++) {
        float unknown = keep * x0[k] + direction * output[k] + added * drawn[k];
        float picture = keep * known->picture[k] + of_noise * drawn[k];
        x[k] = mask[k] * picture + (1 - mask[k]) * unknown;
    }
}

/* Up by one training timestep after another, from t. */
static dfx_status go_up(dfx_scheduler *s, int t, int timesteps, float *x, dfx_noise_function *noise,
                        void *user)
{
    for (int i = 0; i < timesteps; i++) {
        float beta = s->betas[t + i];
        DFX__TRY(dfx__draw(s, noise, user, s->buffer[1]));
        dfx__mix(x, sqrtf(1 - beta), x, sqrtf(beta), s->buffer[1], s->elements);
    }
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const struct known *known = s->own;
    int t = (int)s->timesteps[i], stride = s->config.num_train_timesteps / s->steps;
    if (known->elements != batch * n)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler %s: needs the picture to inpaint and its mask, of the sample's "
                         "%zu values each (dfx_scheduler_set_inpaint); it has %zu",
                         s->type->class_name, batch * n, known->elements);
    DFX__TRY(dfx__reserve(s, 2));
    DFX__TRY(dfx__draw(s, noise, user, s->buffer[1]));
    step_down(s, t, model_output, x, batch, n);
    return go_up(s, t, (int)s->extra[i] * stride, x, noise, user);
}

static const dfx_scheduler_name names[] = {
    { "repaint", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__repaint = {
    .class_name = "RePaintScheduler",
    .names = names,
    .when = "inpainting with an unconditional model of pixels; 250 steps, many calls",
    .keys = "num_train_timesteps=1000,beta_start=0.0001,beta_end=0.02,beta_schedule=linear,eta=0,"
            "trained_betas=null,clip_sample=true,",
    .call_keys = "jump_length=10,jump_n_sample=10",
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
    .close = close_known,
};
