/* cl_launch.c - kernels bound to their arguments once and enqueued many times. */
#include "device/cl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct dfx__prepared {
    dfx__cl_device *device;
    dfx__launch launch;
    cl_kernel kernel; /* NULL for a GEMM */
};

/* The OpenCL object of a range of a buffer: the buffer itself, or a sub-buffer that all launches on
 * that range share. */
static dfx_status range_object(cl_mem *out, const dfx__place *p)
{
    dfx__cl_buffer *b = (dfx__cl_buffer *)p->buffer;
    *out = b->mem;
    if (p->offset == 0 && p->bytes == b->buffer.bytes)
        return DFX_OK;
    for (dfx__cl_range *r = b->ranges; r; r = r->next)
        if (r->offset == p->offset && r->bytes == p->bytes) {
            *out = r->mem;
            return DFX_OK;
        }
    dfx__cl_range *r = calloc(1, sizeof *r);
    if (!r)
        return dfx__no_memory();
    cl_buffer_region region = { p->offset, p->bytes };
    cl_int error;
    r->mem =
        clCreateSubBuffer(b->mem, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    if (error != CL_SUCCESS) {
        free(r);
        return dfx__cl_fail((dfx__cl_device *)b->buffer.device, error, "clCreateSubBuffer");
    }
    r->offset = p->offset;
    r->bytes = p->bytes;
    r->next = b->ranges;
    b->ranges = r;
    *out = r->mem;
    return DFX_OK;
}

static dfx_status bind(const dfx__prepared *p, cl_uint index, const dfx__arg *a)
{
    cl_mem mem = NULL;
    switch (a->kind) {
    case DFX__ARG_SCALAR:
        DFX__CL(p->device, clSetKernelArg(p->kernel, index, sizeof a->scalar, &a->scalar),
                "clSetKernelArg");
        break;
    case DFX__ARG_PLACE:
        if (a->place.buffer)
            DFX__TRY(range_object(&mem, &a->place));
        DFX__CL(p->device, clSetKernelArg(p->kernel, index, sizeof mem, &mem), "clSetKernelArg");
        break;
    }
    return DFX_OK;
}

/* What a kernel asks of its group against what the device has. What the driver gives this kernel
 * (CL_KERNEL_WORK_GROUP_SIZE) is no guide: the size is part of the kernel, so a driver that cannot
 * have it fails to build it, and rusticl 22.3 says 32 of all kernels and runs them. */
static dfx_status check_group(const dfx__prepared *p)
{
    const dfx_device_info *info = &p->device->device.info;
    const size_t *local = p->launch.kernel.local;
    size_t side[8] = { 0 }, items = 1;
    cl_ulong memory = 0;
    int fits = 1;
    DFX__CL(p->device,
            clGetKernelWorkGroupInfo(p->kernel, p->device->id, CL_KERNEL_LOCAL_MEM_SIZE,
                                     sizeof memory, &memory, NULL),
            "clGetKernelWorkGroupInfo");
    DFX__CL(p->device,
            clGetDeviceInfo(p->device->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof side, side, NULL),
            "clGetDeviceInfo");
    for (int i = 0; i < p->launch.kernel.dims; i++) {
        items *= local[i];
        fits &= local[i] <= side[i];
    }
    if (!fits || items > info->max_group)
        return dfx__fail(DFX_ERROR_DEVICE,
                         "its groups of %zu work-items are larger than device %s "
                         "has",
                         items, info->id);
    if (memory > info->local_memory)
        return dfx__fail(DFX_ERROR_DEVICE,
                         "it needs %" PRIu64 " bytes of local memory and device %s has %" PRIu64,
                         (uint64_t)memory, info->id, info->local_memory);
    return DFX_OK;
}

static dfx_status prepare_kernel(dfx__prepared *p)
{
    cl_program program;
    cl_int error;
    DFX__TRY(
        dfx__cl_program(&program, p->device, p->launch.kernel.program, p->launch.kernel.options));
    p->kernel = clCreateKernel(program, p->launch.kernel.name, &error);
    DFX__CL(p->device, error, p->launch.kernel.name);
    dfx_status fits = check_group(p);
    if (fits != DFX_OK)
        return dfx__fail_in(fits, "kernel %s", p->launch.kernel.name);
    for (int i = 0; i < p->launch.kernel.args; i++) {
        dfx_status status = bind(p, (cl_uint)i, &p->launch.kernel.arg[i]);
        if (status != DFX_OK)
            return dfx__fail_in(status, "kernel %s, argument %d", p->launch.kernel.name, i);
    }
    for (int i = 0; i < p->launch.kernel.dims; i++) {
        size_t local = p->launch.kernel.local[i];
        p->launch.kernel.global[i] = (p->launch.kernel.global[i] + local - 1) / local * local;
    }
    return DFX_OK;
}

dfx_status dfx__cl_prepare(dfx__prepared **out, dfx_device *d, const dfx__launch *l)
{
    *out = NULL;
    if (l->kind == DFX__LAUNCH_HOST)
        return dfx__fail(DFX_ERROR_DEVICE, "an OpenCL device runs no host functions");
    dfx__prepared *p = calloc(1, sizeof *p);
    if (!p)
        return dfx__no_memory();
    p->device = (dfx__cl_device *)d;
    p->launch = *l;
    dfx_status status = l->kind == DFX__LAUNCH_KERNEL ? prepare_kernel(p) : DFX_OK;
    if (status != DFX_OK) {
        dfx__cl_discard(p);
        return status;
    }
    *out = p;
    return DFX_OK;
}

void dfx__cl_discard(dfx__prepared *p)
{
    if (p->kernel)
        clReleaseKernel(p->kernel);
    free(p);
}

static dfx_status enqueue_kernel(dfx__prepared *p, cl_command_queue queue, cl_event *event)
{
    cl_int error =
        clEnqueueNDRangeKernel(queue, p->kernel, (cl_uint)p->launch.kernel.dims, NULL,
                               p->launch.kernel.global, p->launch.kernel.local, 0, NULL, event);
    DFX__CL(p->device, error, p->launch.kernel.name);
    return DFX_OK;
}

dfx_status dfx__cl_enqueue(dfx__prepared *p)
{
    if (p->launch.kind == DFX__LAUNCH_GEMM)
        return dfx__cl_gemm(p->device, &p->launch);
    return enqueue_kernel(p, p->device->queue, NULL);
}

/* Times are taken on a queue of their own: some drivers are slower on one that takes them. */
static dfx_status start_timed_queue(dfx__cl_device *d)
{
    cl_int error;
    if (d->timed)
        return DFX_OK;
    d->timed = clCreateCommandQueue(d->context, d->id, CL_QUEUE_PROFILING_ENABLE, &error);
    DFX__CL(d, error, "clCreateCommandQueue");
    return DFX_OK;
}

static dfx_status read_time(dfx__device_time *out, dfx__cl_device *d, cl_event event)
{
    cl_ulong queued, start, end;
    DFX__CL(d, clWaitForEvents(1, &event), "clWaitForEvents");
    DFX__CL(
        d,
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED, sizeof queued, &queued, NULL),
        "clGetEventProfilingInfo");
    DFX__CL(d,
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL),
            "clGetEventProfilingInfo");
    DFX__CL(d, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL),
            "clGetEventProfilingInfo");
    *out = (dfx__device_time){ start > queued ? 1e-9 * (double)(start - queued) : 0,
                               1e-9 * (double)(end - start) };
    return DFX_OK;
}

dfx_status dfx__cl_time(dfx__device_time *out, dfx__prepared *p)
{
    cl_event event;
    *out = (dfx__device_time){ 0, 0 };
    if (p->launch.kind == DFX__LAUNCH_GEMM) /* CLBlast's event is of its last kernel alone */
        return dfx__cl_gemm(p->device, &p->launch);
    DFX__TRY(start_timed_queue(p->device));
    DFX__CL(p->device, clFinish(p->device->queue), "clFinish");
    DFX__TRY(enqueue_kernel(p, p->device->timed, &event));
    dfx_status status = read_time(out, p->device, event);
    clReleaseEvent(event);
    return status;
}
