/* config.c - a scheduler's keys: from the class's defaults, a config file, a choice on top. */
#include "scheduler/scheduler.h"

#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    FLAG,     /* int 0 or 1; null is 0, as in Python */
    WHOLE,    /* int in a range */
    NUMBER,   /* double in a range */
    OPTIONAL, /* double in a range; null is NaN */
    WORD,     /* int: the index in a list of words */
    MAYBE,    /* the same, or -1 for null */
    LIST,     /* dfx__floats: a list of numbers in a range, or null */
    STEPS,    /* the same of whole numbers */
    SCHEDULE, /* the same as LIST, or the name of one of dfx_scheduler_ays */
    REFUSED   /* what only Python can hold: null alone */
};

struct key {
    const char *name;
    enum kind kind;
    size_t at; /* in dfx__scheduler_config */
    double least, most;
    const char *const *words; /* ended by NULL */
    const char *does;
};

#define WORDS(name, ...) static const char *const name[] = { __VA_ARGS__, NULL }
WORDS(beta_schedules, "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp");
WORDS(spacings, "linspace", "leading", "trailing");
WORDS(predictions, "epsilon", "sample", "v_prediction", "flow_prediction", "original_sample",
      "trigflow");
WORDS(interpolations, "linear", "log_linear");
WORDS(timestep_types, "discrete", "continuous");
WORDS(final_sigmas, "zero", "sigma_min");
WORDS(algorithms, "dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis",
      "data_prediction", "noise_prediction");
WORDS(solvers, "midpoint", "heun", "logrho", "bh1", "bh2");
WORDS(time_shifts, "exponential", "linear");
WORDS(sigma_schedules, "karras", "exponential");
WORDS(variances, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned",
      "learned_range");
WORDS(upscale_modes, "nearest", "linear", "bilinear", "bicubic", "trilinear", "area",
      "nearest-exact");
#undef WORDS

