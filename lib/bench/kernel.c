/* kernel.c - kernels to be timed, and their memory. */
#include "bench/kernel.h"

#include <stdlib.h>
#include <string.h>

dfx_status dfx__bench_kernel_open(dfx__bench_kernel *k, dfx_device *d, const dfx__bench_launch *l)
{
    dfx__launch launch = { .kind = DFX__LAUNCH_KERNEL,
                           .kernel = { .program = l->program,
                                       .name = l->name,
                                       .dims = 1,
                                       .global = { (size_t)l->groups * (size_t)l->group },
                                       .local = { (size_t)l->group } } };
    dfx__arg *arg = launch.kernel.arg;
    int n = 0;
    memcpy(launch.kernel.options, l->options, sizeof l->options);
    for (int i = 0; i < 2; i++)
        if (l->buffer[i])
            arg[n++] = (dfx__arg){ .kind = DFX__ARG_PLACE,
                                   .place = { l->buffer[i], 0, l->buffer[i]->bytes } };
    if (l->floats)
        arg[n++] = (dfx__arg){ .kind = DFX__ARG_SCALAR, .scalar.f = l->number };
    if (l->ints)
        arg[n++] = (dfx__arg){ .kind = DFX__ARG_SCALAR, .scalar.i = l->rounds };
    launch.kernel.args = n;
    *k = (dfx__bench_kernel){ d, NULL };
    return d->class->prepare(&k->prepared, d, &launch);
}

dfx_status dfx__bench_host_open(dfx__bench_kernel *k, dfx_device *d, void (*run)(void *data),
                                void *data)
{
    dfx__launch launch = { .kind = DFX__LAUNCH_HOST, .host = { run, data } };
    *k = (dfx__bench_kernel){ d, NULL };
    return d->class->prepare(&k->prepared, d, &launch);
}

void dfx__bench_kernel_close(dfx__bench_kernel *k)
{
    if (k->prepared)
        k->device->class->discard(k->prepared);
    k->prepared = NULL;
}

dfx_status dfx__bench_kernel_run(void *kernel, double *seconds)
{
    dfx__bench_kernel *k = kernel;
    dfx__device_time t;
    DFX__TRY(k->device->class->time(&t, k->prepared));
    *seconds = t.ran;
    return k->device->class->finish(k->device);
}

dfx_status dfx__bench_buffer(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    void *mapped;
    DFX__TRY(dfx__buffer_new(out, d, bytes));
    dfx_status status = d->class->map(&mapped, *out);
    if (status == DFX_OK) {
        memset(mapped, 0, bytes);
        status = d->class->unmap(*out, mapped);
    }
    if (status != DFX_OK) {
        dfx__buffer_free(*out);
        *out = NULL;
    }
    return status;
}
