/* device.c - finding and opening devices by name, and buffers with accounting. */
#include "device/device.h"

#include "core/status.h"
#include "device/faults.h"
#include "device/kept.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

dfx_status dfx_device_list(dfx_device_info **out, int *count)
{
    *out = NULL;
    *count = 0;
    DFX__TRY(dfx__cl_list(out, count));
    dfx_device_info *list = realloc(*out, (size_t)(*count + 1) * sizeof *list);
    if (!list) {
        free(*out);
        *out = NULL;
        *count = 0;
        return dfx__no_memory();
    }
    dfx__cpu_describe(&list[(*count)++]);
    *out = list;
    return DFX_OK;
}

void dfx_device_list_free(dfx_device_info *list)
{
    free(list);
}

/* A GPU if there is one; else the native CPU, which starts without compiling anything and is as
 * fast as OpenCL on the same cores. */
static dfx_status open_auto(dfx_device **out)
{
    dfx_device_info *list;
    int count, best = -1;
    DFX__TRY(dfx_device_list(&list, &count));
    for (int i = 0; i < count; i++)
        if (list[i].is_gpu && list[i].usable && (best < 0 || list[i].memory > list[best].memory))
            best = i;
    dfx_device_list_free(list);
    return best < 0 ? dfx__cpu_open(out) : dfx__cl_open(out, best);
}

dfx_status dfx_device_open(dfx_device **out, const char *name)
{
    *out = NULL;
    if (!name || strcmp(name, "auto") == 0)
        return open_auto(out);
    if (strcmp(name, "cpu") == 0)
        return dfx__cpu_open(out);
    if (strcmp(name, "opencl") == 0)
        return dfx__cl_open(out, -1);
    if (strncmp(name, "opencl:", 7) == 0) {
        char *end;
        long n = strtol(name + 7, &end, 10);
        if (name[7] >= '0' && name[7] <= '9' && !*end && n < 1000)
            return dfx__cl_open(out, (int)n);
    }
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "device '%s' is unknown (auto, cpu, opencl, opencl:N as `dfx devices` shows)",
                     name);
}

void dfx_device_free(dfx_device *device)
{
    if (!device)
        return;
    dfx__kept_close(device->choices);
    dfx__kept_close(device->tuning);
    json_object_put(device->shipped);
    dfx__faults_free(device->faults);
    device->class->close(device);
}

const dfx_device_info *dfx_device_get_info(const dfx_device *device)
{
    return &device->info;
}

uint64_t dfx_device_memory_used(const dfx_device *device)
{
    return device->used;
}

uint64_t dfx_device_memory_peak(const dfx_device *device)
{
    return device->peak;
}

int dfx__has(dfx_device *d, dfx__feature feature)
{
    return d->class->has && d->class->has(d, feature);
}

size_t dfx__align(const dfx_device *d, size_t bytes)
{
    return (bytes + d->alignment - 1) / d->alignment * d->alignment;
}

dfx_status dfx__buffer_new(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    *out = NULL;
    bytes = dfx__align(d, bytes ? bytes : 1);
    if (bytes > d->info.max_buffer)
        return dfx__fail(DFX_ERROR_MEMORY,
                         "device %s: a buffer of %zu MiB is needed and its largest is %" PRIu64
                         " MiB; a smaller picture, a smaller batch or --dtype f16 need less",
                         d->info.id, bytes >> 20, d->info.max_buffer >> 20);
    if (d->used + bytes > d->info.memory)
        return dfx__fail(DFX_ERROR_MEMORY,
                         "device %s: %" PRIu64 " MiB are in use, %zu MiB more are needed and it "
                         "has %" PRIu64 " MiB; a smaller picture, a smaller batch or --dtype f16 "
                         "need less",
                         d->info.id, d->used >> 20, bytes >> 20, d->info.memory >> 20);
    DFX__TRY(d->class->allocate(out, d, bytes));
    (*out)->device = d;
    (*out)->bytes = bytes;
    d->used += bytes;
    if (d->used > d->peak)
        d->peak = d->used;
    return DFX_OK;
}

void dfx__buffer_free(dfx__buffer *b)
{
    if (!b)
        return;
    b->device->used -= b->bytes;
    b->device->class->release(b);
}