#define AT(field) offsetof(dfx__scheduler_config, field)
static const struct key keys[] = {
    { "num_train_timesteps", WHOLE, AT(num_train_timesteps), 1, DFX__MAX_TRAIN_TIMESTEPS, NULL,
      "timesteps of training" },
    { "beta_start", NUMBER, AT(beta_start), 0, 1, NULL, "beta of the first timestep" },
    { "beta_end", NUMBER, AT(beta_end), 0, 1, NULL, "beta of the last timestep" },
    { "beta_schedule", WORD, AT(beta_schedule), 0, 0, beta_schedules,
      "how beta grows over the timesteps" },
    { "trained_betas", LIST, AT(trained_betas), 0, 1, NULL,
      "a beta for each timestep, instead of a beta_schedule" },
    { "rescale_betas_zero_snr", FLAG, AT(rescale_betas_zero_snr), 0, 1, NULL,
      "no signal is left at the last timestep" },
    { "snr_shift_scale", NUMBER, AT(snr_shift_scale), 1e-6, 1e6, NULL,
      "divides the signal-to-noise ratio" },
    { "timestep_spacing", WORD, AT(timestep_spacing), 0, 0, spacings, "which timesteps are taken" },
    { "timestep_type", WORD, AT(timestep_type), 0, 0, timestep_types,
      "what the model is told: the timestep, or 0.25 ln sigma" },
    { "steps_offset", WHOLE, AT(steps_offset), 0, DFX__MAX_TRAIN_TIMESTEPS, NULL,
      "added to the timesteps of leading spacing" },
    { "prediction_type", WORD, AT(prediction_type), 0, 0, predictions, "what the model predicts" },
    { "thresholding", FLAG, AT(thresholding), 0, 1, NULL, "bounds x0 by a quantile of its values" },
    { "dynamic_thresholding_ratio", NUMBER, AT(dynamic_thresholding_ratio), 0, 1, NULL,
      "the quantile of thresholding" },
    { "sample_max_value", NUMBER, AT(sample_max_value), 0, 1e30, NULL,
      "the largest bound of thresholding" },
    { "clip_sample", FLAG, AT(clip_sample), 0, 1, NULL, "clips x0" },
    { "clip_sample_range", NUMBER, AT(clip_sample_range), 0, 1e30, NULL,
      "the bound of clip_sample" },
    { "set_alpha_to_one", FLAG, AT(set_alpha_to_one), 0, 1, NULL,
      "the last step ends without noise, not at the first timestep's" },
    /* takes set_alpha_to_one's place where a file has both, as in diffusers */
    { "set_alpha_to_zero", FLAG, AT(set_alpha_to_one), 0, 1, NULL,
      "the old name of set_alpha_to_one" },
    { "skip_prk_steps", FLAG, AT(skip_prk_steps), 0, 1, NULL, "no Runge-Kutta steps at the start" },
    { "interpolation_type", WORD, AT(interpolation_type), 0, 0, interpolations,
      "how sigmas of the steps are made from those of training" },
    { "final_sigmas_type", WORD, AT(final_sigmas_type), 0, 0, final_sigmas,
      "where the last step ends: at 0 or the first timestep's sigma" },
    { "use_karras_sigmas", FLAG, AT(use_karras_sigmas), 0, 1, NULL,
      "spaces sigmas as Karras et al. 2022" },
    { "use_exponential_sigmas", FLAG, AT(use_exponential_sigmas), 0, 1, NULL,
      "spaces sigmas evenly by their logarithm" },
    { "use_beta_sigmas", FLAG, AT(use_beta_sigmas), 0, 1, NULL,
      "spaces sigmas by quantiles of the beta distribution" },
    { "use_lu_lambdas", FLAG, AT(use_lu_lambdas), 0, 1, NULL,
      "spaces sigmas evenly by log-SNR (Lu et al. 2022)" },
    { "use_flow_sigmas", FLAG, AT(use_flow_sigmas), 0, 1, NULL,
      "takes the sigmas of flow matching" },
    { "sigma_min", OPTIONAL, AT(sigma_min), 0, 1e6, NULL, "the least sigma" },
    { "sigma_max", OPTIONAL, AT(sigma_max), 0, 1e6, NULL, "the largest sigma" },
    { "flow_shift", NUMBER, AT(flow_shift), 1e-6, 1e6, NULL,
      "moves the sigmas of use_flow_sigmas towards noise" },
    { "use_dynamic_shifting", FLAG, AT(use_dynamic_shifting), 0, 1, NULL,
      "shifts sigmas by mu, which pipelines compute from the size" },
    { "time_shift_type", WORD, AT(time_shift_type), 0, 0, time_shifts,
      "whether mu is the shift or its logarithm" },
    { "lambda_min_clipped", NUMBER, AT(lambda_min_clipped), -INFINITY, 1e6, NULL,
      "leaves out timesteps whose ln(alpha / sigma) is lower" },
    { "solver_order", WHOLE, AT(solver_order), 1, 3, NULL, "the order of the solver" },
    { "algorithm_type", WORD, AT(algorithm_type), 0, 0, algorithms,
      "whether x0 or noise is integrated, and noise is added" },
    { "solver_type", WORD, AT(solver_type), 0, 0, solvers, "the formula of order 2" },
    { "lower_order_final", FLAG, AT(lower_order_final), 0, 1, NULL,
      "lowers the order in the last steps, for stability" },
    { "euler_at_final", FLAG, AT(euler_at_final), 0, 1, NULL,
      "makes the last step one of order 1" },
    { "predictor_order", WHOLE, AT(predictor_order), 1, 4, NULL, "the order of the predictor" },
    { "corrector_order", WHOLE, AT(corrector_order), 1, 4, NULL, "the order of the corrector" },
    { "predict_x0", FLAG, AT(predict_x0), 0, 1, NULL, "integrates x0, not noise" },
    { "disable_corrector", STEPS, AT(disable_corrector), 0, DFX__MAX_TRAIN_TIMESTEPS, NULL,
      "the steps without corrector" },
    { "solver_p", REFUSED, 0, 0, 0, NULL, "an object of Python's: only null" },
    { "tau_func", REFUSED, 0, 0, 0, NULL, "a function of Python's: only null" },
    { "variance_type", MAYBE, AT(variance_type), 0, 0, variances,
      "the variance of the noise, or that the model predicts it" },
    { "noise_sampler_seed", OPTIONAL, AT(noise_sampler_seed), 0, 0x1p53, NULL,
      "the seed of the Brownian motion" },
    { "shift", NUMBER, AT(shift), 1e-6, 1e6, NULL, "moves the sigmas towards noise" },
    { "base_shift", OPTIONAL, AT(base_shift), -100, 100, NULL,
      "mu at base_image_seq_len; pipelines read it" },
    { "max_shift", OPTIONAL, AT(max_shift), -100, 100, NULL,
      "mu at max_image_seq_len; pipelines read it" },
    { "shift_terminal", OPTIONAL, AT(shift_terminal), 0, 1, NULL,
      "the last sigma, to which the others are stretched" },
    { "base_image_seq_len", WHOLE, AT(base_image_seq_len), 1, 1 << 30, NULL,
      "tokens of a picture with base_shift; pipelines read it" },
    { "max_image_seq_len", WHOLE, AT(max_image_seq_len), 1, 1 << 30, NULL,
      "tokens of a picture with max_shift; pipelines read it" },
    { "invert_sigmas", FLAG, AT(invert_sigmas), 0, 1, NULL, "takes 1 - sigma, up to 1" },
    { "stochastic_sampling", FLAG, AT(stochastic_sampling), 0, 1, NULL,
      "each step goes to x0 and back with new noise" },
    { "scale_factors", LIST, AT(scale_factors), 1e-6, 1e6, NULL,
      "enlarges the sample during a run: only null" },
    { "upscale_mode", WORD, AT(upscale_mode), 0, 0, upscale_modes, "how scale_factors enlarges" },
    { "sigma_data", NUMBER, AT(sigma_data), 1e-6, 1e6, NULL, "the deviation of the data" },
    { "sigma_schedule", WORD, AT(sigma_schedule), 0, 0, sigma_schedules, "how sigmas are spaced" },
    { "rho", NUMBER, AT(rho), 1e-3, 1e3, NULL, "the exponent of karras spacing" },
    { "snr", NUMBER, AT(snr), 0, 1e6, NULL, "the size of a corrector's step" },
    { "sampling_eps", NUMBER, AT(sampling_eps), 0, 1, NULL, "the time at which steps end" },
    { "correct_steps", WHOLE, AT(correct_steps), 0, 100, NULL, "corrector steps in each step" },
    { "clip_denoised", FLAG, AT(clip_denoised), 0, 1, NULL, "clips x0 to -1..1" },
    { "original_inference_steps", WHOLE, AT(original_inference_steps), 1, DFX__MAX_TRAIN_TIMESTEPS,
      NULL, "steps of the distillation, of which some are taken" },
    { "timestep_scaling", NUMBER, AT(timestep_scaling), 0, 1e6, NULL,
      "scales timesteps in the boundary condition" },
    /* of the call */
    { "timesteps", SCHEDULE, AT(timesteps), 0, 1e6, NULL,
      "the timesteps themselves, or the name of an Align Your Steps list" },
    { "sigmas", SCHEDULE, AT(sigmas), 0, 1e6, NULL,
      "the sigmas themselves, or the name of an Align Your Steps list" },
    { "mu", OPTIONAL, AT(mu), -100, 100, NULL, "the shift of use_dynamic_shifting" },
    { "eta", NUMBER, AT(eta), 0, 1e3, NULL, "how much noise steps add: 0 none, 1 all of DDPM's" },
    { "use_clipped_model_output", FLAG, AT(use_clipped_model_output), 0, 1, NULL,
      "takes the noise from the clipped x0" },
    { "s_churn", NUMBER, AT(s_churn), 0, 1e6, NULL,
      "noise added before a step (Karras et al. 2022)" },
    { "s_tmin", NUMBER, AT(s_tmin), 0, INFINITY, NULL, "the least sigma with s_churn" },
    { "s_tmax", NUMBER, AT(s_tmax), 0, INFINITY, NULL, "the largest sigma with s_churn" },
    { "s_noise", NUMBER, AT(s_noise), -1e6, 1e6, NULL, "the deviation of added noise" },
    { "strength", NUMBER, AT(strength), 0, 1, NULL,
      "the part of the distillation's steps that are picked from" },
    { "max_timesteps", OPTIONAL, AT(max_timesteps), 1e-6, 1e6, NULL, "the first timestep" },
    { "intermediate_timesteps", OPTIONAL, AT(intermediate_timesteps), 0, 1e6, NULL,
      "the timestep in the middle of two steps" },
    { "order", WHOLE, AT(order), 1, 8, NULL, "how many outputs are combined" },
    { "jump_length", WHOLE, AT(jump_length), 1, 1000, NULL, "steps of a jump back" },
    { "jump_n_sample", WHOLE, AT(jump_n_sample), 1, 1000, NULL, "how often a part is drawn" },
};
#undef AT

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

