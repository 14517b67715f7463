/* tuning.c - which parameters CLBlast has on a device: the user's own file, then the shipped ones,
 * share/tunings/NAME.json:
 *
 *   { "schema": 1, "kind": "dfxcl tuning", "device": NAME, "platform": ..., "driver": ...,
 *     "kernels": { KERNEL: { "parameters": ... }, ... } } */
#include "device/tuning.h"

#include "core/data.h"
#include "core/file.h"
#include "device/clblast_space.h"

#include <stdlib.h>
#include <string.h>

enum { SCHEMA = 1 };
static const char kind[] = "dfxcl tuning";

json_object *dfx__tuning_header(const dfx_device_info *info)
{
    json_object *header = json_object_new_object();
    dfx__json_put(header, "schema", json_object_new_int(SCHEMA));
    dfx__json_put_text(header, "kind", kind);
    dfx__json_put_text(header, "device", info->name);
    dfx__json_put_text(header, "platform", info->platform);
    dfx__json_put_text(header, "driver", info->driver);
    return header;
}

/* Parameters that are faster than none and than the others, which know nothing bad of them. */
static int is_better(json_object *a, json_object *b)
{
    double x = dfx__json_number(a, "seconds"), y = dfx__json_number(b, "seconds");
    json_object *parameters = dfx__json_get(a, "parameters", json_type_object);
    if (!parameters || !(x > 0) ||
        json_object_equal(parameters, dfx__json_get(b, "wrong", json_type_object)))
        return 0;
    return !dfx__json_get(b, "parameters", json_type_object) || !(y > 0) || x < y;
}

static json_object *join(json_object *theirs, json_object *ours)
{
    json_object *joined = NULL, *tried = NULL, *known;
    if (!json_object_is_type(theirs, json_type_object))
        return json_object_get(ours);
    json_object_deep_copy(is_better(theirs, ours) ? theirs : ours, &joined, NULL);
    json_object_deep_copy(dfx__json_get(ours, "tried", json_type_object), &tried, NULL);
    json_object *other = dfx__json_get(theirs, "tried", json_type_object);
    if (!tried)
        tried = json_object_new_object();
    if (other) {
        json_object_object_foreach (other, key, seconds) {
            if (!json_object_object_get_ex(tried, key, &known) || !known)
                dfx__json_put(tried, key, json_object_get(seconds));
        }
    }
    if (joined)
        dfx__json_put(joined, "tried", tried);
    else
        json_object_put(tried);
    return joined;
}

dfx__kept *dfx__tuning(dfx_device *d)
{
    if (!d->tuning)
        d->tuning =
            dfx__kept_open_file(dfx__tuning_header(&d->info), "kernels", ".tuned.json", join);
    return d->tuning;
}

int dfx__tuning_is_file(json_object *file)
{
    json_object *schema = dfx__json_get(file, "schema", json_type_int);
    const char *text = dfx__json_string(file, "kind");
    return schema && json_object_get_int(schema) == SCHEMA && text && strcmp(text, kind) == 0 &&
           dfx__json_get(file, "kernels", json_type_object);
}

/* How much of a name a pattern of a file compares; -1: it is another name. */
static int compared(json_object *file, const char *key, const char *name)
{
    const char *pattern = dfx__json_string(file, key);
    size_t n = pattern ? strlen(pattern) : 0;
    if (n > 0 && pattern[n - 1] == '*')
        return strncmp(pattern, name, n - 1) == 0 ? (int)n - 1 : -1;
    return pattern && strcmp(pattern, name) == 0 ? (int)n + 1 : -1;
}

int dfx__tuning_suits(json_object *file, const dfx_device_info *info)
{
    int device = compared(file, "device", info->name);
    int platform = compared(file, "platform", info->platform);
    return device >= 0 && platform >= 0 ? 1 + device + platform : 0;
}

/* The file that suits the device best, of a folder. */
struct shelf {
    const dfx_device_info *info;
    const char *folder;
    json_object *best;
    int score;
};

static void consider(void *user, const char *name)
{
    struct shelf *shelf = user;
    json_object *file = NULL;
    char *path = dfx__ends_with(name, ".json") ? dfx__path_join(shelf->folder, name) : NULL;
    if (path && dfx__json_read(&file, path) == DFX_OK && dfx__tuning_is_file(file)) {
        int score = dfx__tuning_suits(file, shelf->info);
        if (score > shelf->score) {
            json_object_put(shelf->best);
            shelf->best = json_object_get(file);
            shelf->score = score;
        }
    }
    json_object_put(file);
    free(path);
}

static json_object *shipped(dfx_device *d)
{
    char *folder = d->shipped ? NULL : dfx__data_path("tunings");
    if (folder) {
        struct shelf shelf = { &d->info, folder, NULL, 0 };
        dfx__folder_list(folder, consider, &shelf);
        d->shipped = shelf.best ? shelf.best : json_object_new_object();
    }
    free(folder);
    return dfx__json_get(d->shipped, "kernels", json_type_object);
}

int dfx__tuning_find(int *value, dfx_device *d, const dfx__space *space)
{
    dfx__kept *own = dfx__tuning(d);
    json_object *of[] = { own ? dfx__kept_entries(own) : NULL, shipped(d) };
    for (int i = 0; i < 2; i++) {
        json_object *entry = dfx__json_get(of[i], space->kernel, json_type_object);
        json_object *parameters = dfx__json_get(entry, "parameters", json_type_object);
        if (dfx__space_read(value, space, &d->info, parameters))
            return 1;
    }
    return 0;
}
