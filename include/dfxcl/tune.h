/* dfxcl/tune.h - searching what makes a device faster, and files of what was found.
 *
 *     static int print(void *user, const dfx_tune_row *r)
 *     {
 *         return fprintf(stderr, "%s: %.2f times as fast\n", r->what, r->before / r->seconds) < 0;
 *     }
 *     dfx_tune(device, DFX_F32, 300, print, NULL); */
#ifndef DFXCL_TUNE_H
#define DFXCL_TUNE_H

#include "dfxcl/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a search stands; texts live as long as the report's call. */
typedef struct {
    const char
        *what; /* a kernel of CLBlast, "Xgemm", "XgemmDirect" ..., or an operator, "linear" */
    const char *shape; /* what it is timed by: "1024 x 1024 x 1024", or a call's shapes */
    const char *best;  /* parameters, "MWG=64 NWG=16 ...", or a variant; "": CLBlast's own */
    int tried, wrong;  /* now: candidates, and those that computed something else than the CPU,
                          or did not run */
    double seconds;    /* of the best one */
    double before;     /* of CLBlast's own parameters, or of the variant that is first in order */
    double spent, budget; /* seconds of this search */
    int done;             /* nothing more will come of it */
} dfx_tune_row;

/* Something else than 0 stops with DFX_ERROR_INTERRUPTED; what was found is kept. */
typedef int dfx_tune_function(void *user, const dfx_tune_row *row);

/* Searches, for about `budget` seconds, parameters of CLBlast's kernels that are faster on the
 * device than its own, where the device has CLBlast; then measures every way that the device has to
 * do the calls of Stable Diffusion 1.5 and XL in the dtype. A candidate counts after its result was
 * compared with the CPU's. What is found is kept under $XDG_CACHE_HOME for the device and its
 * driver, where later runs find it, and a later search goes on where this one ended; several may
 * run at the same time. Reports after every candidate. report NULL: nothing. Errors:
 * DFX_ERROR_INTERRUPTED (also by dfx_interrupt), DFX_ERROR_MEMORY, DFX_ERROR_DEVICE. */
DFX_API dfx_status dfx_tune(dfx_device *device, dfx_dtype dtype, double budget,
                            dfx_tune_function *report, void *user);

/* Writes what is known of the device (found there, not shipped with the library) to a readable JSON
 * file. Errors: DFX_ERROR_DEVICE (nothing is known), DFX_ERROR_FILE. */
DFX_API dfx_status dfx_tune_export(dfx_device *device, const char *path);

/* Takes over what a file has of a device of the same name and platform. Parameters are taken where
 * the device can have them and a product by them is the CPU's (*kernels receives how many); times
 * of calls where driver, units and version of the library are the same (*calls likewise). Errors:
 * DFX_ERROR_FILE, DFX_ERROR_FORMAT (not such a file), DFX_ERROR_DEVICE (another device's). */
DFX_API dfx_status dfx_tune_import(dfx_device *device, const char *path, int *kernels, int *calls);

#ifdef __cplusplus
}
#endif
#endif
