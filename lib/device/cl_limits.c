/* cl_limits.c - DFX_DEVICE_LIMITS: a device as if it were a poorer one, for tests. */
#include "device/cl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dfx_status malformed(const char *text)
{
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "DFX_DEVICE_LIMITS=%s: it takes gpu, group=N, local=N and buffer=N, joined by "
                     "commas; N bytes may be 16K or 32M",
                     text);
}

/* A number of bytes or work-items; 0 where it is none. */
static uint64_t size_of(const char *text, size_t length)
{
    char copy[24];
    uint64_t n;
    snprintf(copy, sizeof copy, "%.*s", (int)length, text);
    return length < sizeof copy && dfx_bytes_parse(&n, copy) == DFX_OK ? n : 0;
}

static void lower(uint64_t *has, uint64_t limit)
{
    *has = limit < *has ? limit : *has;
}

/* One of the words, to what is known of a device. 0: it is none. */
static int apply(dfx_device_info *info, const char *word, size_t length)
{
    const char *value = memchr(word, '=', length);
    size_t name = value ? (size_t)(value - word) : length;
    uint64_t n = value ? size_of(value + 1, length - name - 1) : 0, group = info->max_group;
    if (!value && length == 3 && strncmp(word, "gpu", 3) == 0) {
        info->is_cpu = 0;
        info->is_gpu = 1;
        return 1;
    }
    if (name == 5 && strncmp(word, "group", 5) == 0) {
        lower(&group, n);
        info->max_group = (size_t)group;
    } else if (name == 5 && strncmp(word, "local", 5) == 0)
        lower(&info->local_memory, n);
    else if (name == 6 && strncmp(word, "buffer", 6) == 0)
        lower(&info->max_buffer, n);
    else
        return 0;
    return n > 0;
}

dfx_status dfx__cl_limit(dfx_device_info *info)
{
    const char *limits = getenv("DFX_DEVICE_LIMITS");
    if (!limits || !*limits)
        return DFX_OK;
    for (const char *word = limits;; word++) {
        size_t length = strcspn(word, ",");
        if (!apply(info, word, length))
            return malformed(limits);
        word += length;
        if (!*word)
            break;
    }
    /* what is kept of the device, faults and times, is not kept for the whole one */
    size_t n = strlen(info->driver);
    snprintf(info->driver + n, sizeof info->driver - n, " (%s)", limits);
    return DFX_OK;
}
