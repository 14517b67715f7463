/* distilled.c - timesteps of models that were distilled on a coarse grid of them (Luo et al. 2023).
 */
#include "scheduler/distilled.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

/* The last `strength` of the caller's timesteps. s->steps stays the length of the whole list: as in
 * diffusers the last step of a shortened one is therefore not taken for the last. */
static dfx_status take_custom(dfx_scheduler *s, dfx__schedule *out)
{
    int taken = (int)(s->steps * s->config.strength);
    if (taken < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT, "strength %g leaves none of %d timesteps",
                         s->config.strength, s->steps);
    DFX__TRY(dfx__take_timesteps(s, out->timesteps));
    memmove(out->timesteps, out->timesteps + s->steps - taken,
            (size_t)taken * sizeof *out->timesteps);
    out->calls = taken;
    return DFX_OK;
}

/* Evenly spaced ones of the grid, the highest first. */
static dfx_status take_some(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    int grid = c->original_inference_steps, stride = c->num_train_timesteps / grid;
    int count = (int)(grid * c->strength);
    if (stride < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "original_inference_steps %d must be at most num_train_timesteps, %d",
                         grid, c->num_train_timesteps);
    if (s->steps > count)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%d steps: the model was distilled on %d (original_inference_steps %d, "
                         "strength %g): take fewer",
                         s->steps, count, grid, c->strength);
    out->calls = s->steps;
    for (int i = 0; i < s->steps; i++) {
        int below = (int)floor(i * ((double)count / s->steps)); /* the grid's top */
        out->timesteps[i] = (double)(count - below) * stride - 1;
    }
    return DFX_OK;
}

dfx_status dfx__plan_distilled(dfx_scheduler *s, dfx__schedule *out)
{
    DFX__TRY(s->custom_timesteps ? take_custom(s, out) : take_some(s, out));
    DFX__TRY(dfx__check_timesteps(s, out));
    return dfx__check_signal(s, out);
}
