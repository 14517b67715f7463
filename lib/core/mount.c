/* mount.c - the mounts of this process: files shown as folders. */
#include "core/mount.h"

#include "core/memory.h"
#include "core/status.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct dfx__mount {
    dfx__mount *next;
    int users;
    dfx__pool pool; /* path and entries */
    const char *path;
    struct stat file;
    dfx__mount_entry *entry;
    int entries;
    void *owner;
    void (*free_owner)(void *owner);
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dfx__mount *mounts; /* the newest first */

static dfx_status fill(dfx__mount *m, const char *path, const dfx__mount_entry *entry, int entries)
{
    m->path = dfx__pool_copy(&m->pool, path);
    m->entry = dfx__pool_alloc(&m->pool, (size_t)entries * sizeof *entry);
    if (!m->path || !m->entry)
        return dfx__no_memory();
    for (int i = 0; i < entries; i++) {
        m->entry[i] = entry[i];
        m->entry[i].name = dfx__pool_copy(&m->pool, entry[i].name);
        if (!m->entry[i].name)
            return dfx__no_memory();
        if (!entry[i].data)
            m->entry[i].data = (const unsigned char *)"";
    }
    m->entries = entries;
    if (stat(path, &m->file) != 0)
        return dfx__fail(DFX_ERROR_FILE, "%s: it is gone", path);
    return DFX_OK;
}

dfx_status dfx__mount_add(dfx__mount **out, const char *path, const dfx__mount_entry *entry,
                          int entries, void *owner, void (*free_owner)(void *owner))
{
    dfx__mount *m = calloc(1, sizeof *m);
    if (!m)
        return dfx__no_memory();
    dfx_status status = fill(m, path, entry, entries);
    if (status != DFX_OK) {
        dfx__pool_free(&m->pool);
        free(m);
        return status;
    }
    m->users = 1;
    m->owner = owner;
    m->free_owner = free_owner;
    pthread_mutex_lock(&lock);
    m->next = mounts;
    mounts = m;
    pthread_mutex_unlock(&lock);
    *out = m;
    return DFX_OK;
}

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtime == b->st_mtime;
}

dfx__mount *dfx__mount_again(const char *path)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return NULL;
    pthread_mutex_lock(&lock);
    dfx__mount *m = mounts;
    while (m && !(strcmp(m->path, path) == 0 && same_file(&m->file, &file)))
        m = m->next;
    if (m)
        m->users++;
    pthread_mutex_unlock(&lock);
    return m;
}

void dfx__mount_hold(dfx__mount *m)
{
    pthread_mutex_lock(&lock);
    m->users++;
    pthread_mutex_unlock(&lock);
}

void dfx__mount_release(dfx__mount *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&lock);
    int last = --m->users == 0;
    dfx__mount **link = &mounts;
    while (last && *link != m)
        link = &(*link)->next;
    if (last)
        *link = m->next;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    if (m->free_owner)
        m->free_owner(m->owner);
    dfx__pool_free(&m->pool);
    free(m);
}

/* The mount that a path is in, and the rest of the path without slashes around it. */
static dfx__mount *find_mount(const char *path, const char **name, size_t *length)
{
    for (dfx__mount *m = mounts; m; m = m->next) {
        size_t n = strlen(m->path);
        if (strncmp(path, m->path, n) != 0 || (path[n] && path[n] != '/'))
            continue;
        *name = path + n + strspn(path + n, "/");
        *length = strlen(*name);
        while (*length && (*name)[*length - 1] == '/')
            --*length;
        return m;
    }
    return NULL;
}

/* Whether an entry is the named file or, then *below is where its name goes on, is below it. */
static int matches(const dfx__mount_entry *e, const char *name, size_t length, const char **below)
{
    *below = NULL;
    if (length == 0) {
        *below = e->name;
        return 1;
    }
    if (strncmp(e->name, name, length) != 0)
        return 0;
    if (e->name[length] == '/')
        *below = e->name + length + 1;
    return e->name[length] == '/' || !e->name[length];
}

/* The file's entry, or NULL and whether there is such a folder. */
static const dfx__mount_entry *find_entry(const dfx__mount *m, const char *name, size_t length,
                                          int *is_folder)
{
    const char *below;
    *is_folder = length == 0;
    for (int i = 0; i < m->entries; i++)
        if (matches(&m->entry[i], name, length, &below)) {
            if (!below)
                return &m->entry[i];
            *is_folder = 1;
        }
    return NULL;
}

/* The mounted file itself is no file of the mount, but it is a folder. */
static dfx__mount_place find_locked(const char *path, dfx__mount **m, const dfx__mount_entry **e)
{
    const char *name;
    size_t length;
    int is_folder;
    *m = find_mount(path, &name, &length);
    if (!*m)
        return DFX__MOUNT_OUTSIDE;
    *e = find_entry(*m, name, length, &is_folder);
    return *e ? DFX__MOUNT_FILE : is_folder ? DFX__MOUNT_FOLDER : DFX__MOUNT_ABSENT;
}

dfx__mount_place dfx__mount_find(const char *path)
{
    dfx__mount *m;
    const dfx__mount_entry *e;
    pthread_mutex_lock(&lock);
    dfx__mount_place place = find_locked(path, &m, &e);
    pthread_mutex_unlock(&lock);
    return place;
}

dfx__mount_place dfx__mount_map(dfx__mapped *window, const char *path)
{
    dfx__mount *m;
    const dfx__mount_entry *e;
    pthread_mutex_lock(&lock);
    dfx__mount_place place = find_locked(path, &m, &e);
    if (place == DFX__MOUNT_FILE) {
        m->users++;
        *window = (dfx__mapped){ e->data, e->bytes, e->in_file, e->object, m };
    }
    pthread_mutex_unlock(&lock);
    return place;
}

/* Whether an entry before the i-th has the same first part after `skip` characters. */
static int listed(const dfx__mount *m, int i, size_t skip, size_t part)
{
    for (int k = 0; k < i; k++)
        if (strncmp(m->entry[k].name, m->entry[i].name, skip + part) == 0 &&
            (!m->entry[k].name[skip + part] || m->entry[k].name[skip + part] == '/'))
            return 1;
    return 0;
}

void dfx__mount_list(const char *path, dfx__list_function *each, void *user)
{
    const char *name, *below;
    char part[256];
    size_t length;
    pthread_mutex_lock(&lock);
    dfx__mount *m = find_mount(path, &name, &length);
    for (int i = 0; m && i < m->entries; i++) {
        if (!matches(&m->entry[i], name, length, &below) || !below)
            continue;
        size_t n = strcspn(below, "/");
        if (n >= sizeof part || listed(m, i, (size_t)(below - m->entry[i].name), n))
            continue;
        memcpy(part, below, n);
        part[n] = 0;
        each(user, part);
    }
    pthread_mutex_unlock(&lock);
}
