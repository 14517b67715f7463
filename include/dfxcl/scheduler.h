/* dfxcl/scheduler.h - noise schedules and solvers, pure host arithmetic on float arrays.
 *
 *     dfx_scheduler *s;
 *     dfx_scheduler_open(&s, "model/scheduler/scheduler_config.json", "euler");
 *     dfx_scheduler_set_timesteps(s, 20);
 *     scale x by dfx_scheduler_init_noise_sigma(s);
 *     for (int i = 0; i < dfx_scheduler_calls(s); i++) {
 *         dfx_scheduler_scale_model_input(s, i, x, input, batch, n);
 *         noise_pred = model(input, dfx_scheduler_timesteps(s)[i]);
 *         dfx_scheduler_step(s, i, noise_pred, x, batch, n, NULL, NULL);
 *     }
 * Steps are taken in order; set_timesteps starts again. */
#ifndef DFXCL_SCHEDULER_H
#define DFXCL_SCHEDULER_H

#include "dfxcl/base.h"
#include "dfxcl/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_scheduler dfx_scheduler;

/* Draws n standard normal numbers for a stochastic scheduler. */
typedef void dfx_noise_function(void *user, float *out, size_t n);

/* Opens a scheduler.
 *   config  a scheduler_config.json (or its folder); NULL: every key has the class's default
 *   choice  "NAME[,key=value...]" replaces the class and keys of the config, as diffusers'
 *           NAME.from_config(config, key=value); NAME is diffusers' class name or a short one
 *           (ddim, pndm, euler, dpmpp_2m, dpmpp_2m_karras ...); NULL: as the config says
 * Keys that the class does not know are ignored, `Flax` before a class name too. Every class takes
 * every beta_schedule, also those that diffusers has for one class alone.
 * Errors: DFX_ERROR_FILE, DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED (a class), DFX_ERROR_ARGUMENT
 * (a choice's key or value, or an impossible combination). */
DFX_API dfx_status dfx_scheduler_open(dfx_scheduler **out, const char *config, const char *choice);
DFX_API void dfx_scheduler_free(dfx_scheduler *s);

DFX_API const char *dfx_scheduler_class(const dfx_scheduler *s); /* "EulerDiscreteScheduler" */

/* A short name of a class, and the keys that it sets ("" for none). */
typedef struct {
    const char *name, *keys;
} dfx_scheduler_name;

/* A class that dfx_scheduler_open knows. */
typedef struct {
    const char *class_name;          /* "EulerDiscreteScheduler" */
    const dfx_scheduler_name *names; /* ended by a NULL name */
    const char *when;                /* in a line, when to use it */
    const char *keys;                /* "key=default,..." of a config file */
    const char *call_keys;           /* the same of what a choice sets besides */
} dfx_scheduler_info;

/* Tells about class `index`, 0 and up. Returns 0 when there is none of that index. */
DFX_API int dfx_scheduler_describe(int index, dfx_scheduler_info *out);

/* A key that a class takes. */
typedef struct {
    char name[128], value[128]; /* the value is the class's default, as a config file has it */
    const char *does;           /* what it does, in a few words */
    int call;                   /* 1: of a choice, not of a config file */
} dfx_scheduler_key;

/* Tells about key `index`, 0 and up, of a class or short name; what a config has besides, the class
 * ignores. Returns 0 when there is no key of that index, or no such class. */
DFX_API int dfx_scheduler_describe_key(const char *name, int index, dfx_scheduler_key *out);

/* Prepares n steps; where the choice lists timesteps or sigmas, those, of which there must be n.
 * Errors: DFX_ERROR_ARGUMENT (n < 1, or more than the training timesteps). */
DFX_API dfx_status dfx_scheduler_set_timesteps(dfx_scheduler *s, int n);

/* Prepares the caller's own schedule, as diffusers' set_timesteps(timesteps=..., sigmas=...): n
 * falling timesteps, or n sigmas, or both where the class takes both; NULL: not given. Whether the
 * sigmas end with the last step's end is as in diffusers (Euler: they do, FlowMatchEuler: not).
 * Errors: DFX_ERROR_ARGUMENT (the class or its config takes no such list). */
DFX_API dfx_status dfx_scheduler_set_custom(dfx_scheduler *s, const float *timesteps,
                                            const float *sigmas, int n);

/* A list of "Align Your Steps" (Sabour et al. 2024), 10 steps that were optimised for a model, by
 * its name in diffusers' AysSchedules: StableDiffusionTimesteps, StableDiffusionSigmas,
 * StableDiffusionXLTimesteps, StableDiffusionXLSigmas or StableDiffusionVideoSigmas. Sigmas end
 * with 0, the last step's end. *count values; NULL: no such name. A choice takes the names as well:
 * "dpmpp_2m,timesteps=StableDiffusionXLTimesteps". */
