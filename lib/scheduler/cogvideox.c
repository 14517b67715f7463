/* cogvideox.c - cumulative alphas of CogVideoX's schedulers: Stable Diffusion's, shifted to noisier
 * ones. */
#include "scheduler/cogvideox.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>

static int is_double(const dfx__scheduler_config *c)
{
    return c->beta_schedule == DFX__SCALED_LINEAR && !c->trained_betas.values;
}

double dfx__cogvideox_round(const dfx_scheduler *s, double v)
{
    return dfx__rounded(v, !is_double(&s->config));
}

/* scaled_linear's, as dfx__make_alphas has them in float. */
static void cumulate(const dfx__scheduler_config *c, double *a, int count)
{
    double from = sqrt(c->beta_start), to = sqrt(c->beta_end), product = 1;
    for (int i = 0; i < count; i++) {
        double root = count > 1 ? from + (to - from) / (count - 1) * i : from;
        a[i] = product *= 1 - root * root;
    }
}

/* Divides the signal-to-noise ratio by `scale`, as Stable Diffusion 3 does. */
static void shift(const dfx_scheduler *s, double *a, double scale)
{
    for (int i = 0; i < s->train; i++) {
        double below = dfx__cogvideox_round(s, (1 - scale) * a[i]);
        below = dfx__cogvideox_round(s, scale + below);
        a[i] = dfx__cogvideox_round(s, a[i] / below);
    }
}

dfx_status dfx__cogvideox_init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    int zero_snr = c->rescale_betas_zero_snr;
    c->rescale_betas_zero_snr = 0; /* it is the shifted alphas that are rescaled */
    DFX__TRY(dfx__make_alphas(s));
    c->rescale_betas_zero_snr = zero_snr;
    c->clip_sample = 0; /* without effect in diffusers */
    double *a = dfx__alloc((size_t)s->train, sizeof *a);
    if (!a)
        return dfx__no_memory();
    s->own = a;
    for (int i = 0; i < s->train; i++)
        a[i] = s->alphas_cumprod[i];
    if (is_double(c))
        cumulate(c, a, s->train);
    shift(s, a, c->snr_shift_scale);
    double first = a[0], last = a[s->train - 1];
    for (int i = 0; i < s->train; i++) {
        if (zero_snr)
            a[i] = dfx__rescale_alpha(a[i], first, last, !is_double(c));
        s->alphas_cumprod[i] = (float)a[i];
    }
    return DFX_OK;
}

void dfx__cogvideox_close(dfx_scheduler *s)
{
    free(s->own);
}

void dfx__cogvideox_alphas(const dfx_scheduler *s, int i, double *a, double *before)
{
    const double *table = s->own;
    int t = (int)s->timesteps[i], to = t - s->config.num_train_timesteps / s->steps;
    *a = table[t < 0 ? s->train - 1 : t]; /* -1 as in Python */
    *before = to >= 0 ? table[to] : s->config.set_alpha_to_one ? 1 : table[0];
}

void dfx__cogvideox_predict(const dfx_scheduler *s, double a, const float *x,
                            const float *model_output, float *x0, size_t count)
{
    dfx__predict_x0(x0, s->config.prediction_type, (float)sqrt(a), (float)sqrt(1 - a), x,
                    model_output, count);
}
