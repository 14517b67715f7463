/* tune_file.c - what was found of a device as a file for others:
 *
 *   { "schema": 1, "kind": "dfxcl tuning", "device": NAME, "platform": ..., "driver": ...,
 *     "units": N, "library": VERSION, "kernels": { ... }, "choices": { ... } }
 *
 * with kernels as in device/tuning.h and choices as in device/choices.c. */
#include "bench/search.h"
#include "bench/tune.h"

#include "core/file.h"
#include "device/choices.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CHOICES = 4096, LONGEST_CALL = 1024, MOST_WAYS = 32 };

/* ---- to a file ---- */

static json_object *kernels_of(dfx_device *d)
{
    json_object *kernels = json_object_new_object();
    for (const dfx__space *s = dfx__spaces; s->kernel; s++) {
        dfx__search found;
        dfx__search_open(&found, d, s);
        if (!found.has_best)
            continue;
        json_object *entry = json_object_new_object();
        dfx__json_put(entry, "parameters", dfx__space_write(s, found.best));
        dfx__json_put_seconds(entry, "seconds", found.seconds);
        dfx__json_put_seconds(entry, "before", found.before);
        dfx__json_put(kernels, s->kernel, entry);
    }
    return kernels;
}

static json_object *new_file(dfx_device *d)
{
    json_object *file = dfx__tuning_header(&d->info), *choices = NULL;
    dfx__json_put(file, "units", json_object_new_int(d->info.units));
    dfx__json_put_text(file, "library", dfx_version());
    dfx__json_put(file, "kernels", kernels_of(d));
    if (dfx__choices(d))
        json_object_deep_copy(dfx__kept_entries(dfx__choices(d)), &choices, NULL);
    if (choices)
        dfx__json_put(file, "choices", choices);
    return file;
}

static int members(json_object *file, const char *key)
{
    json_object *o = dfx__json_get(file, key, json_type_object);
    return o ? json_object_object_length(o) : 0;
}

dfx_status dfx_tune_export(dfx_device *device, const char *path)
{
    json_object *file = new_file(device);
    dfx_status status =
        members(file, "kernels") + members(file, "choices") > 0
            ? dfx__json_write(file, path)
            : dfx__fail(DFX_ERROR_DEVICE,
                        "device %s (%s): nothing was found yet; dfx-bench --tune searches",
                        device->info.id, device->info.name);
    json_object_put(file);
    return status;
}

/* ---- from a file ---- */

static dfx_status check_device(json_object *file, const dfx_device_info *info, const char *path)
{
    const char *device = dfx__json_string(file, "device");
    const char *platform = dfx__json_string(file, "platform");
    if (!dfx__tuning_is_file(file) || !device || !platform)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: not a file that dfx-bench --export of this version writes", path);
    if (!dfx__tuning_suits(file, info))
        return dfx__fail(DFX_ERROR_DEVICE, "%s: of %.128s (%.128s), not of %s (%s)", path, device,
                         platform, info->name, info->platform);
    return DFX_OK;
}

/* Takes the parameters of a kernel, where they are right and nothing faster is known. */
static dfx_status take_kernel(dfx_device *d, const dfx__space *space, const int *value,
                              const char *path, int *taken)
{
    dfx__search found;
    double before, seconds;
    dfx_status status = dfx__tune_check(d, space, value, &before, &seconds);
    if (status == DFX_ERROR_UNSUPPORTED)
        return DFX_OK;
    DFX__TRY(status);
    if (!isfinite(seconds)) {
        dfx__log("%s: %s is left out: a product by its parameters is not the CPU's", path,
                 space->kernel);
        return DFX_OK;
    }
    dfx__search_open(&found, d, space);
    if (!found.has_best || seconds < found.seconds)
        dfx__search_choose(&found, value, found.before > 0 ? found.before : before, seconds);
    ++*taken;
    return DFX_OK;
}

static dfx_status take_kernels(dfx_device *d, json_object *kernels, const char *path, int *taken)
{
    for (const dfx__space *s = dfx__spaces; s->kernel; s++) {
        int value[DFX__SPACE_PARAMETERS];
        json_object *entry = dfx__json_get(kernels, s->kernel, json_type_object);
        if (!entry)
            continue;
        if (dfx__space_read(value, s, &d->info,
                            dfx__json_get(entry, "parameters", json_type_object)))
            DFX__TRY(take_kernel(d, s, value, path, taken));
        else
            dfx__log("%s: %s is left out: it cannot have these parameters on %s", path, s->kernel,
                     d->info.name);
    }
    return DFX_OK;
}

static int is_choice(const char *call, json_object *entry)
{
    const char *variant = dfx__json_string(entry, "variant");
    json_object *seconds = dfx__json_get(entry, "seconds", json_type_object);
    if (!variant || !seconds || strlen(call) > LONGEST_CALL ||
        json_object_object_length(seconds) > MOST_WAYS)
        return 0;
    json_object_object_foreach (seconds, name, v) {
        if (strlen(name) > LONGEST_CALL || (v && !json_object_is_type(v, json_type_double)))
            return 0;
    }
    return json_object_object_get_ex(seconds, variant, NULL);
}

/* Takes times of calls that are not known here. */
static void take_choices(dfx_device *d, json_object *choices, int *taken)
{
    dfx__kept *known = dfx__choices(d);
    if (!known || !choices)
        return;
    json_object_object_foreach (choices, call, entry) {
        json_object *copy = NULL;
        if (*taken == MOST_CHOICES || !is_choice(call, entry) ||
            json_object_object_get_ex(dfx__kept_entries(known), call, NULL))
            continue;
        if (json_object_object_length(entry) == 2 && /* variant and seconds, and nothing else */
            json_object_deep_copy(entry, &copy, NULL) == 0) {
            dfx__kept_put(known, call, copy);
            ++*taken;
        }
    }
    dfx__choices_save(d);
}

dfx_status dfx_tune_import(dfx_device *device, const char *path, int *kernels, int *calls)
{
    json_object *file;
    *kernels = *calls = 0;
    DFX__TRY(dfx__json_read(&file, path));
    json_object *header = dfx__kept_header(&device->info, NULL);
    dfx_status status = check_device(file, &device->info, path);
    if (status == DFX_OK)
        status =
            take_kernels(device, dfx__json_get(file, "kernels", json_type_object), path, kernels);
    if (status == DFX_OK && dfx__kept_is_of(file, header))
        take_choices(device, dfx__json_get(file, "choices", json_type_object), calls);
    json_object_put(header);
    json_object_put(file);
    return status;
}
