/* faults.c - faults as entries of a file of the device (device/kept.h), apart from its choices, so
 * that each can be deleted alone:
 *
 *   "faults": { "OPERATOR:VARIANT DTYPE": { "message": TEXT, "fatal": BOOLEAN }, ... } */
#include "device/faults.h"

#include "core/status.h"
#include "device/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 96, LISTED = 400 };

struct dfx__faults {
    dfx__kept *kept;
    json_object *lost; /* ways that are not used though no test said so */
    int told;
};

static void key_of(char key[KEY], const dfx__way *way)
{
    snprintf(key, KEY, "%s:%s %s", way->op, way->variant, dfx_dtype_name(way->dtype));
}

/* The device's faults, read when they are not yet; NULL when there is no memory. Those of kernels
 * from a folder are another file's. */
static struct dfx__faults *faults_of(dfx_device *d)
{
    if (d->faults)
        return d->faults;
    struct dfx__faults *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->kept = dfx__kept_open(&d->info, "faults", ".faults.json", getenv("DFX_KERNELS"));
    f->lost = json_object_new_object();
    if (!f->kept || !f->lost) {
        dfx__faults_free(f);
        return NULL;
    }
    d->faults = f;
    return f;
}

void dfx__faults_free(struct dfx__faults *f)
{
    if (!f)
        return;
    dfx__kept_close(f->kept);
    json_object_put(f->lost);
    free(f);
}

static json_object *find(dfx_device *d, const dfx__way *way)
{
    char key[KEY];
    struct dfx__faults *f = faults_of(d);
    if (!f)
        return NULL;
    key_of(key, way);
    json_object *entry = dfx__json_get(dfx__kept_entries(f->kept), key, json_type_object);
    return entry ? entry : dfx__json_get(f->lost, key, json_type_object);
}

const char *dfx__fault_find(dfx_device *d, const dfx__way *way)
{
    json_object *entry = find(d, way);
    const char *message = dfx__json_string(entry, "message");
    return entry && !message ? "" : message;
}

int dfx__fault_is_fatal(dfx_device *d, const dfx__way *way)
{
    return json_object_get_boolean(dfx__json_get(find(d, way), "fatal", json_type_boolean));
}

void dfx__faults_tell(dfx_device *d)
{
    struct dfx__faults *f = faults_of(d);
    char list[LISTED + KEY + 8] = "";
    size_t n = 0;
    if (!f || f->told || json_object_object_length(dfx__kept_entries(f->kept)) == 0)
        return;
    json_object_object_foreach (dfx__kept_entries(f->kept), key, entry) {
        (void)entry;
        if (n < LISTED)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%.*s", n ? ", " : "", KEY, key);
    }
    dfx__log("%s does without what `dfx selftest` found wrong on its driver: %s%s", d->info.id,
             list, n < LISTED ? "" : " ...");
    f->told = 1;
}

static json_object *new_entry(const char *message, int fatal)
{
    json_object *entry = json_object_new_object();
    dfx__json_put_text(entry, "message", message);
    dfx__json_put(entry, "fatal", json_object_new_boolean(fatal));
    return entry;
}

void dfx__fault_add(dfx_device *d, const dfx__way *way, const char *message)
{
    char key[KEY];
    struct dfx__faults *f = faults_of(d);
    if (!f)
        return;
    key_of(key, way);
    dfx__json_put(f->lost, key, new_entry(message, 0));
}

static void keep(dfx_device *d, const dfx__way *way, json_object *entry)
{
    char key[KEY];
    struct dfx__faults *f = faults_of(d);
    key_of(key, way);
    if (f) {
        dfx__kept_put(f->kept, key, entry);
        dfx__kept_save(f->kept);
    } else {
        json_object_put(entry);
    }
}

void dfx__fault_keep(dfx_device *d, const dfx__way *way, const char *message)
{
    keep(d, way, message ? new_entry(message, 0) : NULL);
}

void dfx__fault_try(dfx_device *d, const dfx__way *way)
{
    keep(d, way, new_entry("the process ended while it was tested", 1));
}
