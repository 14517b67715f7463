/* choices.c - choices as entries of the device's file (device/kept.h):
 *
 *   "choices": { CALL: { "variant": NAME, "seconds": { NAME: SECONDS or null, ... } }, ... } */
#include "device/choices.h"

#include "device/kept.h"

#include <stdlib.h>
#include <string.h>

/* The device's choices, read when they are not yet; NULL when there is no memory. The times of
 * kernels that are edited do not last. */
dfx__kept *dfx__choices(dfx_device *d)
{
    if (!d->choices)
        d->choices =
            dfx__kept_open(&d->info, "choices", getenv("DFX_KERNELS") ? NULL : ".json", NULL);
    return d->choices;
}

int dfx__choice_find(dfx_device *d, const char *key, const char *const *name, int names, int all)
{
    dfx__kept *c = dfx__choices(d);
    json_object *entry = c ? dfx__json_get(dfx__kept_entries(c), key, json_type_object) : NULL;
    const char *variant = dfx__json_string(entry, "variant");
    json_object *seconds = dfx__json_get(entry, "seconds", json_type_object);
    int found = -1;
    for (int i = 0; variant && i < all; i++) {
        int measured = json_object_object_get_ex(seconds, name[i], NULL);
        if (!measured && i < names)
            return -1; /* there is a new way */
        if (measured && strcmp(variant, name[i]) == 0)
            found = i;
    }
    return found;
}

void dfx__choice_add(dfx_device *d, const char *key, const char *const *name, const double *seconds,
                     int names, int chosen)
{
    dfx__kept *c = dfx__choices(d);
    if (!c)
        return;
    json_object *entry = json_object_new_object(), *times = json_object_new_object();
    dfx__json_put_text(entry, "variant", name[chosen]);
    for (int i = 0; i < names; i++)
        dfx__json_put_seconds(times, name[i], seconds[i]);
    dfx__json_put(entry, "seconds", times);
    dfx__kept_put(c, key, entry);
}

void dfx__choices_save(dfx_device *d)
{
    if (d->choices)
        dfx__kept_save(d->choices);
}
