/* choices.h - which of several ways to do a call was the fastest on a device: kept in a file. */
#ifndef DFX_DEVICE_CHOICES_H
#define DFX_DEVICE_CHOICES_H

#include "device/device.h"

/* The way that was chosen for a call: an index into the names of all ways that the device has, or
 * -1 when none was, or not among all of the first `names`, which are those to be measured. The
 * first look at a device reads its file. */
int dfx__choice_find(dfx_device *d, const char *key, const char *const *name, int names, int all);

/* A choice made now, with the seconds of each way (infinite: it was not right, or not run to the
 * end); for this process until it is saved. */
void dfx__choice_add(dfx_device *d, const char *key, const char *const *name, const double *seconds,
                     int names, int chosen);

/* Writes what was added since the last time, beside what other processes wrote. */
void dfx__choices_save(dfx_device *d);

/* All choices, by call; NULL without memory. */
struct dfx__kept *dfx__choices(dfx_device *d);

#endif
