/* cmd_inspect.c - dfx inspect: the settings in a picture, the components of a model, the keys of
 * their configs. */
#include "cmd.h"
#include "inspect_keys.h"
#include "inspect_plan.h"
#include "print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct settings {
    const char *path;
    int json, plans;
    struct plan_settings plan;
};

static const struct settings defaults;

enum { SIDE_MAX = 16384, BATCH_MAX = 256 };

#define AT(member) offsetof(struct settings, member)
static const struct option options[] = {
    { "json", OPTION_FLAG, AT(json), NULL, "print JSON", 0, 0 },
    { "plan", OPTION_FLAG, AT(plans), NULL,
      "what a picture would take of the device: memory, work,\nkernels; nothing is computed", 0,
      0 },
    { "width", OPTION_INT, AT(plan.width), "W", "of the planned picture (the model's)", 1,
      SIDE_MAX },
    { "height", OPTION_INT, AT(plan.height), "H", "likewise", 1, SIDE_MAX },
    { "batch", OPTION_INT, AT(plan.batch), "N", "planned pictures (1)", 1, BATCH_MAX },
    { "device", OPTION_STRING, AT(plan.device), "D", "cpu, opencl, opencl:N or auto (DFX_DEVICE)",
      0, 0 },
    { "dtype", OPTION_STRING, AT(plan.dtype), "T", "f32, f16, bf16 or auto (DFX_DTYPE)", 0, 0 },
    { "memory-limit", OPTION_SIZE, AT(plan.memory_limit), "SIZE",
      "of the device, as of dfx generate", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "FILE.png|MODEL", AT(path), 1,
      "a picture made by dfx generate (- is standard\n"
      "input), a model or a component of one, or a\n"
      "scheduler_config.json" },
    { .name = NULL },
};
#undef AT

#define INDEX "model_index.json"
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
            print_put(object, texts[i].key, json_object_new_string(texts[i].text));
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
    int64_t parameters;    /* -1 for what has none */
    char dtypes[64];       /* of its files */
    dfx_config_keys *keys; /* NULL for what has none */
    const char *ignored;   /* why it has no use; NULL: it has */
    char *problem;
};

static json_object *parse(const char *text, size_t bytes)
{
    json_tokener *tokener = bytes <= INDEX_BYTES ? json_tokener_new_ex(JSON_DEPTH) : NULL;
    json_object *object = tokener ? json_tokener_parse_ex(tokener, text, (int)bytes + 1) : NULL;
    if (tokener)
        json_tokener_free(tokener);
    return object;
}

/* Reads model_index.json; NULL with a message when it is no JSON object. */
static json_object *read_index(const dfx_checkpoint *files)
{
    char *text;
    size_t bytes;
    dfx_status status = dfx_checkpoint_read(&text, &bytes, files, INDEX);
    if (status != DFX_OK) {
        cmd_fail(status);
        return NULL;
    }
    json_object *object = parse(text, bytes);
    free(text);
    if (!json_object_is_type(object, json_type_object)) {
        cmd_fail_with(EXIT_FAILED, "%s/" INDEX ": not a JSON object of a model's components",
                      dfx_checkpoint_path(files));
        json_object_put(object);
        return NULL;
    }
    return object;
}

static void close_component(struct component *c)
{
    dfx_config_keys_free(c->keys);
    free(c->problem);
}

static dfx_status open_model(struct component *c)
{
    dfx_model *model;
    dfx_status status = dfx_model_open(&model, dfx_checkpoint_path(c->files));
    if (status != DFX_OK)
        return status;
    c->parameters = dfx_model_parameters(model);
    c->class = dfx_model_class(model);
    snprintf(c->dtypes, sizeof c->dtypes, "%s", dfx_model_dtypes(model));
    status = dfx_model_keys(&c->keys, model);
    dfx_model_free(model);
    return status;
}

/* Opens the component: a model, which has a config.json, or what has keys only. Returns EXIT_FAILED
 * for a broken one; a class that is not supported is no failure here. */
