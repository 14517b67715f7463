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
    double worst, tolerance;    /* largest error over its bound's scale */
    const char *worst_case;     /* the inputs of the worst case */
    const char *message;        /* of the first failure; "" when all pass */
} dfx_selftest_row;

typedef void dfx_selftest_function(void *user, const dfx_selftest_row *row);

/* Runs all cases of the operator named `op` (NULL: every operator) on the device, reports a row for
 * each operator, variant and dtype, and adds up the failed cases in *failed. On the native CPU these
 * are its faster variants, as this processor runs them.
 * small: only the cases of under 20,000 multiplications (for simulators). */
DFX_API dfx_status dfx_selftest(dfx_device *device, const char *op, int small,
                                dfx_selftest_function *report, void *user, int *failed);

#ifdef __cplusplus
}
#endif
#endif
