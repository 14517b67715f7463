/* scheduler.c - opens a scheduler by its class, and the public functions around the class's row. */
#include "scheduler/list.h"

#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dfx_status read_config(json_object **out, const char *path)
{
    char *inside = dfx__folder_exists(path) ? dfx__path_join(path, "scheduler_config.json") : NULL;
    if (dfx__folder_exists(path) && !inside)
        return dfx__no_memory();
    json_object *file = NULL;
    dfx_status status = dfx__json_read(&file, inside ? inside : path);
    free(inside);
    DFX__TRY(status);
    if (!json_object_is_type(file, json_type_object)) {
        json_object_put(file);
        return dfx__fail(DFX_ERROR_FORMAT, "%s: a scheduler's config must be a JSON object", path);
    }
    *out = file;
    return DFX_OK;
}

dfx_status dfx__scheduler_read(json_object **out, const char *path)
{
    dfx_checkpoint *c;
    DFX__TRY(dfx_checkpoint_open(&c, path));
    dfx_status status = read_config(out, dfx_checkpoint_path(c));
    dfx_checkpoint_free(c);
    return status;
}

/* diffusers' pipelines change keys of their own scheduler, and through its config of one that is
 * chosen instead, but there only keys that the file has. */
static void repair(dfx_scheduler *s, json_object *file, int own, unsigned repairs)
{
    const struct {
        unsigned repair;
        const char *key;
        int *value, right;
    } keys[] = {
        { DFX__REPAIR_STEPS_OFFSET, "steps_offset", &s->config.steps_offset, 1 },
        { DFX__REPAIR_CLIP_SAMPLE, "clip_sample", &s->config.clip_sample, 0 },
        { DFX__REPAIR_SKIP_PRK_STEPS, "skip_prk_steps", &s->config.skip_prk_steps, 1 },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if ((repairs & keys[i].repair) && (own || json_object_object_get(file, keys[i].key)))
            *keys[i].value = keys[i].right;
}

/* The configuration from defaults, file and choice, and the tables made from it. */
static dfx_status build(dfx_scheduler *s, json_object *file, const char *path, const char *choice,
                        unsigned repairs)
{
    const char *name = choice, *preset, *keys = "";
    size_t length = choice ? strcspn(choice, ",") : 0;
    if (choice) {
        keys = choice + length + (choice[length] == ',');
    } else {
        name = file ? dfx__json_string(file, "_class_name") : NULL;
        if (!file)
            return dfx__fail(DFX_ERROR_ARGUMENT, "a scheduler needs a config file or a name");
        if (!name)
            return dfx__fail(DFX_ERROR_FORMAT, "%s: _class_name must be a scheduler's name", path);
        length = strlen(name);
    }
    s->type = dfx__find_scheduler(name, length, &preset);
    if (!s->type)
        return choice ? DFX_ERROR_UNSUPPORTED : dfx__fail_in(DFX_ERROR_UNSUPPORTED, "%s", path);
    DFX__TRY(dfx__scheduler_config_defaults(&s->config, s->type));
    if (file)
        DFX__TRY(dfx__scheduler_config_from_file(&s->config, s->type, file, path));
    if (file) {
        const char *class_name = dfx__json_string(file, "_class_name");
        repair(s, file, !choice || (class_name && strcmp(choice, class_name) == 0), repairs);
    }
    DFX__TRY(dfx__scheduler_config_from_choice(&s->config, s->type, preset));
    DFX__TRY(dfx__scheduler_config_from_choice(&s->config, s->type, keys));
    DFX__TRY(dfx__scheduler_config_check(&s->config, s->type));
    return s->type->init(s);
}

dfx_status dfx_scheduler_open(dfx_scheduler **out, const char *config, const char *choice)
{
    return dfx__scheduler_open(out, config, choice, 0);
}

dfx_status dfx__scheduler_open(dfx_scheduler **out, const char *config, const char *choice,
                               unsigned repairs)
{
    *out = NULL;
    json_object *file = NULL;
    if (config)
        DFX__TRY(dfx__scheduler_read(&file, config));
    dfx_scheduler *s = dfx__alloc(1, sizeof *s);
    dfx_status status = s ? build(s, file, config, choice, repairs) : dfx__no_memory();
    json_object_put(file);
    if (status != DFX_OK) {
        dfx_scheduler_free(s);
        return status;
    }
    s->init_noise_sigma = 1;
    *out = s;
    return DFX_OK;
}

static void free_buffers(dfx_scheduler *s)
{
    for (int i = 0; i < s->buffers; i++)
        free(s->buffer[i]);
    free(s->mean);
    s->mean = NULL;
    s->buffers = 0;
}

void dfx_scheduler_free(dfx_scheduler *s)
{
    if (!s)
        return;
    free_buffers(s);
    dfx__scheduler_config_free(&s->config);
    free(s->betas);
    free(s->alphas_cumprod);
    free(s->train_sigmas);
    free(s->log_train_sigmas);
    free(s->timesteps);
    free(s->sigmas);
    free(s->extra);
    free(s->state);
    if (s->type && s->type->close)
        s->type->close(s);
    free(s);
}

const char *dfx_scheduler_class(const dfx_scheduler *s)
{
    return s->type->class_name;
}

/* A run from its start. */
static dfx_status start(dfx_scheduler *s, int n)
{
    s->calls = s->sigma_count = s->taken = 0;
    s->steps = n;
    s->init_noise_sigma = 1;
    free(s->state);
    s->state = NULL;
    if (s->type->state_size && !(s->state = dfx__alloc(1, s->type->state_size)))
        return dfx__no_memory();
    return dfx__make_schedule(s);
}

/* n steps of the lists that the choice has. */
static dfx_status take_lists(dfx_scheduler *s, int n)
{
    const dfx__floats *timesteps = &s->config.timesteps, *sigmas = &s->config.sigmas;
    int count = timesteps->values ? timesteps->count : sigmas->count;
    if (timesteps->values && sigmas->values && timesteps->count != sigmas->count)
        return dfx__refuse(s, "timesteps and sigmas must be as many");
    DFX__TRY(dfx_scheduler_set_custom(s, timesteps->values, sigmas->values, count));
    if (s->steps == n)
        return DFX_OK;
    s->calls = s->sigma_count = 0;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: %s lists %d steps, not %d: ask for %d",
                     s->type->class_name, timesteps->values ? "timesteps" : "sigmas", s->steps, n,
                     s->steps);
}

