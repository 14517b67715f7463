/* test_config_keys.c - every key of every config is told of, and none of diffusers' is unknown. */
#include "folder_test.h"

#include "dfxcl.h"

#include <dirent.h>
#include <json-c/json.h>
#include <limits.h>
#include <math.h>

/* What became of a key of that name; NULL where it is not listed, or twice. */
static const dfx_config_key *find(const dfx_config_keys *keys, const char *name)
{
    const dfx_config_key *found = NULL;
    for (int i = 0; i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *key = dfx_config_keys_at(keys, i);
        if (strcmp(key->name, name) != 0)
            continue;
        if (found)
            return NULL;
        found = key;
    }
    return found;
}

static json_object *read_object(const char *path)
{
    json_object *object = json_object_from_file(path);
    if (!json_object_is_type(object, json_type_object))
        exit(99);
    return object;
}

/* "silu" for the value "silu"; else JSON. */
static int is_value(const char *text, json_object *value)
{
    json_object *listed =
        json_object_is_type(value, json_type_string) ? NULL : json_tokener_parse(text);
    int same = json_object_is_type(value, json_type_string)
                   ? strcmp(text, json_object_get_string(value)) == 0
               : json_object_is_type(listed, json_type_double) ||
                       json_object_is_type(value, json_type_double)
                   ? fabs(json_object_get_double(listed) - json_object_get_double(value)) <= 1e-9
                   : json_object_equal(listed, value);
    json_object_put(listed);
    return same;
}

/* ---- what a file has ---- */

static void test_file(const char *component, const char *name)
{
    dfx_config_keys *keys;
    char path[256];
    int missing = 0, unknown = 0;
    snprintf(path, sizeof path, "%s/%s", component, name);
    json_object *file = read_object(data(path));
    if (!ok(dfx_config_keys_open(&keys, data(component)) == DFX_OK, "%s: %s", path,
            keys ? "" : dfx_error())) {
        json_object_put(file);
        return;
    }
    json_object_object_foreach (file, key, value) {
        const dfx_config_key *k = find(keys, key);
        int told = k && is_value(k->value, value) && k->state != DFX_KEY_DEFAULT;
        if (!told || k->state == DFX_KEY_UNKNOWN)
            printf("# %s: %s\n", key, told ? "unknown" : "not told");
        missing += !told;
        unknown += told && k->state == DFX_KEY_UNKNOWN;
    }
    ok(missing == 0, "%s: each key is told of once", path);
    ok(unknown == 0 || strstr(name, "scheduler"), "%s: each is known", path);
    dfx_config_keys_free(keys);
    json_object_put(file);
}

/* ---- what diffusers' class has ---- */

/* The config with a class's other keys at their defaults, and without what is at its default. */
static json_object *complete(json_object *file, json_object *class)
{
    json_object *all = NULL;
    json_object_deep_copy(file, &all, NULL);
    json_object_object_foreach (class, key, value) {
        if (!json_object_object_get_ex(file, key, NULL))
            json_object_object_add(all, key, json_object_get(value));
    }
    return all;
}

static json_object *reduce(json_object *file, json_object *class)
{
    json_object *least = json_object_new_object();
    json_object_object_foreach (file, key, value) {
        json_object *usual;
        if (!json_object_object_get_ex(class, key, &usual) || !json_object_equal(value, usual))
            json_object_object_add(least, key, json_object_get(value));
    }
    return least;
}