/* "from 0 to 1", for messages. */
static dfx_status fail_range(const struct key *key, const char *kind)
{
    return dfx__fail(DFX_ERROR_FORMAT, "%s must be %s from %g to %g", key->name, kind, key->least,
                     key->most);
}

static dfx_status set_word(const struct key *key, int *to, json_object *value)
{
    char list[256] = "";
    if (key->kind == MAYBE && !value) {
        *to = -1;
        return DFX_OK;
    }
    for (int i = 0; key->words[i]; i++) {
        if (json_object_is_type(value, json_type_string) &&
            strcmp(json_object_get_string(value), key->words[i]) == 0) {
            *to = i;
            return DFX_OK;
        }
        strcat(strcat(list, i ? ", " : ""), key->words[i]);
    }
    return dfx__fail(DFX_ERROR_FORMAT, "%s must be one of: %s%s", key->name, list,
                     key->kind == MAYBE ? ", null" : "");
}

static int is_number(json_object *value)
{
    return json_object_is_type(value, json_type_double) ||
           json_object_is_type(value, json_type_int);
}

static dfx_status set_number(const struct key *key, double *to, json_object *value)
{
    double number = is_number(value) ? json_object_get_double(value) : NAN;
    if (!(number >= key->least && number <= key->most))
        return fail_range(key, "a number");
    *to = number;
    return DFX_OK;
}

