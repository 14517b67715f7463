/* break_cl.c - OpenCL that fails, and what is held of it. */
#include "break.h"

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

static cl_int broken(enum break_kind kind, cl_int error)
{
    int is_lost = break_now(BREAK_lost), is_now = break_now(kind);
    return is_lost ? CL_DEVICE_NOT_AVAILABLE : is_now ? error : CL_SUCCESS;
}

/* ---- objects ---- */

/* What is made by CALL, with the error in *result as each of these functions has it. */
#define BREAK_CREATE(type, name, parameters, call)                                                 \
    BREAK_WRAP(type, name, parameters)                                                             \
    {                                                                                              \
        *result = broken(BREAK_create, CL_OUT_OF_HOST_MEMORY);                                     \
        type object = *result == CL_SUCCESS ? __real_##name call : NULL;                           \
        break_held(object != NULL);                                                                \
        return object;                                                                             \
    }

typedef void CL_CALLBACK context_notify(const char *, const void *, size_t, void *);

BREAK_CREATE(cl_context, clCreateContext,
             (const cl_context_properties *properties, cl_uint count, const cl_device_id *id,
              context_notify *notify, void *user, cl_int *result),
             (properties, count, id, notify, user, result))
BREAK_CREATE(cl_command_queue, clCreateCommandQueue,
             (cl_context context, cl_device_id id, cl_command_queue_properties p, cl_int *result),
             (context, id, p, result))
BREAK_CREATE(cl_mem, clCreateBuffer,
             (cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *result),
             (context, flags, bytes, host, result))
BREAK_CREATE(cl_mem, clCreateSubBuffer,
             (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *what,
              cl_int *result),
             (buffer, flags, type, what, result))
BREAK_CREATE(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *result),
             (program, name, result))
BREAK_CREATE(cl_program, clCreateProgramWithSource,
             (cl_context context, cl_uint count, const char **text, const size_t *bytes,
              cl_int *result),
             (context, count, text, bytes, result))
BREAK_CREATE(cl_program, clCreateProgramWithBinary,
             (cl_context context, cl_uint count, const cl_device_id *id, const size_t *bytes,
              const unsigned char **data, cl_int *status, cl_int *result),
             (context, count, id, bytes, data, status, result))

#define BREAK_RELEASE(name, type)                                                                  \
    BREAK_WRAP(cl_int, name, (type object))                                                        \
    {                                                                                              \
        break_held(-1);                                                                            \
        return __real_##name(object);                                                              \
    }

BREAK_RELEASE(clReleaseContext, cl_context)
BREAK_RELEASE(clReleaseCommandQueue, cl_command_queue)
BREAK_RELEASE(clReleaseMemObject, cl_mem)
BREAK_RELEASE(clReleaseKernel, cl_kernel)
BREAK_RELEASE(clReleaseProgram, cl_program)
BREAK_RELEASE(clReleaseEvent, cl_event)

typedef void CL_CALLBACK program_notify(cl_program, void *);

BREAK_WRAP(cl_int, clBuildProgram,
           (cl_program program, cl_uint count, const cl_device_id *id, const char *options,
            program_notify *notify, void *user))
{
    cl_int error = broken(BREAK_build, CL_BUILD_PROGRAM_FAILURE);
    return error ? error : __real_clBuildProgram(program, count, id, options, notify, user);
}

/* ---- queues ---- */

/* A function that gives an error alone. */
#define BREAK_CALL(kind, error, name, parameters, call)                                            \
    BREAK_WRAP(cl_int, name, parameters)                                                           \
    {                                                                                              \
        cl_int result = broken(kind, error);                                                       \
        return result ? result : __real_##name call;                                               \
    }

/* The same, which may make an event. */
#define BREAK_EVENT(name, parameters, call)                                                        \
    BREAK_WRAP(cl_int, name, parameters)                                                           \
    {                                                                                              \
        cl_int result = broken(BREAK_enqueue, CL_OUT_OF_RESOURCES);                                \
        if (!result)                                                                               \
            result = __real_##name call;                                                           \
        break_held(event && !result);                                                              \
        return result;                                                                             \
    }

