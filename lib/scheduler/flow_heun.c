/* flow_heun.c - Heun's method on the ODE of flow matching: two calls of the model in each step but
 * the last one (Karras et al. 2022, algorithm 2, for the sigmas of flow matching). */
#include "scheduler/flow.h"
#include "scheduler/sigma_solver.h"

#include "core/status.h"

#include <string.h>

/* t0 t1 t1 t2 t2 ...: where a step ends the model is called twice. */
static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(dfx__plan_flow(s, out));
    dfx__halve_steps(out, out->timesteps + 1);
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    size_t count = batch * n;
    int second = s->taken % 2; /* of the two calls of a step, wherever the first one was */
    DFX__TRY(dfx__reserve(s, 3));
    float *slope = s->buffer[0], *start = s->buffer[1], *drawn = s->buffer[2];
    float sigma = s->sigmas[i - second], next = s->sigmas[i + 1 - second], sigma_hat;
    DFX__TRY(dfx__churn(s, sigma, drawn, x, noise, user, &sigma_hat));
    float dt = next - sigma_hat;
    if (!second) {
        memcpy(start, x, count * sizeof *x);
        for (size_t k = 0; k < count; k++) {
            float x0 = x[k] - model_output[k] * sigma;
            slope[k] = (x[k] - x0) / sigma_hat;
            x[k] += slope[k] * dt;
        }
        return DFX_OK;
    }
    for (size_t k = 0; k < count; k++) {
        float x0 = x[k] - model_output[k] * next;
        x[k] = start[k] + 0.5f * (slope[k] + (x[k] - x0) / next) * dt;
    }
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "flow_heun", "" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__flow_heun = {
    .class_name = "FlowMatchHeunDiscreteScheduler",
    .names = names,
    .when = "flow-matching models in few large steps; each step calls the model twice",
    .keys = "num_train_timesteps=1000,shift=1,",
    .call_keys = "s_churn=0,s_tmin=0,s_tmax=Infinity,s_noise=1",
    .any_steps = 1,
    .order = 2,
    .init = dfx__init_flow,
    .plan = plan,
    .step = step,
    .noise_level = dfx__flow_noise_level,
};