static dfx_status set_whole(const struct key *key, int *to, json_object *value)
{
    int64_t number = json_object_get_int64(value);
    if (!json_object_is_type(value, json_type_int) || number < key->least || number > key->most)
        return fail_range(key, "a whole number");
    *to = (int)number;
    return DFX_OK;
}

static dfx_status set_flag(const struct key *key, int *to, json_object *value)
{
    if (value && !json_object_is_type(value, json_type_boolean))
        return dfx__fail(DFX_ERROR_FORMAT, "%s must be true or false", key->name);
    *to = json_object_get_boolean(value);
    return DFX_OK;
}

static dfx_status fail_list(const struct key *key)
{
    return dfx__fail(DFX_ERROR_FORMAT, "%s must be a list of %d to %d %s", key->name,
                     key->kind != STEPS, DFX__MAX_TRAIN_TIMESTEPS,
                     key->kind == STEPS ? "whole numbers" : "numbers");
}

static dfx_status set_items(const struct key *key, float *to, json_object *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double number;
        if (set_number(key, &number, json_object_array_get_idx(list, i)) != DFX_OK ||
            (key->kind == STEPS && number != rint(number)))
            return dfx__fail(DFX_ERROR_FORMAT, "%s[%zu] must be a %snumber from %g to %g",
                             key->name, i, key->kind == STEPS ? "whole " : "", key->least,
                             key->most);
        to[i] = (float)number;
    }
    return DFX_OK;
}

/* null, and [] for steps, is an empty list. */
static dfx_status set_list(const struct key *key, dfx__floats *to, json_object *value)
{
    int array = json_object_is_type(value, json_type_array);
    size_t count = array ? json_object_array_length(value) : 0;
    if (value && (!array || count > DFX__MAX_TRAIN_TIMESTEPS || (count == 0 && key->kind != STEPS)))
        return fail_list(key);
    float *values = count ? dfx__alloc(count, sizeof *values) : NULL;
    if (count && !values)
        return dfx__no_memory();
    dfx_status status = set_items(key, values, value, count);
    if (status != DFX_OK) {
        free(values);
        return status;
    }
    free(to->values);
    *to = (dfx__floats){ values, (int)count };
    return DFX_OK;
}