BREAK_EVENT(clEnqueueWriteBuffer,
            (cl_command_queue queue, cl_mem to, cl_bool wait, size_t at, size_t bytes,
             const void *from, cl_uint count, const cl_event *list, cl_event *event),
            (queue, to, wait, at, bytes, from, count, list, event))
BREAK_EVENT(clEnqueueNDRangeKernel,
            (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
             const size_t *global, const size_t *local, cl_uint count, const cl_event *list,
             cl_event *event),
            (queue, kernel, dims, offset, global, local, count, list, event))
BREAK_EVENT(clEnqueueMarkerWithWaitList,
            (cl_command_queue queue, cl_uint count, const cl_event *list, cl_event *event),
            (queue, count, list, event))
BREAK_EVENT(clEnqueueBarrierWithWaitList,
            (cl_command_queue queue, cl_uint count, const cl_event *list, cl_event *event),
            (queue, count, list, event))
BREAK_CALL(BREAK_enqueue, CL_OUT_OF_RESOURCES, clFlush, (cl_command_queue queue), (queue))
BREAK_CALL(BREAK_enqueue, CL_OUT_OF_RESOURCES, clEnqueueReadBuffer,
           (cl_command_queue queue, cl_mem from, cl_bool wait, size_t at, size_t bytes, void *to,
            cl_uint count, const cl_event *list, cl_event *event),
           (queue, from, wait, at, bytes, to, count, list, event))
BREAK_CALL(BREAK_enqueue, CL_OUT_OF_RESOURCES, clFinish, (cl_command_queue queue), (queue))
BREAK_CALL(BREAK_enqueue, CL_OUT_OF_RESOURCES, clWaitForEvents,
           (cl_uint count, const cl_event *list), (count, list))

BREAK_WRAP(void *, clEnqueueMapBuffer,
           (cl_command_queue queue, cl_mem buffer, cl_bool wait, cl_map_flags flags, size_t at,
            size_t bytes, cl_uint count, const cl_event *list, cl_event *event, cl_int *result))
{
    *result = broken(BREAK_enqueue, CL_OUT_OF_RESOURCES);
    void *mapped = *result ? NULL
                           : __real_clEnqueueMapBuffer(queue, buffer, wait, flags, at, bytes, count,
                                                       list, event, result);
    break_held(mapped != NULL);
    return mapped;
}

/* It is done in any case: a driver takes no buffer back that is mapped. */
BREAK_WRAP(cl_int, clEnqueueUnmapMemObject,
           (cl_command_queue queue, cl_mem buffer, void *mapped, cl_uint count,
            const cl_event *list, cl_event *event))
{
    cl_int error = broken(BREAK_enqueue, CL_OUT_OF_RESOURCES);
    cl_int real = __real_clEnqueueUnmapMemObject(queue, buffer, mapped, count, list, event);
    break_held(-1);
    return error ? error : real;
}

/* ---- questions ---- */

BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetPlatformIDs,
           (cl_uint room, cl_platform_id *id, cl_uint *count), (room, id, count))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetDeviceIDs,
           (cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id *id,
            cl_uint *count),
           (platform, type, room, id, count))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetPlatformInfo,
           (cl_platform_id id, cl_platform_info what, size_t room, void *to, size_t *bytes),
           (id, what, room, to, bytes))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetDeviceInfo,
           (cl_device_id id, cl_device_info what, size_t room, void *to, size_t *bytes),
           (id, what, room, to, bytes))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetProgramInfo,
           (cl_program program, cl_program_info what, size_t room, void *to, size_t *bytes),
           (program, what, room, to, bytes))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetProgramBuildInfo,
           (cl_program program, cl_device_id id, cl_program_build_info what, size_t room, void *to,
            size_t *bytes),
           (program, id, what, room, to, bytes))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetEventProfilingInfo,
           (cl_event event, cl_profiling_info what, size_t room, void *to, size_t *bytes),
           (event, what, room, to, bytes))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clSetKernelArg,
           (cl_kernel kernel, cl_uint index, size_t bytes, const void *value),
           (kernel, index, bytes, value))
BREAK_CALL(BREAK_query, CL_OUT_OF_HOST_MEMORY, clGetKernelWorkGroupInfo,
           (cl_kernel kernel, cl_device_id id, cl_kernel_work_group_info what, size_t room,
            void *to, size_t *bytes),
           (kernel, id, what, room, to, bytes))
