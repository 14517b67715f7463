/* ddim.c - denoising diffusion implicit models (Song et al. 2021, formulas 12 and 16). */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <math.h>

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const dfx__scheduler_config *c = &s->config;
    size_t count = batch * n;
    DFX__TRY(dfx__reserve(s, 3));
    float *x0 = s->buffer[0], *eps = s->buffer[1], *drawn = s->buffer[2];
    if (c->eta > 0)
        DFX__TRY(dfx__draw(s, noise, user, drawn));

    int t = (int)s->timesteps[i];
    float a = dfx__alpha_at(s, t);
    float before = dfx__alpha_before(s, t - c->num_train_timesteps / s->steps);
    dfx__predict(x0, eps, c->prediction_type, a, x, model_output, count);
    dfx__bound(c, x0, batch, n);
    if (c->use_clipped_model_output)
        dfx__predict_noise(eps, DFX__SAMPLE, sqrtf(a), sqrtf(1 - a), x, x0, count);

    float added = (float)c->eta * sqrtf(dfx__posterior_variance(a, before));
    float keep = sqrtf(before), direction = sqrtf(1 - before - added * added);
    dfx__mix(x, keep, x0, direction, eps, count);
    if (c->eta > 0)
        dfx__mix(x, 1, x, added, drawn, count);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "ddim", "" },
    { "DDIMParallelScheduler", "" }, /* the same steps, which diffusers can take side by side */
    { NULL, NULL },
};

const dfx__scheduler_type dfx__ddim = {
    .class_name = "DDIMScheduler",
    .names = names,
    .when = "few steps that a seed repeats exactly; the classic for image to image and inversion",
    .keys = DFX__BETA_KEYS DFX__THRESHOLD_KEYS
    "clip_sample=true,clip_sample_range=1,set_alpha_to_one=true,timestep_spacing=leading,"
    "rescale_betas_zero_snr=false,",
    .call_keys = "eta=0,use_clipped_model_output=false",
    .predictions = 1 << DFX__EPSILON | 1 << DFX__SAMPLE | 1 << DFX__V_PREDICTION,
    .init = dfx__make_alphas,
    .plan = dfx__plan_timesteps,
    .step = step,
    .noise_level = dfx__alpha_noise_level,
};
