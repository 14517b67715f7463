/* dfxcl/selftest.h - every operator on a device against the native CPU's plainest variant. */
#ifndef DFXCL_SELFTEST_H
#define DFXCL_SELFTEST_H

#include "dfxcl/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One operator, variant and dtype over all its cases. */
typedef struct {
    const char *op, *variant;
    dfx_dtype dtype;
    int cases, failed, skipped; /* skipped: the variant does not take the case */
    double worst;               /* the largest error, as a multiple of the allowed one */
    double tolerance;           /* allowed in f32, as a part of the result's largest magnitude */
    const char *worst_case;     /* the inputs of the case with the worst error; "" when none ran */
    size_t worst_index;         /* the element of its result, and what is there */
    double expected, got;
    const char *message; /* of the first failure; "" when all pass */
    int kept; /* programs do without the variant from now on, on this device and driver */
} dfx_selftest_row;

enum {
    DFX_SELFTEST_SMALL = 1, /* only cases of under 20,000 multiplications (for simulators) */
    DFX_SELFTEST_SPARE = 2  /* variants at which a process ended before count as failed, untested */
};

typedef void dfx_selftest_function(void *user, const dfx_selftest_row *row);

/* Runs all cases of the operator named `op` (NULL: every operator) on the device, reports a row for
 * each operator, variant and dtype, and adds up the failed cases in *failed. On the native CPU
 * these are its faster variants, as this processor runs them. flags: DFX_SELFTEST_... or 0.
 *
 * What fails is kept in a file under $XDG_CACHE_HOME/dfxcl for the device, its driver and this
 * version of the library: all programs then do the operator in another way there, and one line of
 * the log says so. It is used again when it passes. A variant at which the process ended counts as
 * failed, and is tested after all others the next time.
 * Errors: DFX_ERROR_ARGUMENT (no such operator), DFX_ERROR_INTERRUPTED, DFX_ERROR_DEVICE (after a
 * failure the device does not answer any more). */
DFX_API dfx_status dfx_selftest(dfx_device *device, const char *op, int flags,
                                dfx_selftest_function *report, void *user, int *failed);

/* What is known against a driver, as one line for a user whose selftest fails; NULL: nothing. */
DFX_API const char *dfx_selftest_hint(const dfx_device_info *device);

#ifdef __cplusplus
}
#endif
#endif
