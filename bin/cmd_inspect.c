/* cmd_inspect.c - dfx inspect: the settings in a picture, the components of a model, the keys of a
 * scheduler. */
#include "cmd.h"
#include "inspect_scheduler.h"
#include "print.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
      "input), a model's folder or a component's, or a\n"
      "scheduler_config.json" },
    { .name = NULL },
};

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
    const char *name, *class, *folder;
    int64_t parameters;     /* -1 for what has none */
    json_object *scheduler; /* the config of one */
    char *problem;
};

/* Reads a JSON object; NULL with a message when it is none, of that kind of file. */
static json_object *read_object(const char *path, const char *kind)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        cmd_fail_with(EXIT_FAILED, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    json_object *object = NULL;
    if (S_ISREG(status.st_mode) && status.st_size <= INDEX_BYTES)
        object = json_object_from_fd_ex(fd, JSON_DEPTH);
    close(fd);
    if (!json_object_is_type(object, json_type_object)) {
        cmd_fail_with(EXIT_FAILED, "%s: not a JSON object of a %s", path, kind);
        json_object_put(object);
        return NULL;
    }
    return object;
}

/* A component without weights: a scheduler has its config, others have nothing to tell. */
static int open_scheduler(struct component *c)
{
    int code = EXIT_DONE;
    char *path = scheduler_config_path(c->folder);
    if (!path)
        return EXIT_DONE;
    c->problem = scheduler_problem(path, &code);
    if (!c->problem && !(c->scheduler = read_object(path, "scheduler")))
        code = EXIT_FAILED;
    free(path);
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
    char *config;
    c->parameters = -1;
    if (asprintf(&config, "%s/config.json", c->folder) < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    int is_model = access(config, F_OK) == 0;
    free(config);
    if (!is_model)
        return open_scheduler(c);
    dfx_status status = dfx_model_open(&model, c->folder);
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

static int list_component(const struct settings *s, const char *name, const char *class,
                          json_object *array)
{
    struct component c = { .name = name, .class = class };
    char *folder;
    if (asprintf(&folder, "%s/%s", s->path, name) < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    c.folder = folder;
    int code = open_component(&c);
    if (array)
        json_object_array_add(array, component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    free(folder);
    return code;
}

static int list_components(const struct settings *s, json_object *index, json_object *array)
{
    int code = EXIT_DONE;
    struct json_object_iterator i = json_object_iter_begin(index);
    struct json_object_iterator end = json_object_iter_end(index);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        const char *name = json_object_iter_peek_name(&i);
        const char *class = class_of(name, json_object_iter_peek_value(&i));
        if (class && list_component(s, name, class, array) != EXIT_DONE)
            code = EXIT_FAILED;
    }
    return code;
}

static int inspect_pipeline(const struct settings *s, const char *index_path)
{
    json_object *index = read_object(index_path, "model's components");
    if (!index)
        return EXIT_FAILED;
    json_object *class = json_object_object_get(index, "_class_name");
    const char *name = class ? json_object_get_string(class) : "(no _class_name)";
    json_object *array = s->json ? json_object_new_array() : NULL;
    if (!s->json) {
        print_text(name, 0);
        putchar('\n');
    }
    int code = list_components(s, index, array);
    if (s->json) {
        json_object *top = json_object_new_object();
        json_object_object_add(top, "class", json_object_new_string(name));
        json_object_object_add(top, "components", array);
        if (print_json(top) != EXIT_DONE)
            code = EXIT_FAILED;
    }
    json_object_put(index);
    return code;
}

static int inspect_scheduler(const struct settings *s)
{
    int code;
    char *path = scheduler_config_path(s->path), *problem = scheduler_problem(path, &code);
    struct component c = { .name = s->path, .parameters = -1 };
    if (problem)
        code = cmd_fail_with(EXIT_FAILED, "%s", problem);
    else if (!(c.scheduler = read_object(path, "scheduler")))
        code = EXIT_FAILED;
    free(problem);
    free(path);
    if (code != EXIT_DONE)
        return code;
    c.class = json_object_get_string(json_object_object_get(c.scheduler, "_class_name"));
    if (s->json)
        code = print_json(component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    return code;
}

static int inspect_model(const struct settings *s)
{
    dfx_model *model;
    dfx_status status = dfx_model_open(&model, s->path);
    if (status != DFX_OK)
        return cmd_fail(status);
    const struct component c = { .name = s->path,
                                 .class = dfx_model_class(model),
                                 .parameters = dfx_model_parameters(model) };
    int code = EXIT_DONE;
    if (s->json)
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

static int run(void *settings)
{
    const struct settings *s = settings;
    struct stat status;
    if (strcmp(s->path, "-") == 0)
        return inspect_picture(s);
    if (stat(s->path, &status) != 0)
        return cmd_fail_with(EXIT_FAILED, "%s: %s", s->path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return ends_with(s->path, ".json") ? inspect_scheduler(s) : inspect_picture(s);
    char *index = NULL, *scheduler = NULL;
    int code = EXIT_FAILED;
    if (asprintf(&index, "%s/model_index.json", s->path) < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    if (access(index, F_OK) == 0)
        code = inspect_pipeline(s, index);
    else if ((scheduler = scheduler_config_path(s->path)))
        code = inspect_scheduler(s);
    else
        code = inspect_model(s);
    free(scheduler);
    free(index);
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
