/* schedule.c - betas, cumulative alphas, and which timesteps are taken. Types and the order of
 * operations are diffusers': tables are f32 built through double where torch does so. */
#include "scheduler/scheduler.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From both ends, as torch does; it fuses the product and the sum, hence the double. */
float dfx__linspace_f32(float from, float to, int count, int i)
{
    if (count < 2)
        return from;
    double step = (to - from) / (float)(count - 1);
    return (float)(i < count / 2 ? from + step * i : to - step * (count - 1 - i));
}

/* What is left of the signal at t from 0 to 1. */
static double alpha_bar(int schedule, double t)
{
    if (schedule == DFX__EXP) /* diffusers has it for Heun's method */
        return exp(t * -12);
    if (schedule == DFX__LAPLACE) { /* Hang et al. 2024 */
        double snr = exp(-0.5 * copysign(1, 0.5 - t) * log(1 - 2 * fabs(0.5 - t) + 1e-6));
        return sqrt(snr / (1 + snr));
    }
    double c = cos((t + 0.008) / 1.008 * M_PI / 2); /* Nichol & Dhariwal 2021 */
    return c * c;
}

static float alpha_bar_beta(int schedule, double now, double next)
{
    return (float)fmin(1 - alpha_bar(schedule, next) / alpha_bar(schedule, now), 0.999);
}

static void make_betas(const dfx__scheduler_config *c, float *betas, int count)
{
    if (c->trained_betas.values) {
        memcpy(betas, c->trained_betas.values, (size_t)count * sizeof *betas);
        return;
    }
    float start = (float)c->beta_start, end = (float)c->beta_end;
    float start_root = (float)sqrt(c->beta_start), end_root = (float)sqrt(c->beta_end);
    for (int i = 0; i < count; i++)
        switch (c->beta_schedule) {
        case DFX__LINEAR:
            betas[i] = dfx__linspace_f32(start, end, count, i);
            break;
        case DFX__SCALED_LINEAR:
            betas[i] = dfx__linspace_f32(start_root, end_root, count, i);
            betas[i] *= betas[i];
            break;
        case DFX__SQUAREDCOS_CAP_V2:
        case DFX__LAPLACE:
        case DFX__EXP:
            betas[i] = alpha_bar_beta(c->beta_schedule, (double)i / count, (double)(i + 1) / count);
            break;
        default: /* sigmoid, of GeoDiff */
            betas[i] = 1 / (1 + expf(-dfx__linspace_f32(-6, 6, count, i)));
            betas[i] = betas[i] * (float)(c->beta_end - c->beta_start) + start;
        }
}

static void cumulate(float *alphas_cumprod, const float *betas, int count)
{
    double product = 1; /* torch keeps it in double */
    for (int i = 0; i < count; i++) {
        product *= 1 - betas[i];
        alphas_cumprod[i] = (float)product;
    }
}

double dfx__rounded(double x, int single)
{
    return single ? (float)x : x;
}

double dfx__rescale_alpha(double a, double first, double last, int single)
{
    double top = dfx__rounded(sqrt(first), single), below = dfx__rounded(sqrt(last), single);
    double scale = dfx__rounded(top / dfx__rounded(top - below, single), single);
    double root = dfx__rounded(dfx__rounded(sqrt(a), single) - below, single);
    root = dfx__rounded(root * scale, single);
    return dfx__rounded(root * root, single);
}

/* Betas whose last cumulative alpha is 0. `a` is room for `count`. */
static void rescale_zero_snr(float *betas, float *a, int count)
{
    cumulate(a, betas, count);
    float first = a[0], last = a[count - 1];
    for (int i = 0; i < count; i++)
        a[i] = (float)dfx__rescale_alpha(a[i], first, last, 1);
    for (int i = count - 1; i > 0; i--)
        betas[i] = 1 - a[i] / a[i - 1];
    betas[0] = 1 - a[0];
}

