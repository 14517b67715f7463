/* cl_list.c - the OpenCL platforms and devices of the machine, and what each can do. */
#include "device/cl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PLATFORMS = 32, MAX_DEVICES = 64 };

static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size)
{
    size_t n = 0;
    char buffer[1024] = "";
    text[0] = '\0';
    if (clGetDeviceInfo(id, what, sizeof buffer - 1, buffer, &n) == CL_SUCCESS)
        snprintf(text, size, "%.*s", (int)size - 1, buffer + strspn(buffer, " "));
}

static uint64_t device_number(cl_device_id id, cl_device_info what)
{
    uint64_t value = 0; /* little-endian: a shorter answer fills the low bytes */
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static void platform_text(cl_platform_id id, char *text, size_t size)
{
    char name[256] = "", version[256] = "";
    clGetPlatformInfo(id, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    clGetPlatformInfo(id, CL_PLATFORM_VERSION, sizeof version - 1, version, NULL);
    snprintf(text, size, "%.60s, %.60s", name, version);
}

/* As a whole word. */
int dfx__cl_has_extension(cl_device_id id, const char *name)
{
    size_t bytes = 0, length = strlen(name);
    int found = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) != CL_SUCCESS)
        return 0;
    char *list = calloc(1, bytes + 1);
    if (list && clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, bytes, list, NULL) == CL_SUCCESS)
        for (const char *p = list; !found && (p = strstr(p, name)); p += length)
            found = (p == list || p[-1] == ' ') && (p[length] == ' ' || !p[length]);
    free(list);
    return found;
}

/* What the base kernels need and the device lacks, or NULL. */
static const char *missing(const dfx_device_info *info, cl_device_id id)
{
    char version[128];
    int major = 0, minor = 0;
    device_text(id, CL_DEVICE_VERSION, version, sizeof version);
    if (sscanf(version, "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12)
        return "its OpenCL is older than 1.2";
    if (!device_number(id, CL_DEVICE_AVAILABLE))
        return "the driver says that it is not available";
    if (!device_number(id, CL_DEVICE_COMPILER_AVAILABLE))
        return "its driver has no compiler";
    if (!device_number(id, CL_DEVICE_ENDIAN_LITTLE))
        return "it is big-endian";
    if (info->max_group < DFX__LEAST_GROUP)
        return "its work-groups are smaller than 16";
    if (info->local_memory < DFX__LEAST_LOCAL)
        return "it has less than 16 KiB of local memory";
    return NULL;
}

dfx_status dfx__cl_describe(dfx_device_info *info, cl_platform_id platform, cl_device_id id, int n)
{
    memset(info, 0, sizeof *info);
    snprintf(info->id, sizeof info->id, "opencl:%d", n);
    device_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    device_text(id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    platform_text(platform, info->platform, sizeof info->platform);
    uint64_t type = device_number(id, CL_DEVICE_TYPE);
    info->is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    info->is_gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    info->units = (int)device_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->memory = device_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_buffer = device_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory = device_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->max_group = (size_t)device_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->has_f16 = dfx__cl_has_extension(id, "cl_khr_fp16");
    DFX__TRY(dfx__cl_limit(info));
    const char *why = missing(info, id);
    info->usable = why == NULL;
    snprintf(info->why, sizeof info->why, "%s", why ? why : "");
    return DFX_OK;
}

/* Calls `visit` for each device in the order of the platforms until it returns non-zero. */
static int each_device(int (*visit)(void *user, cl_platform_id, cl_device_id, int n), void *user)
{
    cl_platform_id platform[MAX_PLATFORMS];
    cl_uint platforms = 0;
    int n = 0;
    if (clGetPlatformIDs(MAX_PLATFORMS, platform, &platforms) != CL_SUCCESS)
        return 0; /* the loader has no platform at all */
    for (cl_uint p = 0; p < platforms && p < MAX_PLATFORMS; p++) {
        cl_device_id id[MAX_DEVICES];
        cl_uint devices = 0;
        if (clGetDeviceIDs(platform[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, id, &devices) !=
            CL_SUCCESS)
            continue;
        for (cl_uint i = 0; i < devices && i < MAX_DEVICES; i++) {
            int stop = visit(user, platform[p], id[i], n++);
            if (stop)
                return stop;
        }
    }
    return 0;
}

struct listing {
    dfx_device_info *list;
    int count;
    dfx_status status;
};

static int append(void *user, cl_platform_id platform, cl_device_id id, int n)
{
    struct listing *l = user;
    dfx_device_info *list = realloc(l->list, (size_t)(l->count + 1) * sizeof *list);
    if (!list) {
        l->status = dfx__no_memory();
        return -1;
    }
    l->list = list;
    l->status = dfx__cl_describe(&list[l->count++], platform, id, n);
    return l->status;
}

dfx_status dfx__cl_list(dfx_device_info **list, int *count)
{
    struct listing l = { *list, *count, DFX_OK };
    each_device(append, &l);
    if (l.status != DFX_OK) {
        free(l.list);
        l.list = NULL;
        l.count = 0;
    }
    *list = l.list;
    *count = l.count;
    return l.status;
}

struct search {
    dfx_status status;
    int wanted, found, devices;
    double score;
    cl_platform_id platform;
    cl_device_id id;
};

/* Discrete GPUs before integrated ones before the rest; then more units. */
static double score(const dfx_device_info *info, cl_device_id id)
{
    int tier = !info->is_gpu ? 0 : device_number(id, CL_DEVICE_HOST_UNIFIED_MEMORY) ? 1 : 2;
    return info->usable ? 1e6 * tier + info->units : -1;
}

static int consider(void *user, cl_platform_id platform, cl_device_id id, int n)
{
    struct search *s = user;
    dfx_device_info info;
    s->devices++;
    if (s->wanted >= 0 && n != s->wanted)
        return 0;
    if ((s->status = dfx__cl_describe(&info, platform, id, n)) != DFX_OK)
        return s->status;
    double value = score(&info, id);
    if (s->wanted < 0 && (value < 0 || value <= s->score))
        return 0;
    s->score = value;
    s->found = n;
    s->platform = platform;
    s->id = id;
    return 0;
}

dfx_status dfx__cl_find(cl_platform_id *platform, cl_device_id *id, int *number, int n)
{
    struct search s = { .wanted = n, .found = -1, .score = -1 };
    each_device(consider, &s);
    DFX__TRY(s.status);
    if (s.found < 0 && s.devices == 0)
        return dfx__fail(DFX_ERROR_DEVICE, "there is no OpenCL device (install your GPU's OpenCL "
                                           "driver, or pocl-opencl-icd for the CPU; --device cpu "
                                           "needs none)");
    if (s.found < 0 && n >= 0)
        return dfx__fail(DFX_ERROR_DEVICE,
                         "there is no device opencl:%d (`dfx devices` lists %d OpenCL device%s)", n,
                         s.devices, s.devices == 1 ? "" : "s");
    if (s.found < 0)
        return dfx__fail(DFX_ERROR_DEVICE, "no OpenCL device can be used (`dfx devices` says why)");
    *platform = s.platform;
    *id = s.id;
    *number = s.found;
    return DFX_OK;
}
