/* device.c - finding and opening devices by name, and buffers with accounting. */
#include "device/device.h"

#include "core/status.h"
#include "device/faults.h"
#include "device/kept.h"

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

static dfx_status open_named(dfx_device **out, const char *name)
{
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

dfx_status dfx_device_open(dfx_device **out, const char *name)
{
    const char *limit = getenv("DFX_MEMORY_LIMIT");
    uint64_t bytes = 0;
    *out = NULL;
    if (limit && dfx_bytes_parse(&bytes, limit) != DFX_OK)
        return dfx__fail_in(DFX_ERROR_ARGUMENT, "DFX_MEMORY_LIMIT");
    DFX__TRY(open_named(out, name));
    dfx_device_set_memory_limit(*out, bytes);
    return DFX_OK;
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

void dfx_device_set_memory_limit(dfx_device *device, uint64_t bytes)
{
    device->limit = bytes && bytes < device->info.memory ? bytes : device->info.memory;
}

uint64_t dfx_device_memory_limit(const dfx_device *device)
{
    return device->limit;
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
    int rehearses = d->rehearses, has;
    d->rehearses = 0; /* trying takes memory */
    has = d->class->has && d->class->has(d, feature);
    d->rehearses = rehearses;
    return has;
}

size_t dfx__align(const dfx_device *d, size_t bytes)
{
    return (bytes + d->alignment - 1) / d->alignment * d->alignment;
}

uint64_t dfx__memory_left(const dfx_device *d)
{
    return d->used < d->limit ? d->limit - d->used : 0;
}

dfx__rehearsal dfx__rehearse(dfx_device *d)
{
    dfx__rehearsal before = { d->used, d->peak, d->rehearses };
    d->peak = d->used;
    d->rehearses = 1;
    return before;
}

uint64_t dfx__rehearse_end(dfx_device *d, const dfx__rehearsal *before)
{
    uint64_t peak = d->peak;
    d->rehearses = before->rehearses;
    d->used = before->used;
    d->peak = before->peak;
    return peak;
}

static dfx_status imagine(dfx__buffer **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return dfx__no_memory();
    (*out)->is_imagined = 1;
    return DFX_OK;
}

dfx_status dfx__buffer_check(const dfx_device *d, size_t bytes)
{
    char need[DFX_BYTES_TEXT], most[DFX_BYTES_TEXT];
    if (bytes <= d->info.max_buffer)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_MEMORY,
                     "device %s: a buffer of %s is needed and its largest is %s; a smaller "
                     "picture, a smaller batch or --dtype f16 need less",
                     d->info.id, dfx_bytes_text(need, bytes),
                     dfx_bytes_text(most, d->info.max_buffer));
}

dfx_status dfx__buffer_new(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    *out = NULL;
    bytes = dfx__align(d, bytes ? bytes : 1);
    char need[DFX_BYTES_TEXT], used[DFX_BYTES_TEXT], most[DFX_BYTES_TEXT];
    DFX__TRY(dfx__buffer_check(d, bytes));
    if (bytes > dfx__memory_left(d))
        return dfx__fail(DFX_ERROR_MEMORY,
                         "device %s: %s are in use, %s more are needed and the limit is %s; a "
                         "smaller picture, a smaller batch or --dtype f16 need less",
                         d->info.id, dfx_bytes_text(used, d->used), dfx_bytes_text(need, bytes),
                         dfx_bytes_text(most, d->limit));
    dfx_status status = d->rehearses ? imagine(out) : d->class->allocate(out, d, bytes);
    if (status == DFX_ERROR_MEMORY)
        d->ran_out = 1;
    DFX__TRY(status);
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
    if (b->is_imagined)
        free(b);
    else
        b->device->class->release(b);
}