static dfx_status check_betas(const float *betas, int count)
{
    for (int i = 0; i < count; i++)
        if (!(betas[i] >= 0 && betas[i] <= 1))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "the scheduler's beta of timestep %d is %g, it must be from 0 to 1: "
                             "check the beta keys",
                             i, betas[i]);
    return DFX_OK;
}

dfx_status dfx__make_alphas(dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    int count = c->trained_betas.values ? c->trained_betas.count : c->num_train_timesteps;
    s->train = count;
    s->betas = dfx__alloc((size_t)count, sizeof *s->betas);
    s->alphas_cumprod = dfx__alloc((size_t)count, sizeof *s->alphas_cumprod);
    if (!s->betas || !s->alphas_cumprod)
        return dfx__no_memory();
    make_betas(c, s->betas, count);
    if (c->rescale_betas_zero_snr)
        rescale_zero_snr(s->betas, s->alphas_cumprod, count);
    DFX__TRY(check_betas(s->betas, count));
    cumulate(s->alphas_cumprod, s->betas, count);
    s->final_alpha_cumprod = c->set_alpha_to_one ? 1 : s->alphas_cumprod[0];
    return DFX_OK;
}

float dfx__alpha_at(const dfx_scheduler *s, int t)
{
    if (t < 0)
        t += s->train;
    return s->alphas_cumprod[t < 0 ? 0 : t < s->train ? t : s->train - 1];
}

float dfx__alpha_before(const dfx_scheduler *s, int t)
{
    return t < 0 ? s->final_alpha_cumprod : dfx__alpha_at(s, t);
}

void dfx__alpha_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    float a = dfx__alpha_at(s, (int)s->timesteps[i]);
    *alpha = sqrtf(a);
    *sigma = sqrtf(1 - a);
}

float dfx__posterior_variance(float a, float before)
{
    return (1 - before) / (1 - a) * (1 - a / before);
}

/* numpy.arange(last, 0, -T / n).round() - 1. Its length is a rounded quotient: for some n (61 and
 * 103 of 1000 are the first) diffusers gets n + 1 timesteps, of which the last one is -1. */
static int space_trailing(const dfx_scheduler *s, int last, double *t)
{
    double step = -((double)s->config.num_train_timesteps / s->steps);
    double stride = (last + step) - last;
    int count = (int)fmin(ceil((0.0 - last) / step), s->steps + 1);
    for (int i = 0; i < count; i++)
        t[i] = rint(last + i * stride) - 1;
    return count;
}

int dfx__space_timesteps(const dfx_scheduler *s, int last, int points, double *t)
{
    int n = s->steps;
    if (s->config.timestep_spacing == DFX__TRAILING)
        return space_trailing(s, last, t);
    for (int i = 0; i < n; i++) {
        int k = points - 1 - i;
        if (s->config.timestep_spacing == DFX__LEADING)
            t[i] = (double)k * (last / points) + s->config.steps_offset;
        else if (i == 0)
            t[i] = points > 1 ? last - 1 : 0;
        else
            t[i] = k * ((double)(last - 1) / (points - 1));
    }
    return n;
}

void dfx__round_all(double *t, int count)
{
    for (int i = 0; i < count; i++)
        t[i] = rint(t[i]);
}

void dfx__reverse(double *t, int count)
{
    for (int i = 0, k = count - 1; i < k; i++, k--) {
        double first = t[i];
        t[i] = t[k];
        t[k] = first;
    }
}

dfx_status dfx__take_timesteps(const dfx_scheduler *s, double *t)
{
    int most = s->config.num_train_timesteps;
    for (int i = 0; i < s->steps; i++) {
        t[i] = trunc(s->custom_timesteps[i]);
        if (t[i] >= (i > 0 ? t[i - 1] : most))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "custom timestep %d is %g: they must fall, from below the model's %d "
                             "training timesteps",
                             i, s->custom_timesteps[i], most);
    }
    return DFX_OK;
}