static int open_component(struct component *c)
{
    c->parameters = -1;
    if (c->ignored && !dfx_checkpoint_has(c->files, "preprocessor_config.json"))
        return EXIT_DONE;
    dfx_status status = dfx_checkpoint_has(c->files, "config.json")
                            ? open_model(c)
                            : dfx_config_keys_open(&c->keys, dfx_checkpoint_path(c->files));
    if (status == DFX_OK)
        return EXIT_DONE;
    c->problem = strdup(dfx_error());
    return status == DFX_ERROR_UNSUPPORTED ? EXIT_DONE : EXIT_FAILED;
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
        printf("  %" PRId64 " parameters, %s", c->parameters, c->dtypes);
    if (c->ignored)
        printf("  ignored: %s", c->ignored);
    putchar('\n');
    if (c->keys)
        print_keys(c->keys, NULL, NULL);
}

static json_object *component_json(const struct component *c)
{
    json_object *o = json_object_new_object();
    print_put(o, "name", json_object_new_string(c->name));
    print_put(o, "class", json_object_new_string(c->class));
    if (c->parameters >= 0)
        print_put(o, "parameters", json_object_new_int64(c->parameters));
    if (c->parameters >= 0)
        print_put(o, "dtypes", json_object_new_string(c->dtypes));
    if (c->problem)
        print_put(o, "problem", json_object_new_string(c->problem));
    if (c->ignored)
        print_put(o, "ignored", json_object_new_string(c->ignored));
    if (c->keys)
        print_put(o, "keys", keys_json(c->keys, NULL, NULL));
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
    json_object *index;    /* of a pipeline */
    dfx_config_keys *keys; /* likewise */
};

/* "PATH/NAME", or where models of 2022 have the one component beside model_index.json; to be freed.
 */
static char *component_path(const dfx_checkpoint *files, const char *name)
{
    const char *folder = dfx_checkpoint_path(files);
    const char *config = strcmp(name, "scheduler") == 0 ? "scheduler_config.json" : "config.json";
    char *in_it, *path = NULL;
    if (asprintf(&in_it, "%s/%s", name, config) < 0)
        return NULL;
    int beside = !dfx_checkpoint_has(files, in_it) && dfx_checkpoint_has(files, config);
    free(in_it);
    if (asprintf(&path, "%s/%s", folder, !beside ? name : *config == 's' ? config : "") < 0)
        return NULL;
    return path;
}

/* Opens a component's files and what is in them. */
static int find_component(struct component *c, const struct inspection *i, dfx_checkpoint **files)
{
    char *path = component_path(i->files, c->name);
    c->parameters = -1;
    if (!path)
        return EXIT_FAILED;
    dfx_status status = dfx_checkpoint_open(files, path);
    free(path);
    if (status != DFX_OK) {
        c->problem = strdup(dfx_error());
        return EXIT_FAILED;
    }
    c->files = *files;
    const dfx_config_key *key = find_key(i->keys, c->name);
    if (key && key->state == DFX_KEY_IGNORED)
        c->ignored = key->does;
    return open_component(c);
}

static int list_component(const struct inspection *i, const char *name, const char *class,
                          json_object *array)
{
    dfx_checkpoint *files = NULL;
    struct component c = { .name = name, .class = class };
    int code = find_component(&c, i, &files);
    if (array)
        print_append(array, component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    dfx_checkpoint_free(files);
    return code;
}

static int list_components(const struct inspection *i, json_object *array)
{
    const char *broken = NULL; /* the first one */
    struct json_object_iterator at = json_object_iter_begin(i->index);
    struct json_object_iterator end = json_object_iter_end(i->index);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *name = json_object_iter_peek_name(&at);
        const char *class = class_of(name, json_object_iter_peek_value(&at));
        if (class && list_component(i, name, class, array) != EXIT_DONE && !broken)
            broken = name;
    }
    if (!broken)
        return EXIT_DONE;
    return cmd_fail_with(EXIT_FAILED, "%s: its %s cannot be loaded; the list says why",
                         i->settings->path, broken);
}

