/* cl.c - an OpenCL device: context, queue, buffers. */
#include "device/cl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dfx__cl_error_name(cl_int error)
{
    static const struct {
        cl_int error;
        const char *name;
    } names[] = {
        { CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE" },
        { CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE" },
        { CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE" },
        { CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES" },
        { CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY" },
        { CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE" },
        { CL_MISALIGNED_SUB_BUFFER_OFFSET, "CL_MISALIGNED_SUB_BUFFER_OFFSET" },
        { CL_INVALID_VALUE, "CL_INVALID_VALUE" },
        { CL_INVALID_BINARY, "CL_INVALID_BINARY" },
        { CL_INVALID_BUILD_OPTIONS, "CL_INVALID_BUILD_OPTIONS" },
        { CL_INVALID_KERNEL_NAME, "CL_INVALID_KERNEL_NAME" },
        { CL_INVALID_CONTEXT, "CL_INVALID_CONTEXT" },
        { CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE" },
        { CL_INVALID_ARG_INDEX, "CL_INVALID_ARG_INDEX" },
        { CL_INVALID_ARG_VALUE, "CL_INVALID_ARG_VALUE" },
        { CL_INVALID_ARG_SIZE, "CL_INVALID_ARG_SIZE" },
        { CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS" },
        { CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE" },
        { CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE" },
        { CL_INVALID_GLOBAL_WORK_SIZE, "CL_INVALID_GLOBAL_WORK_SIZE" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == error)
            return names[i].name;
    return "OpenCL error";
}

/* After these nothing works on a device any more: it was taken away, or its driver reset it. */
static int is_loss(cl_int error)
{
    enum { NVIDIA_ILLEGAL_ACCESS = -9999 };
    return error == CL_DEVICE_NOT_AVAILABLE || error == CL_INVALID_COMMAND_QUEUE ||
           error == CL_INVALID_CONTEXT || error == NVIDIA_ILLEGAL_ACCESS;
}

static int is_want_of_memory(cl_int error)
{
    return error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY ||
           error == CL_OUT_OF_RESOURCES || error == CL_INVALID_BUFFER_SIZE;
}

dfx_status dfx__cl_fail(dfx__cl_device *d, cl_int error, const char *what)
{
    const dfx_device_info *info = &d->device.info;
    const char *name = dfx__cl_error_name(error);
    if (is_want_of_memory(error))
        return dfx__fail(DFX_ERROR_MEMORY,
                         "device %s: %s: %s (%d); a smaller picture, a smaller batch, --dtype f16 "
                         "or --device cpu may do",
                         info->id, what, name, error);
    if (!is_loss(error))
        return dfx__fail(DFX_ERROR_DEVICE, "device %s: %s: %s (%d)", info->id, what, name, error);
    d->device.is_lost = 1;
    return dfx__fail(DFX_ERROR_DEVICE,
                     "device %s (%s) does not answer any more: %s: %s (%d); run it again, or with "
                     "--device cpu",
                     info->id, info->name, what, name, error);
}

static dfx_status cl_allocate(dfx__buffer **out, dfx_device *device, size_t bytes)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    dfx__cl_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return dfx__no_memory();
    cl_int error;
    b->mem = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    if (error != CL_SUCCESS) {
        free(b);
        if (!is_want_of_memory(error))
            return dfx__cl_fail(d, error, "clCreateBuffer");
        char size[DFX_BYTES_TEXT], used[DFX_BYTES_TEXT];
        return dfx__fail(DFX_ERROR_MEMORY,
                         "device %s: clCreateBuffer of %s: %s (%d); %s are in use", device->info.id,
                         dfx_bytes_text(size, bytes), dfx__cl_error_name(error), error,
                         dfx_bytes_text(used, device->used));
    }
    *out = &b->buffer;
    return DFX_OK;
}

static void cl_release(dfx__buffer *buffer)
{
    dfx__cl_buffer *b = (dfx__cl_buffer *)buffer;
    for (dfx__cl_range *r = b->ranges, *next; r; r = next) {
        next = r->next;
        clReleaseMemObject(r->mem);
        free(r);
    }
    if (b->is_host)
        dfx__cl_host_release(b);
    if (!((dfx__cl_device *)buffer->device)->keeps_buffers)
        clReleaseMemObject(b->mem);
    free(b);
}

static dfx_status cl_write(dfx__buffer *b, size_t offset, const void *from, size_t bytes)
{
    dfx__cl_device *d = (dfx__cl_device *)b->device;
    DFX__CL(d,
            clEnqueueWriteBuffer(d->queue, ((dfx__cl_buffer *)b)->mem, CL_TRUE, offset, bytes, from,
                                 0, NULL, NULL),
            "clEnqueueWriteBuffer");
    return DFX_OK;
}

static dfx_status cl_read(dfx__buffer *b, size_t offset, void *to, size_t bytes)
{
    dfx__cl_device *d = (dfx__cl_device *)b->device;
    DFX__CL(d,
            clEnqueueReadBuffer(d->queue, ((dfx__cl_buffer *)b)->mem, CL_TRUE, offset, bytes, to, 0,
                                NULL, NULL),
            "clEnqueueReadBuffer");
    return DFX_OK;
}

static dfx_status cl_map(void **out, dfx__buffer *b)
{
    dfx__cl_device *d = (dfx__cl_device *)b->device;
    cl_int error;
    *out = clEnqueueMapBuffer(d->queue, ((dfx__cl_buffer *)b)->mem, CL_TRUE,
                              CL_MAP_WRITE_INVALIDATE_REGION, 0, b->bytes, 0, NULL, NULL, &error);
    DFX__CL(d, error, "clEnqueueMapBuffer");
    return DFX_OK;
}

static dfx_status cl_unmap(dfx__buffer *b, void *mapped)
{
    dfx__cl_device *d = (dfx__cl_device *)b->device;
    DFX__CL(d, clEnqueueUnmapMemObject(d->queue, ((dfx__cl_buffer *)b)->mem, mapped, 0, NULL, NULL),
            "clEnqueueUnmapMemObject");
    return DFX_OK;
}

static dfx_status cl_finish(dfx_device *device)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    DFX__CL(d, clFinish(d->queue), "clFinish");
    if (d->transfer) /* after an interrupt a fetch may be under way */
        DFX__CL(d, clFinish(d->transfer), "clFinish");
    return DFX_OK;
}

static void cl_close(dfx_device *device)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    dfx__cl_programs_free(d);
    dfx__cl_fetch_end(d);
    if (d->queue)
        clReleaseCommandQueue(d->queue);
    if (d->timed)
        clReleaseCommandQueue(d->timed);
    if (d->context)
        clReleaseContext(d->context);
    free(d);
}

static const dfx__device_class cl_class = {
    cl_allocate,
    cl_release,
    cl_write,
    cl_read,
    cl_map,
    cl_unmap,
    dfx__cl_host_allocate,
    dfx__cl_fetch,
    dfx__cl_await_fetches,
    dfx__cl_prepare,
    dfx__cl_discard,
    dfx__cl_enqueue,
    dfx__cl_time,
    cl_finish,
    dfx__cl_has,
    dfx__cl_set_parameters,
    cl_close,
};

static dfx_status start(dfx__cl_device *d)
{
    cl_int error;
    d->context = clCreateContext(NULL, 1, &d->id, NULL, NULL, &error);
    DFX__CL(d, error, "clCreateContext");
    d->queue = clCreateCommandQueue(d->context, d->id, 0, &error);
    DFX__CL(d, error, "clCreateCommandQueue");
    return DFX_OK;
}

dfx_status dfx__cl_open(dfx_device **out, int n)
{
    *out = NULL;
    cl_platform_id platform;
    cl_device_id id;
    DFX__TRY(dfx__cl_find(&platform, &id, &n, n));
    dfx__cl_device *d = calloc(1, sizeof *d);
    if (!d)
        return dfx__no_memory();
    d->device.class = &cl_class;
    d->platform = platform;
    d->id = id;
    dfx_status status = dfx__cl_describe(&d->device.info, platform, id, n);
    cl_uint align_bits = 0;
    clGetDeviceInfo(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align_bits, &align_bits, NULL);
    d->device.alignment = align_bits / 8 > 128 ? align_bits / 8 : 128;
    d->device.has_gemm = dfx__cl_has_gemm();
    d->keeps_buffers = dfx__debug("separate");
    cl_uint width = 1;
    clGetDeviceInfo(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    d->device.vector_width = d->device.info.is_cpu ? (int)width : 1;
    if (status == DFX_OK && !d->device.info.usable)
        status = dfx__fail(DFX_ERROR_DEVICE, "device %s (%s) cannot be used: %s", d->device.info.id,
                           d->device.info.name, d->device.info.why);
    else if (status == DFX_OK)
        status = start(d);
    if (status != DFX_OK) {
        cl_close(&d->device);
        return status;
    }
    *out = &d->device;
    return DFX_OK;
}
