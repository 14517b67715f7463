/* file.h - files: mapped to read, written whole or not at all. */
#ifndef DFX_CORE_FILE_H
#define DFX_CORE_FILE_H

#include "dfxcl/base.h"

#include <stdio.h>

/* A file mapped read-only. An empty one has no bytes, and data that is not NULL. */
typedef struct {
    const unsigned char *data;
    size_t bytes;
    int in_file;              /* data is a file's pages, for dfx__mapped_release */
    const void *object;       /* of a mount's entry (core/mount.h) */
    struct dfx__mount *mount; /* which it is a window of; NULL: it was mapped itself */
} dfx__mapped;

/* Paths here may lead into a mount (core/mount.h). */
dfx_status dfx__map_file(dfx__mapped *out, const char *path);
void dfx__unmap_file(dfx__mapped *m);

/* Gives the memory of a part of a mapped file back to the system, where that can be asked for; it
 * is read from the file again when it is touched. */
void dfx__mapped_release(const void *part, size_t bytes);

/* DFX_ERROR_FORMAT for a file that Git LFS has left a pointer in place of. */
dfx_status dfx__check_pointer(const void *data, size_t bytes, const char *path);

/* "FOLDER/NAME", to be freed; NULL when there is no memory. */
char *dfx__path_join(const char *folder, const char *name);
/* Whether a name ends so, ".json". */
int dfx__ends_with(const char *name, const char *end);
int dfx__file_exists(const char *path);
int dfx__file_exists_in(const char *folder, const char *name); /* name "": the folder's own path */
int dfx__folder_exists(const char *path);

/* Calls `each` for each name in a folder, in no order; not at all when there is no such folder.
 * `each` must not use paths of mounts. DFX_ERROR_FILE: the folder cannot be read. */
typedef void dfx__list_function(void *user, const char *name);
dfx_status dfx__folder_list(const char *path, dfx__list_function *each, void *user);

/* "$XDG_CACHE_HOME/dfxcl/HASH-OF-KEY" (else under ~/.cache) and the ending, ".bin"; to be freed.
 * The folder is made when it is missing; NULL when there is no place for such a file. */
char *dfx__cache_path(const char *key, const char *ending);

/* A file that appears whole: writes go to a temporary file beside it, which dfx__file_commit
 * renames and dfx__file_abandon removes. */
typedef struct {
    FILE *stream;
    char *path, *temporary;
} dfx__new_file;

dfx_status dfx__file_create(dfx__new_file *out, const char *path);
dfx_status dfx__file_commit(dfx__new_file *f); /* also frees f's paths, on failure too */
void dfx__file_abandon(dfx__new_file *f);

#endif
