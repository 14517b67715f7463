/* config.c - reading config.json with checks. */
#include "nn/config.h"

#include "core/file.h"
#include "core/status.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* What transformers writes into every file. */
static const dfx__config_rule transformers_rules[] = {
    { "architectures", NULL, "the class" },
    { "chunk_size_feed_forward", "*", "layers run in one piece" },
    { "dtype", "*", "weights have the dtype of their file" },
    { "id2label", "*", "of classifiers" },
    { "is_encoder_decoder", "*", "of other classes" },
    { "label2id", "*", "of classifiers" },
    { "model_type", "*", "architectures names the class" },
    { "output_attentions", "*", "results are asked for by name" },
    { "output_hidden_states", "*", "results are asked for by name" },
    { "problem_type", "*", "of classifiers" },
    { "return_dict", "*", "of Python" },
    { "torch_dtype", "*", "the old name of dtype" },
    { "transformers_version", "*", "which version wrote the file" },
    { NULL, NULL, NULL },
};

/* What transformers 4 writes into configs within configs: defaults of every class. */
static const dfx__config_rule inherited_rules[] = {
    { "add_cross_attention", "*", "of text models" },
    { "bad_words_ids", "*", "of text models" },
    { "begin_suppress_tokens", "*", "of text models" },
    { "bos_token_id", "*", "of text models" },
    { "cross_attention_hidden_size", "*", "of text models" },
    { "decoder_start_token_id", "*", "of text models" },
    { "diversity_penalty", "*", "of text models" },
    { "do_sample", "*", "of text models" },
    { "early_stopping", "*", "of text models" },
    { "encoder_no_repeat_ngram_size", "*", "of text models" },
    { "eos_token_id", "*", "of text models" },
    { "exponential_decay_length_penalty", "*", "of text models" },
    { "finetuning_task", "*", "of training" },
    { "forced_bos_token_id", "*", "of text models" },
    { "forced_eos_token_id", "*", "of text models" },
    { "is_decoder", "*", "of text models" },
    { "length_penalty", "*", "of text models" },
    { "max_length", "*", "of text models" },
    { "min_length", "*", "of text models" },
    { "no_repeat_ngram_size", "*", "of text models" },
    { "num_beam_groups", "*", "of text models" },
    { "num_beams", "*", "of text models" },
    { "num_return_sequences", "*", "of text models" },
    { "output_scores", "*", "of text models" },
    { "pad_token_id", "*", "of text models" },
    { "prefix", "*", "of text models" },
    { "pruned_heads", "*", "of training" },
    { "remove_invalid_values", "*", "of text models" },
    { "repetition_penalty", "*", "of text models" },
    { "return_dict_in_generate", "*", "of Python" },
    { "sep_token_id", "*", "of text models" },
    { "suppress_tokens", "*", "of text models" },
    { "task_specific_params", "*", "of text models" },
    { "temperature", "*", "of text models" },
    { "tf_legacy_loss", "*", "of training" },
    { "tie_encoder_decoder", "*", "of text models" },
    { "tie_word_embeddings", "*", "of text models" },
    { "tokenizer_class", "*", "of text models" },
    { "top_k", "*", "of text models" },
    { "top_p", "*", "of text models" },
    { "torchscript", "*", "of Python" },
    { "typical_p", "*", "of text models" },
    { "use_bfloat16", "*", "of training" },
    { NULL, NULL, NULL },
};

void dfx__config_add_rules(dfx__config *c, const dfx__config_rule *rules)
{
    if (c->lists < DFX__CONFIG_RULES)
        c->rules[c->lists++] = rules;
}

static void no_memory(dfx__config *c)
{
    if (c->status == DFX_OK)
        c->status = dfx__fail(DFX_ERROR_MEMORY, "%s: out of memory", c->path);
}

dfx_status dfx__config_take(dfx__config *c, json_object *json, const char *path)
{
    memset(c, 0, sizeof *c);
    snprintf(c->path, sizeof c->path, "%s", path);
    c->json = json;
    c->read = json_object_new_object();
    int of_diffusers = json_object_object_get_ex(c->json, "_class_name", NULL);
    dfx__config_add_rules(c, dfx__common_rules);
    if (!of_diffusers)
        dfx__config_add_rules(c, transformers_rules);
    if (!json_object_is_type(c->json, json_type_object))
        c->status = dfx__fail(DFX_ERROR_FORMAT, "%s: it is not a JSON object", c->path);
    else if (!dfx__json_put(c->read, of_diffusers ? "_class_name" : "architectures", NULL))
        no_memory(c);
    if (c->status != DFX_OK)
        dfx__config_close(c);
    return c->status;
}

dfx_status dfx__config_open(dfx__config *c, const char *folder)
{
    return dfx__config_open_file(c, folder, "config.json");
}

