/* scheduler.c - opens a scheduler by its class, and the public functions around the class's row. */
#include "scheduler/scheduler.h"

#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every scheduler there is. */
static const dfx__scheduler_type *const types[] = {
    &dfx__ddim,
    &dfx__pndm,
    &dfx__euler,
    &dfx__dpmsolver_multistep,
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

/* The class of that name or short name; *preset receives the short name's keys. */
static const dfx__scheduler_type *find_type(const char *name, size_t length, const char **preset)
{
    *preset = "";
    if (length > 4 && memcmp(name, "Flax", 4) == 0)
        name += 4, length -= 4;
    for (int i = 0; i < TYPE_COUNT; i++) {
        const dfx__scheduler_type *t = types[i];
        if (strlen(t->class_name) == length && memcmp(t->class_name, name, length) == 0)
            return t;
        for (const dfx__short_name *s = t->names; s->name; s++)
            if (strlen(s->name) == length && memcmp(s->name, name, length) == 0) {
                *preset = s->keys;
                return t;
            }
    }
    return NULL;
}

/* Adds ", WORD" to a list that is cut where it is full. */
static void append(char *list, size_t size, const char *before, const char *word)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", before, word);
}

static dfx_status fail_unknown_class(const char *name, size_t length)
{
    char list[768] = "";
    for (int i = 0; i < TYPE_COUNT; i++) {
        append(list, sizeof list, i ? ", " : "", types[i]->class_name);
        for (const dfx__short_name *s = types[i]->names; s->name; s++)
            append(list, sizeof list, s == types[i]->names ? " (" : ", ", s->name);
        append(list, sizeof list, "", ")");
    }
    return dfx__fail(DFX_ERROR_UNSUPPORTED, "scheduler '%.*s' is not supported; there is %s",
                     (int)(length < 80 ? length : 80), name, list);
}

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

/* The configuration from defaults, file and choice, and the tables made from it. */
static dfx_status build(dfx_scheduler *s, json_object *file, const char *path, const char *choice)
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
    s->type = find_type(name, length, &preset);
    if (!s->type) {
        dfx_status status = fail_unknown_class(name, length);
        return choice ? status : dfx__fail_in(status, "%s", path);
    }
    DFX__TRY(dfx__scheduler_config_defaults(&s->config, s->type));
    if (file)
        DFX__TRY(dfx__scheduler_config_from_file(&s->config, s->type, file, path));
    DFX__TRY(dfx__scheduler_config_from_choice(&s->config, s->type, preset));
    DFX__TRY(dfx__scheduler_config_from_choice(&s->config, s->type, keys));
    DFX__TRY(dfx__scheduler_config_check(&s->config, s->type));
    return s->type->init(s);
}

dfx_status dfx_scheduler_open(dfx_scheduler **out, const char *config, const char *choice)
{
    *out = NULL;
    json_object *file = NULL;
    if (config)
        DFX__TRY(read_config(&file, config));
    dfx_scheduler *s = dfx__alloc(1, sizeof *s);
    dfx_status status = s ? build(s, file, config, choice) : dfx__no_memory();
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
    s->buffers = 0;
}

void dfx_scheduler_free(dfx_scheduler *s)
{
    if (!s)
        return;
    free_buffers(s);
    dfx__scheduler_config_free(&s->config);
    free(s->alphas_cumprod);
    free(s->train_sigmas);
    free(s->log_train_sigmas);
    free(s->timesteps);
    free(s->sigmas);
    free(s);
}

const char *dfx_scheduler_class(const dfx_scheduler *s)
{
    return s->type->class_name;
}

dfx_status dfx_scheduler_set_timesteps(dfx_scheduler *s, int n)
{
    s->calls = s->sigma_count = s->taken = 0;
    if (n < 1 || n > s->config.num_train_timesteps)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%d steps: must be from 1 to the model's %d training timesteps", n,
                         s->config.num_train_timesteps);
    s->steps = n;
    s->init_noise_sigma = 1;
    return dfx__make_schedule(s);
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

void dfx_scheduler_scale_model_input(const dfx_scheduler *s, int i, const float *x, float *out,
                                     size_t batch, size_t n)
{
    float divisor = s->type->input_divisor ? s->type->input_divisor(s, i) : 1;
    for (size_t k = 0; k < batch * n; k++)
        out[k] = x[k] / divisor;
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
