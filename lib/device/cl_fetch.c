/* cl_fetch.c - copies from host memory to buffers beside the work, on a queue of their own. */
#include "device/cl.h"

#include <stdlib.h>

/* Memory of the driver, mapped for good: from there most drivers copy without the host's help. */
dfx_status dfx__cl_host_allocate(dfx__buffer **out, dfx_device *device, size_t bytes)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    dfx__cl_buffer *b = calloc(1, sizeof *b);
    cl_int error;
    if (!b)
        return dfx__no_memory();
    b->buffer = (dfx__buffer){ .device = device, .bytes = bytes };
    b->is_host = 1;
    b->mem =
        clCreateBuffer(d->context, CL_MEM_READ_ONLY | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &error);
    if (error == CL_SUCCESS)
        b->buffer.host = clEnqueueMapBuffer(d->queue, b->mem, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                                            0, bytes, 0, NULL, NULL, &error);
    if (error != CL_SUCCESS) {
        if (b->mem)
            clReleaseMemObject(b->mem);
        free(b);
        return dfx__cl_fail(d, error, "host memory for weights");
    }
    *out = &b->buffer;
    return DFX_OK;
}

void dfx__cl_host_release(dfx__cl_buffer *b)
{
    dfx__cl_device *d = (dfx__cl_device *)b->buffer.device;
    if (clEnqueueUnmapMemObject(d->queue, b->mem, b->buffer.host, 0, NULL, NULL) == CL_SUCCESS)
        clFinish(d->queue);
}

static dfx_status start(dfx__cl_device *d)
{
    cl_int error;
    if (d->transfer)
        return DFX_OK;
    d->transfer = clCreateCommandQueue(d->context, d->id, 0, &error);
    DFX__CL(d, error, "clCreateCommandQueue");
    return DFX_OK;
}

dfx_status dfx__cl_fetch(dfx__buffer *to, const dfx__buffer *from, size_t bytes)
{
    dfx__cl_device *d = (dfx__cl_device *)to->device;
    cl_event before, fetched;
    DFX__TRY(start(d));
    DFX__CL(d, clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &before), "clEnqueueMarker");
    clFlush(d->queue);
    cl_int error = clEnqueueWriteBuffer(d->transfer, ((dfx__cl_buffer *)to)->mem, CL_FALSE, 0,
                                        bytes, from->host, 1, &before, &fetched);
    clReleaseEvent(before);
    DFX__CL(d, error, "clEnqueueWriteBuffer");
    clFlush(d->transfer);
    if (d->fetched)
        clReleaseEvent(d->fetched);
    d->fetched = fetched;
    return DFX_OK;
}

dfx_status dfx__cl_await_fetches(dfx_device *device)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    if (d->fetched)
        DFX__CL(d, clEnqueueBarrierWithWaitList(d->queue, 1, &d->fetched, NULL),
                "clEnqueueBarrier");
    return DFX_OK;
}

void dfx__cl_fetch_end(dfx__cl_device *d)
{
    if (d->fetched)
        clReleaseEvent(d->fetched);
    if (d->transfer)
        clReleaseCommandQueue(d->transfer);
}
