/* kernel.h - a kernel of cl/bench_*.cl, or on the native CPU a function, to be timed. */
#ifndef DFX_BENCH_KERNEL_H
#define DFX_BENCH_KERNEL_H

#include "bench/bench.h"

typedef struct {
    dfx_device *device;
    dfx__prepared *prepared;
} dfx__bench_kernel;

/* Prepares it for `groups` work-groups of `group` work-items; arguments: the buffers that are not
 * NULL, then the scalars. */
typedef struct {
    const char *program, *name;
    char options[DFX__MAX_OPTIONS];
    int group, groups;
    dfx__buffer *buffer[2];
    int floats, ints; /* 0 or 1 of each; a float comes before an int */
    float number;
    int rounds;
} dfx__bench_launch;
dfx_status dfx__bench_kernel_open(dfx__bench_kernel *k, dfx_device *d, const dfx__bench_launch *l);
dfx_status dfx__bench_host_open(dfx__bench_kernel *k, dfx_device *d, void (*run)(void *data),
                                void *data);
void dfx__bench_kernel_close(dfx__bench_kernel *k);

/* A dfx__bench_run on a dfx__bench_kernel. */
dfx_status dfx__bench_kernel_run(void *kernel, double *seconds);

/* A buffer of zeros. */
dfx_status dfx__bench_buffer(dfx__buffer **out, dfx_device *d, size_t bytes);

#endif
