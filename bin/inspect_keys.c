/* inspect_keys.c - what is done with each key of a config, as text and as JSON. */
#include "inspect_keys.h"

#include "print.h"

#include <stdio.h>
#include <string.h>

enum { NAME_WIDTH = 40, VALUE_WIDTH = 24, LONG_LIST = 40, SHORT_TEXT = 32 };

const dfx_config_key *find_key(const dfx_config_keys *keys, const char *name)
{
    for (int i = 0; i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *key = dfx_config_keys_at(keys, i);
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

/* A value on a line: of long lists their length. */
static const char *short_value(char text[SHORT_TEXT], const char *value)
{
    int is_list = *value == '[';
    if (strlen(value) <= LONG_LIST || (!is_list && *value != '{'))
        return value;
    json_object *list = is_list ? json_tokener_parse(value) : NULL;
    if (json_object_is_type(list, json_type_array))
        snprintf(text, SHORT_TEXT, "[%zu values]", json_object_array_length(list));
    else
        snprintf(text, SHORT_TEXT, "{...}");
    json_object_put(list);
    return text;
}

static int is_ignored(const dfx_config_key *key)
{
    return key->state == DFX_KEY_IGNORED || key->state == DFX_KEY_UNKNOWN;
}

static void print_key(const dfx_config_key *key, int name_width, int value_width)
{
    char text[SHORT_TEXT];
    fputs("  ", stdout);
    print_column(key->name, name_width);
    print_column(short_value(text, key->value), value_width);
    printf("%s%s%s%s\n", is_ignored(key) ? "ignored" : "", is_ignored(key) && key->does ? ": " : "",
           key->does ? key->does : "", key->state == DFX_KEY_DEFAULT ? " (default)" : "");
}

static int wider(const char *text, int width, size_t most)
{
    int length = (int)strnlen(text, most);
    return length > width ? length : width;
}

void print_keys(const dfx_config_keys *keys, key_filter *filter, void *user)
{
    int name_width = 0, value_width = 0;
    for (int i = 0; i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *key = dfx_config_keys_at(keys, i);
        char text[SHORT_TEXT];
        if (filter && !filter(user, key))
            continue;
        name_width = wider(key->name, name_width, NAME_WIDTH);
        value_width = wider(short_value(text, key->value), value_width, VALUE_WIDTH);
    }
    for (int i = 0; i < dfx_config_keys_count(keys); i++)
        if (!filter || filter(user, dfx_config_keys_at(keys, i)))
            print_key(dfx_config_keys_at(keys, i), name_width, value_width);
}

json_object *keys_json(const dfx_config_keys *keys, key_filter *filter, void *user)
{
    json_object *array = json_object_new_array();
    for (int i = 0; i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *key = dfx_config_keys_at(keys, i);
        if (filter && !filter(user, key))
            continue;
        json_object *o = json_object_new_object();
        print_put(o, "key", json_object_new_string(key->name));
        print_put(o, "value", json_object_new_string(key->value));
        print_put(o, "default", json_object_new_boolean(key->state == DFX_KEY_DEFAULT));
        print_put(o, "ignored", json_object_new_boolean(is_ignored(key)));
        if (key->does)
            print_put(o, "does", json_object_new_string(key->does));
        print_append(array, o);
    }
    return array;
}
