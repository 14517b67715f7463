/* kept.h - what was found out about a device, from run to run in a readable JSON file. */
#ifndef DFX_DEVICE_KEPT_H
#define DFX_DEVICE_KEPT_H

#include "core/json.h"
#include "device/device.h"

typedef struct dfx__kept dfx__kept;

/* The entries that stand in the device's file under `member`. The file is one under
 * $XDG_CACHE_HOME/dfxcl for each device, driver, version of the library and `kernels` (a folder of
 * kernel files; NULL: those of the library), and its name ends with `ending` (NULL: there is no
 * file, and entries last until the end). NULL when there is no memory. */
dfx__kept *dfx__kept_open(const dfx_device_info *info, const char *member, const char *ending,
                          const char *kernels);
void dfx__kept_close(dfx__kept *k);

/* The same in the file of a header of one's own, which is the entries' from now on. join: of an
 * entry that the file has too, what stays of both: a new reference to an object, NULL without
 * memory. NULL: what was put stays. */
typedef json_object *dfx__kept_join(json_object *file, json_object *ours);
dfx__kept *dfx__kept_open_file(json_object *header, const char *member, const char *ending,
                               dfx__kept_join *join);

/* What a device's file begins with, to be put; and whether a file begins so. */
json_object *dfx__kept_header(const dfx_device_info *info, const char *kernels);
int dfx__kept_is_of(json_object *file, json_object *header);

/* The file's, and those that were put since it was read. */
json_object *dfx__kept_entries(const dfx__kept *k);

/* An entry from now on, in the file once that is saved. NULL takes out the one that is there. */
void dfx__kept_put(dfx__kept *k, const char *key, json_object *entry);

/* Writes what was put since the last time, beside what other processes wrote. */
void dfx__kept_save(dfx__kept *k);

#endif
