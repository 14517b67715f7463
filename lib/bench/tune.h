/* tune.h - the two parts of tuning a device, and what they share. */
#ifndef DFX_BENCH_TUNE_H
#define DFX_BENCH_TUNE_H

#include "core/status.h"
#include "device/tuning.h"
#include "dfxcl/tune.h"

typedef struct {
    dfx_device *device;
    dfx_tune_function *report;
    void *user;
    double began, budget;
} dfx__tuner;

/* Seconds since it began. */
double dfx__tuner_spent(const dfx__tuner *t);

/* Hands a row to the caller, with the time; DFX_ERROR_INTERRUPTED to stop. */
dfx_status dfx__tuner_report(const dfx__tuner *t, dfx_tune_row *row);

/* Parameters of CLBlast's kernels, until so many seconds are spent (tune_gemm.c). Errors:
 * DFX_ERROR_UNSUPPORTED (there is no CLBlast for the device), DFX_ERROR_INTERRUPTED,
 * DFX_ERROR_MEMORY. */
dfx_status dfx__tune_gemm(const dfx__tuner *t, double until);

/* The ways of the calls of published models in a dtype, until so many seconds are spent
 * (tune_calls.c). Errors: DFX_ERROR_INTERRUPTED, DFX_ERROR_MEMORY. */
dfx_status dfx__tune_calls(const dfx__tuner *t, dfx_dtype dtype, double until);

/* Gives CLBlast the parameters: seconds of a product that needs the kernel, INFINITY where one is
 * not the CPU's, and `before` those with what it has without them (tune_gemm.c). Errors:
 * DFX_ERROR_UNSUPPORTED, DFX_ERROR_MEMORY. */
dfx_status dfx__tune_check(dfx_device *d, const dfx__space *space, const int *value, double *before,
                           double *seconds);

#endif
