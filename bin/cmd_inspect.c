/* cmd_inspect.c - dfx inspect: the settings in a picture, the components of a model, the keys of a
 * scheduler. */
#include "cmd.h"
#include "inspect_scheduler.h"
#include "print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct settings {
    const char *path;
    int json;
};

static const struct settings defaults;

static const struct option options[] = {
    { "json", OPTION_FLAG, offsetof(struct settings, json), NULL, "print JSON", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "FILE.png|MODEL", offsetof(struct settings, path), 1,
      "a picture made by dfx generate (- is standard\n"
      "input), a model or a component of one, or a\n"
      "scheduler_config.json" },
    { .name = NULL },
};

#define CONFIG "scheduler_config.json"
enum { INDEX_BYTES = 1 << 20, JSON_DEPTH = 32, NAME_WIDTH = 16 };

static int inspect_picture(const struct settings *s)
{
    dfx_image_text *texts;
    int count, code = EXIT_DONE;
    dfx_status status = dfx_image_read_texts(&texts, &count, s->path);
    if (status != DFX_OK)
        return cmd_fail(status);
    json_object *object = s->json ? json_object_new_object() : NULL;
    for (int i = 0; i < count; i++) {
        if (s->json) {
            json_object_object_add(object, texts[i].key, json_object_new_string(texts[i].text));
            continue;
        }
        print_text(texts[i].key, 0);
        fputs(": ", stdout);
        print_text(texts[i].text, 4);
        putchar('\n');
    }
    dfx_image_texts_free(texts, count);
    if (s->json)
        code = print_json(object);
    else if (count == 0)
        code = cmd_fail_with(EXIT_FAILED, "%s: no settings are stored in it", s->path);
    return code;
}

/* One component of a model; what fails to load is said in its place. */
struct component {
    const char *name, *class;
    const dfx_checkpoint *files;
    int64_t parameters;     /* -1 for what has none */
    json_object *scheduler; /* the config of one */
    char *problem;
};

static json_object *parse(const char *text, size_t bytes)
{
    json_tokener *tokener = bytes <= INDEX_BYTES ? json_tokener_new_ex(JSON_DEPTH) : NULL;
    json_object *object = tokener ? json_tokener_parse_ex(tokener, text, (int)bytes + 1) : NULL;
    json_tokener_free(tokener);
    return object;
}

/* Reads a JSON object; NULL with a message when it is none, of that kind of file. */
static json_object *read_object(const dfx_checkpoint *files, const char *name, const char *kind)
{
    char *text;
    size_t bytes;
    dfx_status status = dfx_checkpoint_read(&text, &bytes, files, name);
    if (status != DFX_OK) {
        cmd_fail(status);
        return NULL;
    }
    json_object *object = parse(text, bytes);
    free(text);
    if (!json_object_is_type(object, json_type_object)) {
        cmd_fail_with(EXIT_FAILED, "%s%s%s: not a JSON object of a %s", dfx_checkpoint_path(files),
                      *name ? "/" : "", name, kind);
        json_object_put(object);
        return NULL;
    }
    return object;
}

/* A component without weights: a scheduler has its config, others have nothing to tell. */
static int open_scheduler(struct component *c)
{
    int code = EXIT_DONE;
    if (!dfx_checkpoint_has(c->files, CONFIG))
        return EXIT_DONE;
    c->problem = scheduler_problem(dfx_checkpoint_path(c->files), &code);
    if (!c->problem && !(c->scheduler = read_object(c->files, CONFIG, "scheduler")))
        code = EXIT_FAILED;
    return code;
}

static void close_component(struct component *c)
{
    json_object_put(c->scheduler);
    free(c->problem);
}

/* Opens the component: a model, which has a config.json, or a scheduler. Returns EXIT_FAILED for a
 * broken one; a class that is not supported is no failure here. */
static int open_component(struct component *c)
{
    dfx_model *model;
    c->parameters = -1;
    if (!dfx_checkpoint_has(c->files, "config.json"))
        return open_scheduler(c);
    dfx_status status = dfx_model_open(&model, dfx_checkpoint_path(c->files));
    if (status != DFX_OK) {
        c->problem = strdup(dfx_error());
        return status == DFX_ERROR_UNSUPPORTED ? EXIT_DONE : EXIT_FAILED;
    }
    c->parameters = dfx_model_parameters(model);
    dfx_model_free(model);
    return EXIT_DONE;
}

static void print_component(const struct component *c)
{
    print_column(c->name, NAME_WIDTH);
    print_text(c->class, 0);
    if (c->problem) {
        fputs("  ", stdout);
        print_text(c->problem, 0);
    }
    if (c->parameters >= 0)
        printf("  %" PRId64 " parameters", c->parameters);
    putchar('\n');
    if (c->scheduler)
        print_scheduler_keys(c->scheduler);
}

static json_object *component_json(const struct component *c)
{
    json_object *o = json_object_new_object();
    json_object_object_add(o, "name", json_object_new_string(c->name));
    json_object_object_add(o, "class", json_object_new_string(c->class));
    if (c->parameters >= 0)
        json_object_object_add(o, "parameters", json_object_new_int64(c->parameters));
    if (c->problem)
        json_object_object_add(o, "problem", json_object_new_string(c->problem));
    if (c->scheduler)
        json_object_object_add(o, "keys", scheduler_keys_json(c->scheduler));
    return o;
}

