/* config_keys.c - listing what is done with each key of a config file. */
#include "core/config_keys.h"

#include "core/status.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const dfx__config_rule dfx__common_rules[] = {
    { "_class_name", NULL, "the class" },
    { "_diffusers_version", "*", "the version that wrote the file" },
    { "_name_or_path", "*", "where it was loaded from" },
    { NULL, NULL, NULL },
};

const dfx__config_rule *dfx__find_rule(const dfx__config_rule *const *lists, int count,
                                       const char *key)
{
    for (int i = 0; i < count; i++)
        for (const dfx__config_rule *r = lists[i]; r->key; r++)
            if (strcmp(r->key, key) == 0 || strcmp(r->key, "*") == 0)
                return r;
    return NULL;
}

void dfx_config_keys_free(dfx_config_keys *k)
{
    if (k)
        dfx__pool_free(&k->pool);
    free(k);
}

int dfx_config_keys_count(const dfx_config_keys *k)
{
    return k->count;
}

const dfx_config_key *dfx_config_keys_at(const dfx_config_keys *k, int index)
{
    return index >= 0 && index < k->count ? &k->key[index] : NULL;
}

static dfx_status make_room(dfx_config_keys *k)
{
    if (k->count < k->room)
        return DFX_OK;
    int room = k->room ? 2 * k->room : 64;
    dfx_config_key *key =
        k->room < INT_MAX / 2 ? dfx__pool_alloc(&k->pool, (size_t)room * sizeof *key) : NULL;
    if (!key)
        return dfx__no_memory();
    if (k->count)
        memcpy(key, k->key, (size_t)k->count * sizeof *key);
    k->key = key;
    k->room = room;
    return DFX_OK;
}

static const char *value_text(json_object *value)
{
    if (json_object_is_type(value, json_type_string))
        return json_object_get_string(value);
    return json_object_to_json_string_ext(value,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

dfx_status dfx__config_keys_add(dfx_config_keys *k, const char *name, json_object *value,
                                const char *does, dfx_key_state state)
{
    DFX__TRY(make_room(k));
    const char *text = value_text(value);
    dfx_config_key *key = &k->key[k->count];
    *key = (dfx_config_key){ .name = dfx__pool_copy(&k->pool, name),
                             .value = text ? dfx__pool_copy(&k->pool, text) : NULL,
                             .does = does ? dfx__pool_copy(&k->pool, does) : NULL,
                             .state = state };
    if (!key->name || !key->value || (does && !key->does))
        return dfx__no_memory();
    k->count++;
    return DFX_OK;
}

/* Whether the class looked at a key that its rule has it read. */
static int was_read(json_object *read, const char *key)
{
    return !read || json_object_object_get_ex(read, key, NULL);
}

static dfx_status add_present(dfx_config_keys *k, const char *name, json_object *value,
                              json_object *read, const dfx__config_rule *rule)
{
    if (!rule)
        return dfx__config_keys_add(k, name, value, NULL, DFX_KEY_UNKNOWN);
    int used = rule->value ? strcmp(rule->value, "*") != 0 : was_read(read, name);
    return dfx__config_keys_add(k, name, value, rule->does, used ? DFX_KEY_USED : DFX_KEY_IGNORED);
}

/* A key that the file lacks, where something stands for it. */
static dfx_status add_missing(dfx_config_keys *k, json_object *read, const dfx__config_rule *rule)
{
    json_object *value = NULL;
    if (rule->value && strcmp(rule->value, "*") == 0)
        return DFX_OK;
    if (!rule->value && (!read || !json_object_object_get_ex(read, rule->key, &value)))
        return DFX_OK;
    json_object *only = rule->value ? json_tokener_parse(rule->value) : NULL;
    if (!only && rule->value && strcmp(rule->value, "null") != 0)
        return dfx__no_memory();
    dfx_status status =
        dfx__config_keys_add(k, rule->key, rule->value ? only : value, rule->does, DFX_KEY_DEFAULT);
    json_object_put(only);
    return status;
}

dfx_status dfx__config_keys_add_file(dfx_config_keys *k, json_object *file, json_object *read,
                                     const dfx__config_rule *const *lists, int count)
{
    json_object_object_foreach (file, name, value) {
        const dfx__config_rule *rule = dfx__find_rule(lists, count, name);
        DFX__TRY(add_present(k, name, value, read, rule));
    }
    for (int i = 0; i < count; i++)
        for (const dfx__config_rule *r = lists[i]; r->key; r++)
            if (!json_object_object_get_ex(file, r->key, NULL))
                DFX__TRY(add_missing(k, read, r));
    return DFX_OK;
}
