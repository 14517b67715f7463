/* cl.h - what the OpenCL files share. They and no others include the OpenCL headers. */
#ifndef DFX_DEVICE_CL_H
#define DFX_DEVICE_CL_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include "core/status.h"
#include "device/device.h"

/* A program of one kernel file and its options, built for the device. */
typedef struct dfx__program {
    struct dfx__program *next;
    const char *name; /* of the kernel file */
    char *options;
    cl_program program;
} dfx__program;

typedef struct {
    dfx_device device;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue, timed; /* timed: NULL until times are taken */
    cl_command_queue transfer;     /* cl_fetch.c; NULL before the first fetch */
    cl_event fetched;              /* of the last one; NULL before */
    dfx__program *programs;
    double build_seconds; /* spent compiling so far */
    enum { DFX__UNTRIED, DFX__ABSENT, DFX__PRESENT } feature[DFX__FEATURES]; /* cl_probe.c */
    int has_parameters; /* CLBlast was given those that are known of the device, or is tuned now */
    int keeps_buffers;  /* DFX_DEBUG=separate: none is given back, so that none is used again */
} dfx__cl_device;

/* A range of a buffer as an OpenCL object; launches share them. */
typedef struct dfx__cl_range {
    struct dfx__cl_range *next;
    size_t offset, bytes;
    cl_mem mem;
} dfx__cl_range;

typedef struct {
    dfx__buffer buffer;
    cl_mem mem;
    dfx__cl_range *ranges;
    int is_host; /* dfx__cl_host_allocate's, mapped at buffer.host */
} dfx__cl_buffer;

/* "device opencl:0: clFinish: CL_OUT_OF_RESOURCES (-5)" and what may help as the thread's error. */
dfx_status dfx__cl_fail(dfx__cl_device *d, cl_int error, const char *what);
const char *dfx__cl_error_name(cl_int error);

#define DFX__CL(d, call, what)                                                                     \
    do {                                                                                           \
        cl_int cl_error_ = (call);                                                                 \
        if (cl_error_ != CL_SUCCESS)                                                               \
            return dfx__cl_fail(d, cl_error_, what);                                               \
    } while (0)

/* What is known of a device; `usable` says whether it can run the library's kernels. Errors: of
 * dfx__cl_limit. */
dfx_status dfx__cl_describe(dfx_device_info *info, cl_platform_id platform, cl_device_id id, int n);

/* Lowers it to DFX_DEVICE_LIMITS, where that is set. Errors: DFX_ERROR_ARGUMENT (it is malformed).
 */
dfx_status dfx__cl_limit(dfx_device_info *info);

/* Whether the extension stands in the device's list. */
int dfx__cl_has_extension(cl_device_id id, const char *name);

/* The n-th device over all platforms, -1: the best. */
dfx_status dfx__cl_find(cl_platform_id *platform, cl_device_id *id, int *number, int n);

/* The program of a kernel file with options: from RAM, from disk, else compiled. */
dfx_status dfx__cl_program(cl_program *out, dfx__cl_device *d, const char *name,
                           const char *options);
void dfx__cl_programs_free(dfx__cl_device *d);

/* Binaries on disk (cl_cache.c). load: whether there is a whole one of that key, to be freed. */
typedef struct {
    unsigned char *data;
    size_t bytes;
} dfx__cl_binary;
int dfx__cl_cache_load(dfx__cl_binary *out, const char *key);
void dfx__cl_cache_store(const char *key, const dfx__cl_binary *binary);

/* Launches (cl_launch.c), and CLBlast's (cl_clblast.c, or a stub where it is not built in). */
dfx_status dfx__cl_prepare(dfx__prepared **out, dfx_device *d, const dfx__launch *l);
void dfx__cl_discard(dfx__prepared *p);
dfx_status dfx__cl_enqueue(dfx__prepared *p);
dfx_status dfx__cl_time(dfx__device_time *out, dfx__prepared *p);
dfx_status dfx__cl_gemm(dfx__cl_device *d, const dfx__launch *l);
int dfx__cl_has_gemm(void);
dfx_status dfx__cl_set_parameters(dfx_device *d, const char *kernel,
                                  struct json_object *parameters);

/* Copies from host memory beside the work (cl_fetch.c). */
dfx_status dfx__cl_host_allocate(dfx__buffer **out, dfx_device *d, size_t bytes);
void dfx__cl_host_release(dfx__cl_buffer *b);
dfx_status dfx__cl_fetch(dfx__buffer *to, const dfx__buffer *from, size_t bytes);
dfx_status dfx__cl_await_fetches(dfx_device *d);
void dfx__cl_fetch_end(dfx__cl_device *d);

/* What the device's compiler can do beyond OpenCL C (cl_probe.c). */
int dfx__cl_has(dfx_device *d, dfx__feature feature);

#endif
