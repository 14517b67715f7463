/* dfxcl/device.h - the machine's compute devices: OpenCL devices and the native CPU. */
#ifndef DFXCL_DEVICE_H
#define DFXCL_DEVICE_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_device dfx_device;

/* What is known of a device. Sizes are in bytes. */
typedef struct {
    char id[16];        /* "cpu", "opencl:0": what dfx_device_open takes */
    char name[128];     /* the device's own name */
    char platform[128]; /* the OpenCL platform's name and version; "native" for cpu */
    char driver[128];   /* driver version; instruction set for cpu */
    char vendor[128];
    int is_cpu; /* the device computes on CPU cores */
    int is_gpu;
    int units;             /* compute units; cores for cpu */
    uint64_t memory;       /* global memory */
    uint64_t max_buffer;   /* largest single buffer */
    uint64_t local_memory; /* of a work-group */
    size_t max_group;      /* work-items of a work-group */
    int has_f16;           /* half arithmetic (cl_khr_fp16) */
    int usable;            /* 0: `why` says what the device lacks */
    char why[128];
} dfx_device_info;

/* Every device of this machine: OpenCL devices in the order of their platforms, then cpu.
 * *out is an array of *count entries; free it with dfx_device_list_free. Machines without OpenCL
 * have just cpu. */
DFX_API dfx_status dfx_device_list(dfx_device_info **out, int *count);
DFX_API void dfx_device_list_free(dfx_device_info *list);

/* Opens a device by name: "cpu", "opencl" (the best OpenCL device), "opencl:N" as dfx_device_list
 * numbers them, "auto" or NULL: an OpenCL GPU if there is one, else the CPU choice that is faster
 * on this machine. Errors: DFX_ERROR_ARGUMENT (no such name, or DFX_MEMORY_LIMIT is no size),
 * DFX_ERROR_DEVICE (no such device). */
DFX_API dfx_status dfx_device_open(dfx_device **out, const char *name);
DFX_API void dfx_device_free(dfx_device *device);
DFX_API const dfx_device_info *dfx_device_get_info(const dfx_device *device);

/* The most bytes that buffers of the device may take together; no driver enforces such a sum, this
 * library does. At first $DFX_MEMORY_LIMIT ("1.5G"), else the device's memory. 0: all of it. What is
 * allocated already stays. */
DFX_API void dfx_device_set_memory_limit(dfx_device *device, uint64_t bytes);
DFX_API uint64_t dfx_device_memory_limit(const dfx_device *device);

/* Bytes of device memory that are allocated now, and the most there ever were. */
DFX_API uint64_t dfx_device_memory_used(const dfx_device *device);
DFX_API uint64_t dfx_device_memory_peak(const dfx_device *device);

#ifdef __cplusplus
}
#endif
#endif
