/* inspect_scheduler.c - what each key of a scheduler's config does, or that it is ignored. */
#include "inspect_scheduler.h"

#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_WIDTH = 27, VALUE_WIDTH = 16 };

char *scheduler_problem(const char *path, int *code)
{
    dfx_scheduler *s;
    dfx_status status = dfx_scheduler_open(&s, path, NULL);
    dfx_scheduler_free(s);
    *code = status == DFX_OK || status == DFX_ERROR_UNSUPPORTED ? EXIT_DONE : EXIT_FAILED;
    return status == DFX_OK ? NULL : strdup(dfx_error());
}

/* One line of the listing. */
struct line {
    const char *key, *value, *does; /* does NULL: the class ignores the key */
    int is_default;                 /* the class's; the file does not have the key */
};

typedef void line_function(void *user, const struct line *line);

static const char *class_of(json_object *config)
{
    json_object *class = json_object_object_get(config, "_class_name");
    return json_object_is_type(class, json_type_string) ? json_object_get_string(class) : "";
}

static const char *find_purpose(const char *class, const char *name)
{
    dfx_scheduler_key key;
    for (int i = 0; dfx_scheduler_describe_key(class, i, &key); i++)
        if (!key.call && strcmp(key.name, name) == 0)
            return key.does;
    return NULL;
}

/* A value on a line: words without quotes, lists by their length. */
static const char *value_text(char text[32], json_object *value)
{
    if (json_object_is_type(value, json_type_array))
        snprintf(text, 32, "[%zu values]", json_object_array_length(value));
    else if (json_object_is_type(value, json_type_object))
        snprintf(text, 32, "{...}");
    else
        return value ? json_object_get_string(value) : "null";
    return text;
}

static void list_keys(json_object *config, line_function *put, void *user)
{
    const char *class = class_of(config);
    struct json_object_iterator i = json_object_iter_begin(config);
    struct json_object_iterator end = json_object_iter_end(config);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        char text[32];
        struct line line = { .key = json_object_iter_peek_name(&i) };
        if (line.key[0] == '_') /* the class, and which version of diffusers wrote the file */
            continue;
        line.value = value_text(text, json_object_iter_peek_value(&i));
        line.does = find_purpose(class, line.key);
        put(user, &line);
    }
    dfx_scheduler_key key;
    for (int k = 0; dfx_scheduler_describe_key(class, k, &key); k++)
        if (!key.call && !json_object_object_get_ex(config, key.name, NULL))
            put(user, &(struct line){ key.name, key.value, key.does, 1 });
}

static void print_line(void *user, const struct line *line)
{
    (void)user;
    fputs("  ", stdout);
    print_column(line->key, KEY_WIDTH);
    print_column(line->value, VALUE_WIDTH);
    printf("%s%s\n", line->does ? line->does : "ignored", line->is_default ? " (default)" : "");
}

void print_scheduler_keys(json_object *config)
{
    list_keys(config, print_line, NULL);
}

static void add_line(void *user, const struct line *line)
{
    json_object *o = json_object_new_object();
    json_object_object_add(o, "key", json_object_new_string(line->key));
    json_object_object_add(o, "value", json_object_new_string(line->value));
    json_object_object_add(o, "default", json_object_new_boolean(line->is_default));
    json_object_object_add(o, "ignored", json_object_new_boolean(!line->does));
    if (line->does)
        json_object_object_add(o, "does", json_object_new_string(line->does));
    json_object_array_add(user, o);
}

json_object *scheduler_keys_json(json_object *config)
{
    json_object *array = json_object_new_array();
    list_keys(config, add_line, array);
    return array;
}