/* "unet": ["diffusers", "UNet2DConditionModel"] -> the class; NULL for what is no component. */
static const char *class_of(const char *key, json_object *value)
{
    if (key[0] == '_' || strchr(key, '/') || !json_object_is_type(value, json_type_array) ||
        json_object_array_length(value) != 2)
        return NULL;
    json_object *class = json_object_array_get_idx(value, 1);
    return json_object_is_type(class, json_type_string) ? json_object_get_string(class) : NULL;
}

/* What an inspection goes through. */
struct inspection {
    const struct settings *settings;
    const dfx_checkpoint *files;
};

static int list_component(const struct inspection *i, const char *name, const char *class,
                          json_object *array)
{
    dfx_checkpoint *files;
    char *path;
    if (asprintf(&path, "%s/%s", dfx_checkpoint_path(i->files), name) < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    dfx_status status = dfx_checkpoint_open(&files, path);
    free(path);
    if (status != DFX_OK)
        return cmd_fail(status);
    struct component c = { .name = name, .class = class, .files = files };
    int code = open_component(&c);
    if (array)
        json_object_array_add(array, component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    dfx_checkpoint_free(files);
    return code;
}

static int list_components(const struct inspection *i, json_object *index, json_object *array)
{
    int code = EXIT_DONE;
    struct json_object_iterator at = json_object_iter_begin(index);
    struct json_object_iterator end = json_object_iter_end(index);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *name = json_object_iter_peek_name(&at);
        const char *class = class_of(name, json_object_iter_peek_value(&at));
        if (class && list_component(i, name, class, array) != EXIT_DONE)
            code = EXIT_FAILED;
    }
    return code;
}

static int inspect_pipeline(const struct inspection *i)
{
    json_object *index = read_object(i->files, "model_index.json", "model's components");
    if (!index)
        return EXIT_FAILED;
    json_object *class = json_object_object_get(index, "_class_name");
    const char *name = class ? json_object_get_string(class) : "(no _class_name)";
    const char *form = dfx_checkpoint_form(i->files);
    json_object *array = i->settings->json ? json_object_new_array() : NULL;
    if (!array) {
        print_text(name, 0);
        printf("%s%s\n", form ? ", one file: " : "", form ? form : "");
    }
    int code = list_components(i, index, array);
    if (array) {
        json_object *top = json_object_new_object();
        json_object_object_add(top, "class", json_object_new_string(name));
        if (form)
            json_object_object_add(top, "form", json_object_new_string(form));
        json_object_object_add(top, "components", array);
        if (print_json(top) != EXIT_DONE)
            code = EXIT_FAILED;
    }
    json_object_put(index);
    return code;
}

/* Its config has that name; "" is the path itself. */
static int inspect_scheduler(const struct inspection *i, const char *name)
{
    int code;
    struct component c = { .name = i->settings->path, .parameters = -1 };
    char *problem = scheduler_problem(dfx_checkpoint_path(i->files), &code);
    if (problem)
        code = cmd_fail_with(EXIT_FAILED, "%s", problem);
    else if (!(c.scheduler = read_object(i->files, name, "scheduler")))
        code = EXIT_FAILED;
    free(problem);
    if (code != EXIT_DONE)
        return code;
    c.class = json_object_get_string(json_object_object_get(c.scheduler, "_class_name"));
    if (i->settings->json)
        code = print_json(component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    return code;
}

static int inspect_model(const struct inspection *i)
{
    dfx_model *model;
    dfx_status status = dfx_model_open(&model, dfx_checkpoint_path(i->files));
    if (status != DFX_OK)
        return cmd_fail(status);
    const struct component c = { .name = i->settings->path,
                                 .class = dfx_model_class(model),
                                 .parameters = dfx_model_parameters(model) };
    int code = EXIT_DONE;
    if (i->settings->json)
        code = print_json(component_json(&c));
    else
        print_component(&c);
    dfx_model_free(model);
    return code;
}

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static int inspect_files(const struct inspection *i)
{
    struct stat status;
    const char *path = dfx_checkpoint_path(i->files);
    if (dfx_checkpoint_has(i->files, "model_index.json"))
        return inspect_pipeline(i);
    if (dfx_checkpoint_has(i->files, CONFIG))
        return inspect_scheduler(i, CONFIG);
    if (ends_with(path, ".json") && dfx_checkpoint_has(i->files, ""))
        return inspect_scheduler(i, "");
    if (dfx_checkpoint_form(i->files))
        return inspect_model(i);
    if (stat(path, &status) != 0)
        return cmd_fail_with(EXIT_FAILED, "%s: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) ? inspect_model(i) : inspect_picture(i->settings);
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_checkpoint *files;
    if (strcmp(s->path, "-") == 0)
        return inspect_picture(s);
    dfx_status status = dfx_checkpoint_open(&files, s->path);
    if (status != DFX_OK)
        return cmd_fail(status);
    int code = inspect_files(&(struct inspection){ s, files });
    dfx_checkpoint_free(files);
    return code;
}

const struct command cmd_inspect = {
    .name = "inspect",
    .summary = "print a picture's settings, a model's components, a scheduler's keys",
    .example = "  dfx inspect red-apple-42.png\n"
               "  dfx inspect share/models/emoji\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
