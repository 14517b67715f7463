/* cpu.c - the native CPU as a device: buffers in host memory, launches that are host functions. */
#include "core/memory.h"
#include "core/status.h"
#include "device/cpu_kernels.h"
#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

struct dfx__prepared {
    void (*run)(void *data);
    void *data;
};

/* Large memory in huge pages where the system has them: weights are packed a quarter faster. */
static void *allocate(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return aligned_alloc(ALIGNMENT, bytes);
    size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *host = aligned_alloc(HUGE_PAGE, whole);
#ifdef MADV_HUGEPAGE
    if (host)
        madvise(host, whole, MADV_HUGEPAGE);
#endif
    return host;
}

static dfx_status cpu_allocate(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    (void)d;
    dfx__buffer *b = calloc(1, sizeof *b);
    void *host = b ? allocate(bytes) : NULL;
    if (!host) {
        free(b);
        return dfx__fail(DFX_ERROR_MEMORY, "out of memory: %zu MiB were asked for", bytes >> 20);
    }
    b->host = host;
    *out = b;
    return DFX_OK;
}

static void cpu_release(dfx__buffer *b)
{
    free(b->host);
    free(b);
}

static dfx_status cpu_write(dfx__buffer *b, size_t offset, const void *from, size_t bytes)
{
    memcpy((char *)b->host + offset, from, bytes);
    return DFX_OK;
}

static dfx_status cpu_read(dfx__buffer *b, size_t offset, void *to, size_t bytes)
{
    memcpy(to, (const char *)b->host + offset, bytes);
    return DFX_OK;
}

static dfx_status cpu_map(void **out, dfx__buffer *b)
{
    *out = b->host;
    return DFX_OK;
}

static dfx_status cpu_unmap(dfx__buffer *b, void *mapped)
{
    (void)b;
    (void)mapped;
    return DFX_OK;
}

static dfx_status cpu_prepare(dfx__prepared **out, dfx_device *d, const dfx__launch *l)
{
    (void)d;
    if (l->kind != DFX__LAUNCH_HOST)
        return dfx__fail(DFX_ERROR_DEVICE, "the native CPU runs host functions only");
    dfx__prepared *p = malloc(sizeof *p);
    if (!p)
        return dfx__no_memory();
    p->run = l->host.run;
    p->data = l->host.data;
    *out = p;
    return DFX_OK;
}

static void cpu_discard(dfx__prepared *p)
{
    free(p);
}

static dfx_status cpu_enqueue(dfx__prepared *p)
{
    p->run(p->data);
    return DFX_OK;
}

static dfx_status cpu_time(dfx__device_time *out, dfx__prepared *p)
{
    *out = (dfx__device_time){ 0, 0 };
    return cpu_enqueue(p);
}

static dfx_status cpu_finish(dfx_device *d)
{
    (void)d;
    return DFX_OK;
}

static void cpu_close(dfx_device *d)
{
    free(d);
}

static const dfx__device_class cpu_class = {
    cpu_allocate, cpu_release, cpu_write,   cpu_read, cpu_map,    cpu_unmap, NULL, NULL,      NULL,
    cpu_prepare,  cpu_discard, cpu_enqueue, cpu_time, cpu_finish, NULL,      NULL, cpu_close,
};

/* The processor's name as Linux tells it; elsewhere just "CPU". */
static void processor_name(char *name, size_t size)
{
    snprintf(name, size, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value) {
            value += 1 + strspn(value + 1, " \t");
            value[strcspn(value, "\n")] = '\0';
            snprintf(name, size, "%s", value);
            break;
        }
    }
    if (f)
        fclose(f);
}

void dfx__cpu_describe(dfx_device_info *info)
{
    memset(info, 0, sizeof *info);
    snprintf(info->id, sizeof info->id, "cpu");
    processor_name(info->name, sizeof info->name);
    snprintf(info->platform, sizeof info->platform, "native");
    snprintf(info->driver, sizeof info->driver, "%s", dfx__cpu_kernels()->name);
    info->is_cpu = 1;
#ifdef _OPENMP
    info->units = omp_get_max_threads();
#else
    info->units = 1;
#endif
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    info->memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    info->max_buffer = info->memory;
    info->usable = 1;
}

dfx_status dfx__cpu_open(dfx_device **out)
{
    dfx_device *d = calloc(1, sizeof *d);
    if (!d)
        return dfx__no_memory();
    d->class = &cpu_class;
    d->alignment = ALIGNMENT;
    d->is_native = 1;
    dfx__cpu_describe(&d->info);
    *out = d;
    return DFX_OK;
}