dfx_status dfx__plan_timesteps(dfx_scheduler *s, dfx__schedule *out)
{
    out->calls = s->steps;
    if (s->custom_timesteps)
        DFX__TRY(dfx__take_timesteps(s, out->timesteps));
    else
        out->calls =
            dfx__space_timesteps(s, s->config.num_train_timesteps, s->steps, out->timesteps);
    dfx__round_all(out->timesteps, out->calls);
    DFX__TRY(dfx__check_timesteps(s, out));
    return dfx__check_signal(s, out);
}

dfx_status dfx__check_signal(const dfx_scheduler *s, const dfx__schedule *schedule)
{
    const dfx__scheduler_config *c = &s->config;
    if (c->prediction_type != DFX__EPSILON || c->clip_sample || c->thresholding)
        return DFX_OK;
    for (int i = 0; i < schedule->calls; i++)
        if (dfx__alpha_at(s, (int)schedule->timesteps[i]) == 0)
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "scheduler %s: timestep %.0f is all noise, from which "
                             "prediction_type=epsilon tells no sample: choose v_prediction, or "
                             "rescale_betas_zero_snr=false",
                             s->type->class_name, schedule->timesteps[i]);
    return DFX_OK;
}

dfx_status dfx__check_timesteps(const dfx_scheduler *s, const dfx__schedule *schedule)
{
    for (int i = 0; i < schedule->calls; i++)
        if (schedule->timesteps[i] < -1 || schedule->timesteps[i] >= s->train)
            return dfx__fail(
                DFX_ERROR_ARGUMENT,
                "%d steps with steps_offset %d reach timestep %.0f, but there are only "
                "%d: take fewer steps",
                s->steps, s->config.steps_offset, schedule->timesteps[i], s->train);
    return DFX_OK;
}

static dfx_status copy_finite(float **to, const double *from, int count, const char *what)
{
    float *copy = dfx__alloc((size_t)count, sizeof *copy);
    if (!copy)
        return dfx__no_memory();
    free(*to);
    *to = copy;
    for (int i = 0; i < count; i++) {
        copy[i] = (float)from[i];
        if (!isfinite(copy[i]))
            return dfx__fail(
                DFX_ERROR_ARGUMENT,
                "the schedule's %s %d is %g: check the scheduler's beta, sigma and shift keys",
                what, i, from[i]);
    }
    return DFX_OK;
}

static dfx_status keep_schedule(dfx_scheduler *s, const dfx__schedule *schedule)
{
    DFX__TRY(copy_finite(&s->timesteps, schedule->timesteps, schedule->calls, "timestep"));
    DFX__TRY(copy_finite(&s->sigmas, schedule->sigmas, schedule->sigma_count, "sigma"));
    DFX__TRY(copy_finite(&s->extra, schedule->extra, schedule->extra_count, "level"));
    s->calls = schedule->calls;
    s->sigma_count = schedule->sigma_count;
    return DFX_OK;
}

dfx_status dfx__reserve_schedule(dfx__schedule *schedule, size_t room)
{
    double *values = dfx__alloc(3 * room, sizeof *values);
    if (!values)
        return dfx__no_memory();
    free(schedule->timesteps); /* the lists are one allocation */
    schedule->timesteps = values;
    schedule->sigmas = values + room;
    schedule->extra = values + 2 * room;
    schedule->room = room;
    return DFX_OK;
}

dfx_status dfx__make_schedule(dfx_scheduler *s)
{
    dfx__schedule schedule = { 0 };
    DFX__TRY(dfx__reserve_schedule(&schedule, DFX__ROOM(s->steps)));
    dfx_status status = s->type->plan(s, &schedule);
    if (status == DFX_OK)
        status = keep_schedule(s, &schedule);
    free(schedule.timesteps);
    return status;
}

dfx_status dfx__check_custom(const dfx_scheduler *s, int on, const char *key)
{
    if (!s->custom_timesteps || !on)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: takes no timesteps of the caller's with %s",
                     s->type->class_name, key);
}