dfx_status dfx__config_open_file(dfx__config *c, const char *folder, const char *name)
{
    json_object *json;
    char *path = dfx__path_join(folder, name);
    if (!path)
        return dfx__no_memory();
    dfx_status status = dfx__json_read(&json, path);
    if (status == DFX_OK)
        status = dfx__config_take(c, json, path);
    free(path);
    return status;
}

void dfx__config_close(dfx__config *c)
{
    json_object_put(c->json);
    json_object_put(c->read);
    c->json = c->read = NULL;
}

void dfx__config_refuse(dfx__config *c, const char *key, const char *why, ...)
{
    char text[256];
    va_list args;
    va_start(args, why);
    vsnprintf(text, sizeof text, why, args);
    va_end(args);
    if (c->status == DFX_OK)
        c->status = dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: %s: %s", c->path, key, text);
}

static void wrong(dfx__config *c, const char *key, const char *needed)
{
    if (c->status == DFX_OK)
        c->status = dfx__fail(DFX_ERROR_FORMAT, "%s: %s must be %s", c->path, key, needed);
}

/* The value of a key, NULL when it is absent or null; the key counts as read. */
static json_object *value_of(dfx__config *c, const char *key)
{
    json_object *v = NULL;
    if (!json_object_object_get_ex(c->read, key, NULL) && !dfx__json_put(c->read, key, NULL))
        no_memory(c);
    return json_object_object_get_ex(c->json, key, &v) ? v : NULL;
}

/* The same, with what stands for it where it is missing (NULL for null). */
static json_object *value_or(dfx__config *c, const char *key, json_object *missing)
{
    if (!dfx__json_put(c->read, key, missing))
        no_memory(c);
    return value_of(c, key);
}

/* A value that was just made. */
static json_object *made(dfx__config *c, json_object *value)
{
    if (!value)
        no_memory(c);
    return value;
}

static json_object *int_or_null(dfx__config *c, int missing, int min, int max)
{
    return missing < min || missing > max ? NULL : made(c, json_object_new_int(missing));
}

static json_object *float_text(dfx__config *c, float value)
{
    char text[32];
    snprintf(text, sizeof text, "%g", value);
    return made(c, json_object_new_double_s(value, text));
}

void dfx__config_default(dfx__config *c, const char *key, const char *text)
{
    json_object *value = json_tokener_parse(text);
    if (!dfx__json_put_new(c->read, key, value ? value : json_object_new_string(text)))
        no_memory(c);
}

int dfx__config_open_part(dfx__config *part, dfx__config *c, const char *key)
{
    json_object *v = value_of(c, key);
    *part = (dfx__config){ .read = json_object_new_object() };
    snprintf(part->path, sizeof part->path, "%.900s: %s", c->path, key);
    if (v && !json_object_is_type(v, json_type_object))
        wrong(c, key, "an object");
    int given = json_object_is_type(v, json_type_object);
    part->json = given ? json_object_get(v) : json_object_new_object();
    if (!part->json || !part->read)
        no_memory(part);
    dfx__config_add_rules(part, dfx__common_rules);
    dfx__config_add_rules(part, transformers_rules);
    dfx__config_add_rules(part, inherited_rules);
    return given;
}

void dfx__config_close_part(dfx__config *part, dfx__config *c)
{
    if (c->status == DFX_OK)
        c->status = part->status;
    dfx__config_close(part);
}

static int as_int(dfx__config *c, const char *key, json_object *v, int min, int max)
{
    char needed[64];
    int64_t n = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : INT64_MIN;
    if (n >= min && n <= max)
        return (int)n;
    snprintf(needed, sizeof needed, "a whole number from %d to %d", min, max);
    wrong(c, key, needed);
    return min;
}

int dfx__config_int(dfx__config *c, const char *key, int missing, int min, int max)
{
    json_object *v = value_or(c, key, int_or_null(c, missing, min, max));
    return v ? as_int(c, key, v, min, max) : missing;
}

static float as_float(dfx__config *c, const char *key, json_object *v)
{
    if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
        wrong(c, key, "a number");
    return (float)json_object_get_double(v);
}

float dfx__config_float(dfx__config *c, const char *key, float missing)
{
    json_object *v = value_or(c, key, float_text(c, missing));
    return v ? as_float(c, key, v) : missing;
}

static int as_bool(dfx__config *c, const char *key, json_object *v)
{
    if (!json_object_is_type(v, json_type_boolean))
        wrong(c, key, "true or false");
    return json_object_get_boolean(v);
}

int dfx__config_bool(dfx__config *c, const char *key, int missing)
{
    json_object *v = value_or(c, key, made(c, json_object_new_boolean(missing)));
    return v ? as_bool(c, key, v) : missing;
}

const char *dfx__config_string(dfx__config *c, const char *key, const char *missing)
{
    int has_word = missing && *missing; /* without one it is null */
    json_object *v = value_or(c, key, has_word ? made(c, json_object_new_string(missing)) : NULL);
    if (!v)
        return missing;
    if (!json_object_is_type(v, json_type_string))
        wrong(c, key, "a string");
    return json_object_get_string(v);
}

