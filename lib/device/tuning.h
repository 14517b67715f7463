/* tuning.h - the parameters of CLBlast's kernels that suit a device: found here and kept in a file,
 * or shipped with the library. */
#ifndef DFX_DEVICE_TUNING_H
#define DFX_DEVICE_TUNING_H

#include "device/clblast_space.h"
#include "device/kept.h"

/* What was found here by kernel, "Xgemm":
 *   { "parameters": { NAME: N, ... },  the best; absent while none is better than CLBlast's own
 *     "seconds": S, "before": S,       of what they were measured by: now, and with CLBlast's own
 *     "wrong": { NAME: N, ... },       parameters of this file that turned out to be wrong
 *     "tried": { "N N N ...": S or null, ... } }
 * where null is of parameters that were wrong, did not run, or were being tried when the process
 * ended. Joined with what another process found, the faster parameters stay, and all that were
 * tried. NULL without memory. */
dfx__kept *dfx__tuning(dfx_device *d);

/* What a file of tuned parameters begins with, to be put. */
json_object *dfx__tuning_header(const dfx_device_info *info);

/* Parameters for a kernel that it can have on this device, into `value` in the order of its space:
 * those that were found here, else those that are shipped for such a device. 0: there are none. */
int dfx__tuning_find(int *value, dfx_device *d, const dfx__space *space);

/* Whether an object is a file of tuned parameters, and for such a device. In the name of its device
 * and platform a last '*' stands for any text: the answer is the longer the more was compared. */
int dfx__tuning_is_file(json_object *file);
int dfx__tuning_suits(json_object *file, const dfx_device_info *info);

#endif
