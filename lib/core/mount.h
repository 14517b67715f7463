/* mount.h - one file shown as a folder: a checkpoint that holds what a Diffusers folder does. */
#ifndef DFX_CORE_MOUNT_H
#define DFX_CORE_MOUNT_H

#include "core/file.h"

/* A file below the mounted path. */
typedef struct {
    const char *name; /* "unet/config.json" */
    const unsigned char *data;
    size_t bytes;
    int in_file; /* data lies in a mapped file: its pages can be given back */
    const void
        *object; /* what a reader of a higher layer takes in place of bytes, which are then
                  * the whole range that the object points into; NULL: there are bytes only */
} dfx__mount_entry;

typedef struct dfx__mount dfx__mount;

/* Shows the entries (copied, names too) below the path of a file, for dfx__map_file and what else
 * takes paths here. A later mount of the same path hides an earlier one. The data belongs to
 * `owner`, which free_owner gets when the mount and every file mapped from it are gone; on failure
 * it stays the caller's. */
dfx_status dfx__mount_add(dfx__mount **out, const char *path, const dfx__mount_entry *entry,
                          int entries, void *owner, void (*free_owner)(void *owner));

/* The mount of the file at this path, with one more user; NULL when there is none, or the file is
 * another one by now. */
dfx__mount *dfx__mount_again(const char *path);
void dfx__mount_hold(dfx__mount *m); /* one more user */
void dfx__mount_release(dfx__mount *m);

/* What a path is among the mounts; DFX__MOUNT_OUTSIDE: it is in none, so the file system knows. */
typedef enum {
    DFX__MOUNT_OUTSIDE,
    DFX__MOUNT_ABSENT,
    DFX__MOUNT_FILE,
    DFX__MOUNT_FOLDER
} dfx__mount_place;

dfx__mount_place dfx__mount_find(const char *path);

/* Maps a file of a mount, whose user it becomes. *window is set for DFX__MOUNT_FILE only. */
dfx__mount_place dfx__mount_map(dfx__mapped *window, const char *path);

/* Calls `each` for what is directly in a folder of a mount. */
void dfx__mount_list(const char *path, dfx__list_function *each, void *user);

#endif