static dfx_status set_schedule(const struct key *key, dfx__floats *to, json_object *value)
{
    if (!json_object_is_type(value, json_type_string))
        return set_list(key, to, value);
    int count;
    const float *list = dfx_scheduler_ays(json_object_get_string(value), &count);
    if (!list)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s must be a list of numbers or a name of diffusers' AysSchedules, such "
                         "as StableDiffusionXLTimesteps",
                         key->name);
    float *values = dfx__alloc((size_t)count, sizeof *values);
    if (!values)
        return dfx__no_memory();
    memcpy(values, list, (size_t)count * sizeof *values);
    free(to->values);
    *to = (dfx__floats){ values, count };
    return DFX_OK;
}

static dfx_status set_key(dfx__scheduler_config *c, const struct key *key, json_object *value)
{
    void *to = (char *)c + key->at;
    switch (key->kind) {
    case FLAG:
        return set_flag(key, to, value);
    case WHOLE:
        return set_whole(key, to, value);
    case WORD:
    case MAYBE:
        return set_word(key, to, value);
    case LIST:
    case STEPS:
        return set_list(key, to, value);
    case SCHEDULE:
        return set_schedule(key, to, value);
    case REFUSED:
        if (!value)
            return DFX_OK;
        return dfx__fail(DFX_ERROR_FORMAT, "%s is an object of Python's: it must be null",
                         key->name);
    case OPTIONAL:
        if (!value) {
            *(double *)to = NAN;
            return DFX_OK;
        }
        break;
    case NUMBER:
        break;
    }
    return set_number(key, to, value);
}

/* One "key=value" of a list with commas; a value can be a list of numbers. */
struct item {
    char key[sizeof((dfx_scheduler_key *)0)->name], value[4096];
};

/* Where an item ends: at a comma that stands in no brackets. */
static const char *item_end(const char *text)
{
    int depth = 0;
    for (; *text && (*text != ',' || depth > 0); text++)
        depth += (*text == '[') - (*text == ']');
    return text;
}

/* Takes the next item off *text: 1, 0 at the end, -1 when there is no key=value. */
static int next_item(const char **text, struct item *item)
{
    const char *from = *text, *end = item_end(from), *equals;
    if (!*from)
        return 0;
    *text = end + (*end == ',');
    equals = memchr(from, '=', (size_t)(end - from));
    if (!equals || equals == from || equals - from >= (ptrdiff_t)sizeof item->key ||
        end - equals > (ptrdiff_t)sizeof item->value)
        return -1;
    memcpy(item->key, from, (size_t)(equals - from));
    item->key[equals - from] = 0;
    memcpy(item->value, equals + 1, (size_t)(end - equals - 1));
    item->value[end - equals - 1] = 0;
    return 1;
}

/* Text as JSON, or as Python writes it, or a plain word. Null is NULL, as json-c has it. */
static dfx_status parse_value(json_object **out, const char *text)
{
    static const char *const python[][2] = { { "True", "true" },
                                             { "False", "false" },
                                             { "None", "null" },
                                             { "inf", "Infinity" },
                                             { "-inf", "-Infinity" } };
    for (size_t i = 0; i < sizeof python / sizeof *python; i++)
        if (strcmp(text, python[i][0]) == 0)
            text = python[i][1];
    *out = NULL;
    if (dfx__json_parse(out, text, strlen(text), "value") == DFX_OK)
        return DFX_OK;
    *out = json_object_new_string(text);
    return *out ? DFX_OK : dfx__no_memory();
}

static dfx_status set_item(dfx__scheduler_config *c, const struct item *item)
{
    json_object *value;
    DFX__TRY(parse_value(&value, item->value));
    dfx_status status = set_key(c, find_key(item->key), value);
    json_object_put(value);
    return status;
}

