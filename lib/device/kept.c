/* kept.c - a device's JSON file, which several processes may add to at the same time:
 *
 *   { "schema": 1, "device": NAME, "platform": ..., "driver": ..., "units": N, "library": VERSION,
 *     MEMBER: { KEY: ENTRY, ... } }
 *
 * A file that is torn, foreign or too large is not used, and replaced by the next one. Where none
 * can be written, entries last as long as the device is open. */
#include "device/kept.h"

#include "core/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { SCHEMA = 1, LARGEST = 4 << 20, LOCK_TRIES = 100, LOCK_WAIT = 10000000 };

struct dfx__kept {
    const char *member;
    dfx__kept_join *join;
    json_object *header;  /* all of a file but its entries */
    json_object *known;   /* the file's entries as they were read, with the changes */
    json_object *changes; /* since they were saved; null: taken out */
    int forgot;           /* a change that there was no memory for; known has it */
    char *path, *lock;    /* NULL where there is no place for a file */
};

/* What entries are true of: driver is the instruction set of the native CPU, units its threads. */
json_object *dfx__kept_header(const dfx_device_info *info, const char *kernels)
{
    json_object *header = json_object_new_object();
    dfx__json_put(header, "schema", json_object_new_int(SCHEMA));
    dfx__json_put_text(header, "device", info->name);
    dfx__json_put_text(header, "platform", info->platform);
    dfx__json_put_text(header, "driver", info->driver);
    dfx__json_put(header, "units", json_object_new_int(info->units));
    dfx__json_put_text(header, "library", dfx_version());
    if (kernels)
        dfx__json_put_text(header, "kernels", kernels);
    return header;
}

/* Whether each member of the header stands in the file too. */
int dfx__kept_is_of(json_object *file, json_object *header)
{
    json_object_object_foreach (header, key, value) {
        json_object *other;
        if (!json_object_object_get_ex(file, key, &other) || !json_object_equal(value, other))
            return 0;
    }
    return 1;
}

/* The file's entries, to be put; NULL when there is no such file. */
static json_object *read_entries(const dfx__kept *k)
{
    dfx__mapped text;
    json_object *file = NULL, *entries = NULL;
    if (!k->path || !dfx__file_exists(k->path) || dfx__map_file(&text, k->path) != DFX_OK)
        return NULL;
    if (text.bytes <= LARGEST)
        dfx__json_parse(&file, (const char *)text.data, text.bytes, k->path);
    dfx__unmap_file(&text);
    if (json_object_is_type(file, json_type_object) && dfx__kept_is_of(file, k->header))
        entries = json_object_get(dfx__json_get(file, k->member, json_type_object));
    json_object_put(file);
    return entries;
}

dfx__kept *dfx__kept_open(const dfx_device_info *info, const char *member, const char *ending,
                          const char *kernels)
{
    return dfx__kept_open_file(dfx__kept_header(info, kernels), member, ending, NULL);
}

dfx__kept *dfx__kept_open_file(json_object *header, const char *member, const char *ending,
                               dfx__kept_join *join)
{
    dfx__kept *k = calloc(1, sizeof *k);
    if (!k) {
        json_object_put(header);
        return NULL;
    }
    k->member = member;
    k->join = join;
    k->header = header;
    k->changes = json_object_new_object();
    const char *key = k->header ? json_object_to_json_string(k->header) : NULL;
    if (key && ending) {
        k->path = dfx__cache_path(key, ending);
        k->lock = dfx__cache_path(key, ".lock");
        k->known = read_entries(k);
    }
    if (!k->known)
        k->known = json_object_new_object();
    if (k->known && k->changes)
        return k;
    dfx__kept_close(k);
    return NULL;
}

void dfx__kept_close(dfx__kept *k)
{
    if (!k)
        return;
    json_object_put(k->header);
    json_object_put(k->known);
    json_object_put(k->changes);
    free(k->path);
    free(k->lock);
    free(k);
}

json_object *dfx__kept_entries(const dfx__kept *k)
{
    return k->known;
}

static void change(json_object *entries, const char *key, json_object *entry)
{
    if (entry)
        dfx__json_put(entries, key, json_object_get(entry));
    else
        json_object_object_del(entries, key);
}

void dfx__kept_put(dfx__kept *k, const char *key, json_object *entry)
{
    change(k->known, key, entry);
    k->forgot |= !dfx__json_put(k->changes, key, entry);
}

static dfx_status write_file(const dfx__kept *k)
{
    dfx_status status = DFX_ERROR_MEMORY;
    if (dfx__json_put(k->header, k->member, json_object_get(k->known)))
        status = dfx__json_write(k->header, k->path);
    json_object_object_del(k->header, k->member);
    return status;
}

/* Keeps other processes from writing between our reading and our writing; -1 when that cannot be,
 * or takes over a second: then one of us may lose what the other found out. */
static int lock_file(const dfx__kept *k)
{
    int fd = k->lock ? open(k->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        nanosleep(&(struct timespec){ 0, LOCK_WAIT }, NULL);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* The file as it is now, with our changes. */
static void merge(dfx__kept *k)
{
    json_object *file = read_entries(k);
    if (!file)
        return;
    k->forgot = 0;
    json_object_object_foreach (k->changes, key, entry) {
        json_object *theirs = dfx__json_get(file, key, json_type_object);
        json_object *joined = theirs && entry && k->join ? k->join(theirs, entry) : NULL;
        change(file, key, joined ? joined : entry);
        json_object_put(joined);
    }
    json_object_put(k->known);
    k->known = file;
}

void dfx__kept_save(dfx__kept *k)
{
    if (!k->path || (json_object_object_length(k->changes) == 0 && !k->forgot))
        return;
    int lock = lock_file(k);
    if (!k->forgot)
        merge(k);
    dfx_status written = write_file(k);
    if (lock >= 0)
        close(lock);
    if (written != DFX_OK) /* the disk is full, say: the next time again */
        return;
    k->forgot = 0;
    json_object_object_foreach (k->changes, key, entry) {
        (void)entry;
        json_object_object_del(k->changes, key);
    }
}