DFX_API const float *dfx_scheduler_ays(const char *name, int *count);

/* Gives RePaintScheduler, the one class that takes it, the picture to complete; before the first
 * step. Both lists are copied, and hold until others are given.
 *   picture   [elements], the sample's size: batch * n of dfx_scheduler_step
 *   mask      [elements], 1 where the picture is known and 0 where it is to be painted
 * Errors: DFX_ERROR_ARGUMENT (another class), DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_scheduler_set_inpaint(dfx_scheduler *s, const float *picture,
                                             const float *mask, size_t elements);

/* How often the model is called; it can be more than the steps (PNDM: n + 1). */
DFX_API int dfx_scheduler_calls(const dfx_scheduler *s);
DFX_API const float *dfx_scheduler_timesteps(const dfx_scheduler *s); /* one for each call */
/* The sigmas (*count of them), or NULL for a scheduler that has none. ScoreSdeVe's models take a
 * call's sigma in the place of its timestep. */
DFX_API const float *dfx_scheduler_sigmas(const dfx_scheduler *s, int *count);
DFX_API float dfx_scheduler_init_noise_sigma(const dfx_scheduler *s);

/* How many calls a step has, 1 or 2 (Heun and its kin; the last step of theirs may have 1). */
DFX_API int dfx_scheduler_order(const dfx_scheduler *s);

/* 2 where the model's output has a learned variance behind its mean, else 1. */
DFX_API int dfx_scheduler_output_parts(const dfx_scheduler *s);

/* out = what the model takes at call i. x and out are [batch, n]; they may be the same. */
DFX_API void dfx_scheduler_scale_model_input(const dfx_scheduler *s, int i, const float *x,
                                             float *out, size_t batch, size_t n);

/* One step: x [batch, n] becomes the sample after call i, from the model's output there, [batch, n]
 * or with two parts [batch, 2n].
 * noise: where a stochastic scheduler draws; NULL: DFX_ERROR_ARGUMENT if it needs any. */
DFX_API dfx_status dfx_scheduler_step(dfx_scheduler *s, int i, const float *model_output, float *x,
                                      size_t batch, size_t n, dfx_noise_function *noise,
                                      void *user);

/* The generator of the runs to come, borrowed; NULL: none. Schedulers whose noise is a Brownian
 * motion, not drawn call by call, seed it from here: CosineDPMSolverMultistep with the generator's
 * own seed, DPMSolverSDE without noise_sampler_seed with the generator's next number, as diffusers
 * does after torch.manual_seed(seed). Others do not look at it. */
DFX_API void dfx_scheduler_set_generator(dfx_scheduler *s, dfx_rng *rng);

/* out = x0 with the noise level of call i. All are [batch, n]. */
DFX_API void dfx_scheduler_add_noise(const dfx_scheduler *s, int i, const float *x0,
                                     const float *noise, float *out, size_t batch, size_t n);

/* A scheduler of the caller's own (docs/schedulers.md has one). `user` is dfx_scheduler_new's. */
typedef struct {
    const char *name; /* what dfx_scheduler_class and messages call it */
    /* Plans n steps: writes each call's timestep, `room` of them at most (2 n + 16), and how large
     * the first sample's noise is, which is 1 before. Returns how many calls there are; 0: it
     * cannot take n steps. */
    int (*set_timesteps)(void *user, int n, float *timesteps, int room, float *init_noise_sigma);
    /* As dfx_scheduler_step, in order from set_timesteps on. Returns 0; anything else stops the run
     * with DFX_ERROR_INTERRUPTED. */
    int (*step)(void *user, int i, const float *model_output, float *x, size_t batch, size_t n,
                dfx_noise_function *noise, void *noise_user);
    /* A sample of call i is alpha * x0 + sigma * noise. */
    void (*noise_level)(void *user, int i, float *alpha, float *sigma);
    /* As dfx_scheduler_scale_model_input; NULL: the model takes the sample as it is. */
    void (*scale_model_input)(void *user, int i, const float *x, float *out, size_t batch,
                              size_t n);
} dfx_scheduler_functions;

/* Makes a scheduler of functions; `user` must live as long as it. Free it with dfx_scheduler_free.
 * Errors: DFX_ERROR_ARGUMENT (a function is missing). */
DFX_API dfx_status dfx_scheduler_new(dfx_scheduler **out, const dfx_scheduler_functions *functions,
                                     void *user);

/* Runs n steps with a model that knows the sample, in the scheduler's prediction type (a caller's
 * own: noise); *error receives how far from the sample, of values in -1..1, they end: rounding
 * errors, unless the schedule ends at a noise level above 0 or clips. Errors: those of
 * set_timesteps and of step. */
DFX_API dfx_status dfx_scheduler_check(dfx_scheduler *s, int n, float *error);

#ifdef __cplusplus
}
#endif
#endif