/* The component's files but its config, in the folder; NULL: takes all away from there. */
static void link_files(const char *component)
{
    DIR *files = opendir(component ? data(component) : folder);
    struct dirent *entry;
    while (files && (entry = readdir(files))) {
        char path[512], absolute[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", component ? component : "", entry->d_name);
        if (!component)
            unlink(in_folder(entry->d_name));
        else if (strcmp(entry->d_name, "config.json") != 0 &&
                 (!realpath(data(path), absolute) ||
                  symlink(absolute, in_folder(entry->d_name)) != 0))
            exit(99);
    }
    if (files)
        closedir(files);
}

/* The keys of the component with another config, which is freed; NULL where it does not open. */
static dfx_config_keys *keys_with(const char *component, json_object *config)
{
    dfx_config_keys *keys;
    if (json_object_to_file(in_folder("config.json"), config) != 0)
        exit(99);
    link_files(component);
    if (dfx_config_keys_open(&keys, folder) != DFX_OK)
        printf("# %s\n", dfx_error());
    json_object_put(config);
    link_files(NULL);
    return keys;
}

static void test_complete(const char *component, json_object *file, json_object *class)
{
    dfx_config_keys *keys = keys_with(component, complete(file, class));
    int wrong = !keys;
    for (int i = 0; keys && i < dfx_config_keys_count(keys); i++) {
        const dfx_config_key *key = dfx_config_keys_at(keys, i);
        if (key->state != DFX_KEY_UNKNOWN)
            continue;
        printf("# %s\n", key->name);
        wrong++;
    }
    ok(wrong == 0, "%s: no key of its class is unknown", component);
    dfx_config_keys_free(keys);
}

static void test_defaults(const char *component, json_object *file, json_object *class)
{
    dfx_config_keys *keys = keys_with(component, reduce(file, class));
    int wrong = !keys;
    json_object_object_foreach (class, name, value) {
        const dfx_config_key *key = keys ? find(keys, name) : NULL;
        /* what is null in diffusers follows from other keys there */
        if (!key || key->state != DFX_KEY_DEFAULT || !value || is_value(key->value, value))
            continue;
        printf("# %s: %s, not %s\n", name, key->value, json_object_to_json_string(value));
        wrong++;
    }
    ok(wrong == 0, "%s: defaults are its class's", component);
    dfx_config_keys_free(keys);
}

static const char *class_of(json_object *config)
{
    json_object *list = json_object_object_get(config, "architectures");
    json_object *name = json_object_object_get(config, "_class_name");
    return json_object_get_string(name ? name : json_object_array_get_idx(list, 0));
}

static void test_model(const char *component, json_object *classes)
{
    char path[256];
    json_object *class;
    snprintf(path, sizeof path, "%s/config.json", component);
    json_object *file = read_object(data(path));
    test_file(component, "config.json");
    if (ok(json_object_object_get_ex(classes, class_of(file), &class), "%s: %s is in the list",
           component, class_of(file))) {
        test_complete(component, file, class);
        test_defaults(component, file, class);
    }
    json_object_put(file);
}

/* ---- all ---- */

/* Each config of a folder of tests/data, and of the folders in it. */
static void test_folder(const char *path, json_object *classes)
{
    static const char *const others[] = { "model_index.json", "preprocessor_config.json",
                                          "scheduler_config.json", "tokenizer_config.json" };
    DIR *files = opendir(data(path));
    struct dirent *entry;
    while (files && (entry = readdir(files))) {
        char inside[512];
        if (entry->d_name[0] == '.')
            continue;
        if (strcmp(entry->d_name, "config.json") == 0)
            test_model(path, classes);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (strcmp(entry->d_name, others[i]) == 0)
                test_file(path, others[i]);
        snprintf(inside, sizeof inside, "%.200s/%.200s", path, entry->d_name);
        if (!strchr(entry->d_name, '.'))
            test_folder(inside, classes);
    }
    if (files)
        closedir(files);
}

static void test_keys(void)
{
    dfx_config_keys *keys;
    dfx_model *m;
    if (!ok(dfx_model_open(&m, data("models/vae_one")) == DFX_OK &&
                dfx_model_keys(&keys, m) == DFX_OK,
            "keys of an open model"))
        return;
    const dfx_config_key *key = find(keys, "act_fn");
    ok(key && key->state == DFX_KEY_USED && strcmp(key->value, "silu") == 0 && key->does, "used");
    key = find(keys, "_diffusers_version");
    ok(key && key->state == DFX_KEY_IGNORED && key->does, "ignored");
    ok(strcmp(dfx_model_dtypes(m), "f16") == 0, "dtypes: %s", dfx_model_dtypes(m));
    ok(!dfx_config_keys_at(keys, -1) && !dfx_config_keys_at(keys, dfx_config_keys_count(keys)),
       "no key outside of the list");
    dfx_config_keys_free(keys);
    dfx_config_keys_free(NULL);
    dfx_model_free(m);
    ok(dfx_config_keys_open(&keys, folder) == DFX_ERROR_FILE && !keys &&
           strstr(dfx_error(), folder),
       "an empty folder: %s", dfx_error());
    ok(dfx_config_keys_open(&keys, in_folder("none")) == DFX_ERROR_FILE, "no folder: %s",
       dfx_error());
}

int main(void)
{
    json_object *classes = read_object(data("config_keys.json"));
    make_folder("keys");
    test_keys();
    static const char *const folders[] = { "models",        "tiny",
                                           "tiny_xl",       "picture_pipelines",
                                           "unconditional", "upscale" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        test_folder(folders[i], classes);
    json_object_put(classes);
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