/* Components have lines of their own. */
static int is_no_component(void *index, const dfx_config_key *key)
{
    return !class_of(key->name, json_object_object_get(index, key->name));
}

static int add_plan(const struct inspection *i, json_object *json)
{
    const struct settings *s = i->settings;
    return s->plans ? inspect_plan(s->path, &s->plan, json) : EXIT_DONE;
}

static int list_pipeline(const struct inspection *i)
{
    json_object *class = json_object_object_get(i->index, "_class_name");
    const char *name = class ? json_object_get_string(class) : "(no _class_name)";
    const char *form = dfx_checkpoint_form(i->files);
    if (!i->settings->json) {
        print_text(name, 0);
        printf("%s%s\n", form ? ", one file: " : "", form ? form : "");
        print_keys(i->keys, is_no_component, i->index);
        int listed = list_components(i, NULL);
        return listed == EXIT_DONE ? add_plan(i, NULL) : listed;
    }
    json_object *top = json_object_new_object(), *array = json_object_new_array();
    int code = list_components(i, array);
    print_put(top, "class", json_object_new_string(name));
    if (form)
        print_put(top, "form", json_object_new_string(form));
    print_put(top, "keys", keys_json(i->keys, is_no_component, i->index));
    print_put(top, "components", array);
    if (code == EXIT_DONE)
        code = add_plan(i, top);
    return print_json(top) == EXIT_DONE ? code : EXIT_FAILED;
}

static int inspect_pipeline(struct inspection *i)
{
    i->index = read_index(i->files);
    if (!i->index)
        return EXIT_FAILED;
    dfx_status status = dfx_config_keys_open(&i->keys, dfx_checkpoint_path(i->files));
    int code = status == DFX_OK ? list_pipeline(i) : cmd_fail(status);
    dfx_config_keys_free(i->keys);
    json_object_put(i->index);
    return code;
}

/* The class that a config names. */
static const char *class_of_keys(const dfx_config_keys *keys)
{
    static const char *const names[] = { "_class_name", "tokenizer_class", "image_processor_type",
                                         "feature_extractor_type" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const dfx_config_key *key = find_key(keys, names[i]);
        if (key)
            return key->value;
    }
    return "";
}

/* A component on its own. */
static int inspect_component(const struct inspection *i)
{
    struct component c = { .name = i->settings->path, .files = i->files };
    int code = open_component(&c);
    if (!c.class && c.keys)
        c.class = class_of_keys(c.keys);
    if (c.problem || code != EXIT_DONE)
        code = cmd_fail_with(EXIT_FAILED, "%s", c.problem ? c.problem : "out of memory");
    else if (i->settings->json)
        code = print_json(component_json(&c));
    else
        print_component(&c);
    close_component(&c);
    return code;
}

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static int inspect_files(struct inspection *i)
{
    struct stat status;
    const char *path = dfx_checkpoint_path(i->files);
    if (dfx_checkpoint_has(i->files, INDEX))
        return inspect_pipeline(i);
    if (dfx_checkpoint_form(i->files))
        return inspect_component(i);
    if (stat(path, &status) != 0)
        return cmd_fail_with(EXIT_FAILED, "%s: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) || ends_with(path, ".json") ? inspect_component(i)
                                                               : inspect_picture(i->settings);
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
    int code =
        s->plans && !dfx_checkpoint_has(files, INDEX)
            ? cmd_fail_with(EXIT_USAGE, "--plan: %s is no model of a whole pipeline", s->path)
            : inspect_files(&(struct inspection){ .settings = s, .files = files });
    dfx_checkpoint_free(files);
    return code;
}

const struct command cmd_inspect = {
    .name = "inspect",
    .summary = "print a picture's settings, a model's components, their configs' keys",
    .example = "  dfx inspect red-apple-42.png\n"
               "  dfx inspect share/models/emoji\n"
               "  dfx inspect stable-diffusion-v1-5/stable-diffusion-v1-5 --plan --width 768\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
