/* keys.c - what a scheduler does with each key of its config. */
#include "scheduler/scheduler.h"

#include "core/status.h"

#include <string.h>

/* A default as it stands in a class's row: JSON, or a plain word. Whether there was memory. */
static int put_default(json_object *read, const char *key, const char *text)
{
    enum json_tokener_error error;
    json_object *value = json_tokener_parse_verbose(text, &error);
    if (error == json_tokener_success)
        return dfx__json_put(read, key, value);
    return dfx__json_put_text(read, key, text);
}

/* The rules of the class's keys, and their defaults into `read`. */
static const dfx__config_rule *make_rules(dfx__pool *pool, json_object *read, const char *class)
{
    dfx_scheduler_key key;
    int count = 0;
    while (dfx_scheduler_describe_key(class, count, &key))
        count++;
    dfx__config_rule *rules = dfx__pool_alloc(pool, (size_t)(count + 1) * sizeof *rules);
    for (int i = 0, n = 0; rules && i < count; i++) {
        dfx_scheduler_describe_key(class, i, &key);
        if (key.call)
            continue;
        rules[n].key = dfx__pool_copy(pool, key.name);
        rules[n].does = key.does;
        if (!rules[n++].key || !put_default(read, key.name, key.value))
            return NULL;
    }
    return rules;
}

static dfx_status list_keys(dfx_config_keys *k, json_object *file, const char *class)
{
    json_object *read = json_object_new_object();
    const dfx__config_rule *rules = read ? make_rules(&k->pool, read, class) : NULL;
    const dfx__config_rule *lists[] = { dfx__common_rules, rules };
    dfx_status status = rules && dfx__json_put(read, "_class_name", NULL)
                            ? dfx__config_keys_add_file(k, file, read, lists, 2)
                            : dfx__no_memory();
    json_object_put(read);
    return status;
}

dfx_status dfx__scheduler_keys(dfx_config_keys *keys, const char *config)
{
    dfx_scheduler *s;
    json_object *file;
    DFX__TRY(dfx_scheduler_open(&s, config, NULL));
    dfx_status status = dfx__scheduler_read(&file, config);
    if (status == DFX_OK) {
        status = list_keys(keys, file, dfx_scheduler_class(s));
        json_object_put(file);
    }
    dfx_scheduler_free(s);
    return status;
}
