/* choices.h - which of several ways to do a call was the fastest on a device: kept in a file. */
#ifndef DFX_DEVICE_CHOICES_H
#define DFX_DEVICE_CHOICES_H

#include "device/device.h"

/* The way that was chosen for a call: an index into the names of the ways that there are now, or -1
 * when none was, or not among all of these. The first look at a device reads its file. */
int dfx__choice_find(dfx_device *d, const char *key, const char *const *name, int names);

/* A choice made now, with the seconds of each way; for this process until it is saved. */
void dfx__choice_add(dfx_device *d, const char *key, const char *const *name, const double *seconds,
                     int names, int chosen);

/* Writes what was added since the last time, beside what other processes wrote. */
void dfx__choices_save(dfx_device *d);

#endif
