/* choices.c - choices on disk, one readable JSON file for each device under $XDG_CACHE_HOME/dfxcl:
 *
 *   { "schema": 1, "device": NAME, "platform": ..., "driver": ..., "units": N, "library": VERSION,
 *     "choices": { CALL: { "variant": NAME, "seconds": { NAME: SECONDS, ... } }, ... } }
 *
 * A file that is torn, foreign or too large is not used, and replaced by the next one. Where none
 * can be written, choices last as long as the device is open. */
#include "device/choices.h"

#include "core/file.h"
#include "core/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { SCHEMA = 1, LARGEST = 4 << 20, LOCK_TRIES = 100, LOCK_WAIT = 10000000 };

struct dfx__choices {
    json_object *header; /* all of a file but its choices */
    json_object *known;  /* the file's choices, and those that were added */
    int unsaved;
    char *path, *lock; /* NULL where there is no place for a file */
};

/* Puts a member that the object owns from now on; without memory there is none. */
static void put(json_object *object, const char *key, json_object *value)
{
    if (!object || json_object_object_add(object, key, value) != 0)
        json_object_put(value);
}

static void put_text(json_object *object, const char *key, const char *text)
{
    put(object, key, json_object_new_string(text));
}

/* What the times depend on: driver is the instruction set of the native CPU, units its threads. */
static json_object *new_header(const dfx_device_info *info)
{
    json_object *header = json_object_new_object();
    put(header, "schema", json_object_new_int(SCHEMA));
    put_text(header, "device", info->name);
    put_text(header, "platform", info->platform);
    put_text(header, "driver", info->driver);
    put(header, "units", json_object_new_int(info->units));
    put_text(header, "library", dfx_version());
    return header;
}

/* Whether each member of the header stands in the file too. */
static int is_of(json_object *file, json_object *header)
{
    json_object_object_foreach (header, key, value) {
        json_object *other;
        if (!json_object_object_get_ex(file, key, &other) || !json_object_equal(value, other))
            return 0;
    }
    return 1;
}

/* The file's choices, to be put; NULL when there is no such file. */
static json_object *read_choices(const struct dfx__choices *c)
{
    dfx__mapped text;
    json_object *file = NULL, *choices = NULL;
    if (!c->path || !dfx__file_exists(c->path) || dfx__map_file(&text, c->path) != DFX_OK)
        return NULL;
    if (text.bytes <= LARGEST)
        dfx__json_parse(&file, (const char *)text.data, text.bytes, c->path);
    dfx__unmap_file(&text);
    if (json_object_is_type(file, json_type_object) && is_of(file, c->header))
        choices = json_object_get(dfx__json_get(file, "choices", json_type_object));
    json_object_put(file);
    return choices;
}

/* The device's choices, read when they are not yet; NULL when there is no memory. */
static struct dfx__choices *choices_of(dfx_device *d)
{
    if (d->choices)
        return d->choices;
    struct dfx__choices *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->header = new_header(&d->info);
    const char *key = c->header ? json_object_to_json_string(c->header) : NULL;
    if (key && !getenv("DFX_KERNELS")) { /* the times of kernels that are edited do not last */
        c->path = dfx__cache_path(key, ".json");
        c->lock = dfx__cache_path(key, ".lock");
        c->known = read_choices(c);
    }
    if (!c->known)
        c->known = json_object_new_object();
    if (c->known)
        return d->choices = c;
    dfx__choices_free(c);
    return NULL;
}

void dfx__choices_free(struct dfx__choices *c)
{
    if (!c)
        return;
    json_object_put(c->header);
    json_object_put(c->known);
    free(c->path);
    free(c->lock);
    free(c);
}

int dfx__choice_find(dfx_device *d, const char *key, const char *const *name, int names)
{
    struct dfx__choices *c = choices_of(d);
    json_object *entry = c ? dfx__json_get(c->known, key, json_type_object) : NULL;
    const char *variant = dfx__json_string(entry, "variant");
    json_object *seconds = dfx__json_get(entry, "seconds", json_type_object);
    int found = -1;
    for (int i = 0; variant && i < names; i++) {
        if (!json_object_object_get_ex(seconds, name[i], NULL))
            return -1; /* there is a new way */
        if (strcmp(variant, name[i]) == 0)
            found = i;
    }
    return found;
}

void dfx__choice_add(dfx_device *d, const char *key, const char *const *name, const double *seconds,
                     int names, int chosen)
{
    struct dfx__choices *c = choices_of(d);
    if (!c)
        return;
    json_object *entry = json_object_new_object(), *times = json_object_new_object();
    put_text(entry, "variant", name[chosen]);
    for (int i = 0; i < names; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.7f", seconds[i]);
        put(times, name[i], json_object_new_double_s(seconds[i], text));
    }
    put(entry, "seconds", times);
    put(c->known, key, entry);
    c->unsaved = 1;
}

static void write_file(const struct dfx__choices *c)
{
    dfx__new_file file;
    put(c->header, "choices", json_object_get(c->known));
    const char *text = dfx__json_text(c->header);
    if (text && dfx__file_create(&file, c->path) == DFX_OK) {
        if (fputs(text, file.stream) >= 0 && fputc('\n', file.stream) >= 0)
            dfx__file_commit(&file);
        else
            dfx__file_abandon(&file);
    }
    json_object_object_del(c->header, "choices");
}

/* Keeps other processes from writing between our reading and our writing; -1 when that cannot be,
 * or takes over a second: then one of us may lose what the other measured. */
static int lock_file(const struct dfx__choices *c)
{
    int fd = c->lock ? open(c->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        nanosleep(&(struct timespec){ 0, LOCK_WAIT }, NULL);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Adds what another process wrote meanwhile. */
static void merge(struct dfx__choices *c)
{
    json_object *file = read_choices(c);
    if (!file)
        return;
    json_object_object_foreach (file, key, entry) {
        if (!json_object_object_get_ex(c->known, key, NULL))
            put(c->known, key, json_object_get(entry));
    }
    json_object_put(file);
}

void dfx__choices_save(dfx_device *d)
{
    struct dfx__choices *c = d->choices;
    if (!c || !c->unsaved || !c->path)
        return;
    int lock = lock_file(c);
    merge(c);
    write_file(c);
    if (lock >= 0)
        close(lock);
    c->unsaved = 0;
}