static dfx_status set_defaults(dfx__scheduler_config *c, const char *list)
{
    struct item item;
    while (next_item(&list, &item) > 0)
        DFX__TRY(set_item(c, &item));
    return DFX_OK;
}

dfx_status dfx__scheduler_config_defaults(dfx__scheduler_config *c, const dfx__scheduler_type *type)
{
    memset(c, 0, sizeof *c);
    c->sigma_min = c->sigma_max = c->mu = c->shift_terminal = NAN;
    c->lambda_min_clipped = -INFINITY;
    DFX__TRY(set_defaults(c, type->keys));
    return set_defaults(c, type->call_keys);
}

dfx_status dfx__scheduler_config_from_file(dfx__scheduler_config *c,
                                           const dfx__scheduler_type *type, json_object *file,
                                           const char *path)
{
    const char *list = type->keys;
    struct item item;
    while (next_item(&list, &item) > 0) {
        json_object *value;
        if (!json_object_object_get_ex(file, item.key, &value))
            continue;
        dfx_status status = set_key(c, find_key(item.key), value);
        if (status != DFX_OK)
            return dfx__fail_in(status, "%s", path);
    }
    return DFX_OK;
}

static int lists(const char *list, const char *key)
{
    struct item item;
    while (next_item(&list, &item) > 0)
        if (strcmp(item.key, key) == 0)
            return 1;
    return 0;
}

int dfx__describe_key(const dfx__scheduler_type *type, int index, dfx_scheduler_key *out)
{
    const char *lists[] = { type->keys, type->call_keys };
    struct item item;
    for (int call = 0; call < 2; call++)
        while (next_item(&lists[call], &item) > 0)
            if (index-- == 0) {
                *out = (dfx_scheduler_key){ .does = find_key(item.key)->does, .call = call };
                memcpy(out->name, item.key, sizeof out->name);
                memcpy(out->value, item.value, sizeof out->value);
                return 1;
            }
    return 0;
}

dfx_status dfx__scheduler_config_from_choice(dfx__scheduler_config *c,
                                             const dfx__scheduler_type *type, const char *text)
{
    struct item item;
    int found;
    while ((found = next_item(&text, &item)) != 0) {
        if (found < 0)
            return dfx__fail(
                DFX_ERROR_ARGUMENT,
                "scheduler %s: after the name come key=value pairs with commas between",
                type->class_name);
        if (!lists(type->keys, item.key) && !lists(type->call_keys, item.key))
            return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: unknown key '%s'; it has %s%s",
                             type->class_name, item.key, type->keys, type->call_keys);
        dfx_status status = set_item(c, &item);
        if (status != DFX_OK) /* what a file would have wrong is an argument here */
            return dfx__fail_in(status == DFX_ERROR_FORMAT ? DFX_ERROR_ARGUMENT : status,
                                "scheduler %s", type->class_name);
    }
    return DFX_OK;
}

static dfx_status check_word(const dfx__scheduler_type *type, unsigned known, int word,
                             const char *key, const char *const *words)
{
    if (!known || known >> word & 1)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "scheduler %s: does not take %s '%s'", type->class_name,
                     key, words[word]);
}

dfx_status dfx__scheduler_config_check(const dfx__scheduler_config *c,
                                       const dfx__scheduler_type *type)
{
    if (c->use_karras_sigmas + c->use_exponential_sigmas + c->use_beta_sigmas > 1)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler %s: only one of use_karras_sigmas, use_exponential_sigmas and "
                         "use_beta_sigmas can be true",
                         type->class_name);
    DFX__TRY(
        check_word(type, type->predictions, c->prediction_type, "prediction_type", predictions));
    DFX__TRY(check_word(type, type->algorithms, c->algorithm_type, "algorithm_type", algorithms));
    return check_word(type, type->solvers, c->solver_type, "solver_type", solvers);
}

void dfx__scheduler_config_free(dfx__scheduler_config *c)
{
    free(c->trained_betas.values);
    free(c->disable_corrector.values);
    free(c->scale_factors.values);
    free(c->timesteps.values);
    free(c->sigmas.values);
}