dfx_status dfx_scheduler_set_timesteps(dfx_scheduler *s, int n)
{
    if (s->config.timesteps.values || s->config.sigmas.values)
        return take_lists(s, n);
    int most = s->type->any_steps ? DFX__MAX_TRAIN_TIMESTEPS : s->config.num_train_timesteps;
    s->calls = s->sigma_count = s->taken = 0;
    if (n < 1 || n > most)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%d steps: must be from 1 to %s%d%s", n,
                         s->type->any_steps ? "" : "the model's ", most,
                         s->type->any_steps ? "" : " training timesteps");
    return start(s, n);
}

static dfx_status check_list(const float *values, int n, const char *what)
{
    for (int i = 0; values && i < n; i++)
        if (!isfinite(values[i]) || values[i] < 0)
            return dfx__fail(DFX_ERROR_ARGUMENT, "custom %s %d is %g: it must be 0 or more", what,
                             i, values[i]);
    return DFX_OK;
}

dfx_status dfx_scheduler_set_custom(dfx_scheduler *s, const float *timesteps, const float *sigmas,
                                    int n)
{
    unsigned takes = s->type->custom;
    const char *wrong = NULL;
    s->calls = s->sigma_count = s->taken = 0;
    if (!timesteps && !sigmas)
        wrong = "a custom schedule needs timesteps or sigmas";
    else if (timesteps && !(takes & DFX__TIMESTEPS))
        wrong =
            "takes no timesteps of the caller's: choose another scheduler, or a number of steps";
    else if (sigmas && !(takes & DFX__SIGMAS))
        wrong = "takes no sigmas of the caller's: choose another scheduler, or a number of steps";
    else if (timesteps && sigmas && !(takes & DFX__BOTH_LISTS))
        wrong = "takes timesteps or sigmas of the caller's, not both";
    DFX__TRY(dfx__refuse(s, wrong));
    if (n < 1 || n > DFX__MAX_TRAIN_TIMESTEPS)
        return dfx__fail(DFX_ERROR_ARGUMENT, "a custom schedule of %d: must be from 1 to %d", n,
                         DFX__MAX_TRAIN_TIMESTEPS);
    DFX__TRY(check_list(timesteps, n, "timestep"));
    DFX__TRY(check_list(sigmas, n, "sigma"));
    s->custom_timesteps = timesteps;
    s->custom_sigmas = sigmas;
    dfx_status status = start(s, n);
    s->custom_timesteps = s->custom_sigmas = NULL;
    return status;
}

int dfx_scheduler_calls(const dfx_scheduler *s)
{
    return s->calls;
}

const float *dfx_scheduler_timesteps(const dfx_scheduler *s)
{
    return s->timesteps;
}

