/* own.c - a scheduler of the caller's: functions behind a row of the class table. */
#include "scheduler/scheduler.h"

#include "core/memory.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

/* The state of such a scheduler; its row is its own. */
struct own {
    dfx__scheduler_type type;
    dfx_scheduler_functions f;
    void *user;
    char *name;
};

static const struct own *own_of(const dfx_scheduler *s)
{
    return s->own;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const struct own *own = own_of(s);
    int room = (int)out->room;
    float *timesteps = dfx__alloc(out->room, sizeof *timesteps);
    if (!timesteps)
        return dfx__no_memory();
    int calls = own->f.set_timesteps(own->user, s->steps, timesteps, room, &s->init_noise_sigma);
    int good = calls > 0 && calls <= room;
    for (int i = 0; i < calls && good; i++)
        out->timesteps[i] = timesteps[i];
    free(timesteps);
    if (!good)
        return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: its set_timesteps takes no %d steps",
                         own->name, s->steps);
    out->calls = calls;
    return DFX_OK;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    const struct own *own = own_of(s);
    int code = own->f.step(own->user, i, model_output, x, batch, n, noise, user);
    if (code == 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_INTERRUPTED, "scheduler %s: its step stopped with %d at call %d",
                     own->name, code, i);
}

static void scale_model_input(const dfx_scheduler *s, int i, const float *x, float *out,
                              size_t batch, size_t n)
{
    const struct own *own = own_of(s);
    own->f.scale_model_input(own->user, i, x, out, batch, n);
}

static void noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    const struct own *own = own_of(s);
    own->f.noise_level(own->user, i, alpha, sigma);
}

static void close_own(dfx_scheduler *s)
{
    struct own *own = s->own;
    free(own->name);
    free(own);
}

dfx_status dfx_scheduler_new(dfx_scheduler **out, const dfx_scheduler_functions *functions,
                             void *user)
{
    *out = NULL;
    if (!functions->name || !functions->set_timesteps || !functions->step ||
        !functions->noise_level)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "a scheduler needs name, set_timesteps, step and noise_level");
    dfx_scheduler *s = dfx__alloc(1, sizeof *s);
    struct own *own = dfx__alloc(1, sizeof *own);
    char *name = strdup(functions->name);
    if (!s || !own || !name) {
        free(s);
        free(own);
        free(name);
        return dfx__no_memory();
    }
    *own = (struct own){ .f = *functions, .user = user, .name = name };
    own->type = (dfx__scheduler_type){
        .class_name = name,
        .any_steps = 1,
        .plan = plan,
        .step = step,
        .noise_level = noise_level,
        .scale_model_input = functions->scale_model_input ? scale_model_input : NULL,
        .close = close_own,
    };
    s->own = own;
    s->type = &own->type;
    s->init_noise_sigma = 1;
    *out = s;
    return DFX_OK;
}
