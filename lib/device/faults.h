/* faults.h - ways of doing an operator that a device gets wrong, and which are not used there. */
#ifndef DFX_DEVICE_FAULTS_H
#define DFX_DEVICE_FAULTS_H

#include "device/device.h"

/* A variant of an operator in sequences of a dtype. */
typedef struct {
    const char *op, *variant;
    dfx_dtype dtype;
} dfx__way;

/* What is wrong with a way on this device; NULL: nothing that is known. The first look at a device
 * reads its file. The text lives until the way is tested again. */
const char *dfx__fault_find(dfx_device *d, const dfx__way *way);

/* Says in the log, once, which ways the device does without because of its file. */
void dfx__faults_tell(dfx_device *d);

/* The way is not used until the device is closed. */
void dfx__fault_add(dfx_device *d, const dfx__way *way, const char *message);

/* What a test of the way found wrong, for the file; NULL: nothing, and it is used again. */
void dfx__fault_keep(dfx_device *d, const dfx__way *way, const char *message);

/* The way is about to be tested. It stands in the file as a fatal fault until dfx__fault_keep, for
 * the case that the process does not live to do that. */
void dfx__fault_try(dfx_device *d, const dfx__way *way);

/* Whether a process ended while it tested the way. */
int dfx__fault_is_fatal(dfx_device *d, const dfx__way *way);

void dfx__faults_free(struct dfx__faults *f);

#endif