const float *dfx_scheduler_sigmas(const dfx_scheduler *s, int *count)
{
    *count = s->sigma_count;
    return s->sigma_count ? s->sigmas : NULL;
}

float dfx_scheduler_init_noise_sigma(const dfx_scheduler *s)
{
    return s->init_noise_sigma;
}

int dfx_scheduler_order(const dfx_scheduler *s)
{
    return s->type->order ? s->type->order : 1;
}

int dfx_scheduler_output_parts(const dfx_scheduler *s)
{
    const dfx__scheduler_config *c = &s->config;
    int looks = s->type->variance == DFX__TAKES_VARIANCE ||
                (s->type->variance == DFX__DROPS_VARIANCE && c->prediction_type == DFX__EPSILON);
    return looks && c->variance_type >= DFX__LEARNED ? 2 : 1;
}

void dfx_scheduler_scale_model_input(const dfx_scheduler *s, int i, const float *x, float *out,
                                     size_t batch, size_t n)
{
    if (s->type->scale_model_input) {
        s->type->scale_model_input(s, i, x, out, batch, n);
        return;
    }
    float divisor = s->type->input_divisor ? s->type->input_divisor(s, i) : 1;
    for (size_t k = 0; k < batch * n; k++)
        out[k] = x[k] / divisor;
}

void dfx_scheduler_set_generator(dfx_scheduler *s, dfx_rng *rng)
{
    s->rng = rng;
}

/* The first step tells how large a sample is. */
static dfx_status take_size(dfx_scheduler *s, size_t elements)
{
    if (elements == s->elements)
        return DFX_OK;
    if (s->taken > 0)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "a step on %zu values after steps on %zu: the sample's size must stay",
                         elements, s->elements);
    free_buffers(s);
    s->elements = elements;
    return DFX_OK;
}

dfx_status dfx__take_mean(dfx_scheduler *s, const float **output, size_t batch, size_t n)
{
    if (!s->mean && !(s->mean = dfx__alloc(s->elements, sizeof *s->mean)))
        return dfx__no_memory();
    for (size_t b = 0; b < batch; b++)
        memcpy(s->mean + b * n, *output + 2 * b * n, n * sizeof *s->mean);
    *output = s->mean;
    return DFX_OK;
}

dfx_status dfx_scheduler_step(dfx_scheduler *s, int i, const float *model_output, float *x,
                              size_t batch, size_t n, dfx_noise_function *noise, void *user)
{
    if (i < 0 || i >= s->calls)
        return dfx__fail(DFX_ERROR_ARGUMENT, "step %d: the schedule has %d calls", i, s->calls);
    if (s->taken > 0 && i != s->next)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "step %d: call %d is next; set_timesteps starts a schedule again", i,
                         s->next);
    DFX__TRY(take_size(s, batch * n));
    if (s->type->variance == DFX__DROPS_VARIANCE && dfx_scheduler_output_parts(s) == 2)
        DFX__TRY(dfx__take_mean(s, &model_output, batch, n));
    DFX__TRY(s->type->step(s, i, model_output, x, batch, n, noise, user));
    s->taken++;
    s->next = i + 1;
    return DFX_OK;
}

void dfx_scheduler_add_noise(const dfx_scheduler *s, int i, const float *x0, const float *noise,
                             float *out, size_t batch, size_t n)
{
    float alpha, sigma;
    s->type->noise_level(s, i, &alpha, &sigma);
    for (size_t k = 0; k < batch * n; k++)
        out[k] = alpha * x0[k] + sigma * noise[k];
}

dfx_status dfx__refuse(const dfx_scheduler *s, const char *wrong)
{
    if (!wrong)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: %s", s->type->class_name, wrong);
}

dfx_status dfx__reserve(dfx_scheduler *s, int count)
{
    for (; s->buffers < count; s->buffers++) {
        s->buffer[s->buffers] = dfx__alloc(s->elements, sizeof(float));
        if (!s->buffer[s->buffers])
            return dfx__no_memory();
    }
    return DFX_OK;
}

void dfx__rotate(dfx_scheduler *s, int count)
{
    float *last = s->buffer[count - 1];
    memmove(s->buffer + 1, s->buffer, (size_t)(count - 1) * sizeof *s->buffer);
    s->buffer[0] = last;
}

dfx_status dfx__draw(const dfx_scheduler *s, dfx_noise_function *noise, void *user, float *out)
{
    if (!noise)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s draws noise in this step and was given none",
                         s->type->class_name);
    noise(user, out, s->elements);
    return DFX_OK;
}