/* The value of a key that is a list of n or stands for all n; NULL when it is absent or wrong. */
static json_object *value_for_each(dfx__config *c, const char *key, int n, json_object *missing)
{
    json_object *v = value_or(c, key, missing);
    if (!json_object_is_type(v, json_type_array) || json_object_array_length(v) == (size_t)n)
        return v;
    char needed[64];
    snprintf(needed, sizeof needed, "a list of %d", n);
    wrong(c, key, needed);
    return NULL;
}

static json_object *entry(json_object *v, int i)
{
    return json_object_is_type(v, json_type_array) ? json_object_array_get_idx(v, (size_t)i) : v;
}

void dfx__config_ints(dfx__config *c, const char *key, int *out, int n, int missing, int min,
                      int max)
{
    json_object *v = value_for_each(c, key, n, int_or_null(c, missing, min, max));
    for (int i = 0; i < n; i++)
        out[i] = v ? as_int(c, key, entry(v, i), min, max) : missing;
}

int dfx__config_int_rows(dfx__config *c, const char *key, int *out, int n, int width, int missing,
                         int min, int max)
{
    json_object *v = value_for_each(c, key, n, int_or_null(c, missing, min, max));
    int nested = 0;
    for (int i = 0; i < n; i++) {
        json_object *row = v ? entry(v, i) : NULL;
        int is_list = json_object_is_type(row, json_type_array);
        size_t length = is_list ? json_object_array_length(row) : (size_t)width;
        nested |= is_list;
        for (int k = 0; k < width; k++)
            out[i * width + k] = !v                   ? missing
                                 : (size_t)k < length ? as_int(c, key, entry(row, k), min, max)
                                                      : -1;
    }
    return nested;
}

int dfx__config_is_null(dfx__config *c, const char *key)
{
    return !value_of(c, key) && json_object_object_get_ex(c->json, key, NULL);
}

int dfx__config_int_or_null(dfx__config *c, const char *key, int missing, int min, int max)
{
    return dfx__config_is_null(c, key) ? 0 : dfx__config_int(c, key, missing, min, max);
}

void dfx__config_floats(dfx__config *c, const char *key, float *out, int n, float missing)
{
    json_object *v = value_for_each(c, key, n, float_text(c, missing));
    for (int i = 0; i < n; i++)
        out[i] = v ? as_float(c, key, entry(v, i)) : missing;
}

void dfx__config_bools(dfx__config *c, const char *key, int *out, int n, int missing)
{
    json_object *v = value_for_each(c, key, n, made(c, json_object_new_boolean(missing)));
    for (int i = 0; i < n; i++)
        out[i] = v ? as_bool(c, key, entry(v, i)) : missing;
}

int dfx__config_length(dfx__config *c, const char *key, int most)
{
    json_object *v = value_of(c, key);
    if (!v)
        return 0;
    if (json_object_is_type(v, json_type_array) && json_object_array_length(v) <= (size_t)most)
        return (int)json_object_array_length(v);
    char needed[64];
    snprintf(needed, sizeof needed, "a list of at most %d", most);
    wrong(c, key, needed);
    return 0;
}

const char *dfx__config_string_at(dfx__config *c, const char *key, int i)
{
    json_object *list = value_of(c, key);
    json_object *v = list ? json_object_array_get_idx(list, (size_t)i) : NULL;
    if (v && json_object_is_type(v, json_type_string))
        return json_object_get_string(v);
    wrong(c, key, "a list of strings");
    return "";
}

static void check_rule(dfx__config *c, const dfx__config_rule *rule)
{
    json_object *v = json_object_object_get(c->json, rule->key);
    if (!v || !rule->value || strcmp(rule->value, "*") == 0)
        return;
    const char *text = json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN);
    if (!text)
        no_memory(c);
    else if (strcmp(text, rule->value) != 0)
        dfx__config_refuse(c, rule->key, "%.100s is not supported (only %s)", text, rule->value);
}

dfx_status dfx__config_finish(dfx__config *c, const dfx__config_rule *rules)
{
    dfx__config_add_rules(c, rules);
    for (int i = 0; i < c->lists; i++)
        for (const dfx__config_rule *r = c->rules[i]; r->key; r++)
            check_rule(c, r);
    json_object_object_foreach (c->read, key, missing) {
        (void)missing;
        if (!dfx__find_rule(c->rules, c->lists, key))
            dfx__config_refuse(c, key, "the class reads it without a rule");
    }
    if (c->status != DFX_OK)
        return c->status;
    json_object_object_foreach (c->json, name, v) {
        (void)v;
        if (name[0] != '_' && !dfx__find_rule(c->rules, c->lists, name))
            dfx__log("%s: the key %s is unknown and ignored", c->path, name);
    }
    return DFX_OK;
}

dfx_status dfx__config_list(const dfx__config *c, dfx_config_keys *keys)
{
    return dfx__config_keys_add_file(keys, c->json, c->read, c->rules, c->lists);
}
