/* device.h - bytes and programs, no shapes: what every device can do. */
#ifndef DFX_DEVICE_DEVICE_H
#define DFX_DEVICE_DEVICE_H

#include "dfxcl/device.h"

struct json_object;

/* Memory on a device. Each class of device begins its own struct with this one. */
typedef struct dfx__buffer {
    dfx_device *device;
    size_t bytes;
    void *host;      /* where it lies, if the host can touch it directly; else NULL */
    int is_imagined; /* made in a rehearsal: it counts, and there is no memory */
} dfx__buffer;

/* A range of a buffer. */
typedef struct {
    dfx__buffer *buffer;
    size_t offset, bytes;
} dfx__place;

/* An argument of a kernel: a place or a scalar of 4 bytes. */
typedef struct {
    enum { DFX__ARG_PLACE, DFX__ARG_SCALAR } kind;
    dfx__place place; /* without a buffer: a NULL pointer */
    union {
        int32_t i;
        float f;
    } scalar;
} dfx__arg;

enum { DFX__MAX_ARGS = 32, DFX__MAX_OPTIONS = 256 };

/* Work-items of a group and bytes of its local memory that a device must have. */
enum { DFX__LEAST_GROUP = 16, DFX__LEAST_LOCAL = 16 << 10 };

/* Matrices of f32 in a place, as numbers of elements: where the first begins, from a row to the
 * next, and from a matrix to the next. */
typedef struct {
    dfx__place place;
    size_t at, line, next;
} dfx__matrices;

/* `count` products c [m, n] = scale a [m, k] b, with b [k, n] or transposed [n, k]. */
typedef struct {
    size_t count, m, n, k;
    int transpose_b;
    float scale;
    dfx__matrices a, b, c;
} dfx__products;

/* One piece of work as an operator describes it; a device class takes the kinds that it can do. */
typedef struct {
    enum { DFX__LAUNCH_KERNEL, DFX__LAUNCH_GEMM, DFX__LAUNCH_HOST } kind;
    union {
        struct {
            const char *program;            /* cl/PROGRAM.cl */
            const char *name;               /* of the kernel */
            char options[DFX__MAX_OPTIONS]; /* "-DDTYPE=0 ..." */
            int args, dims;
            dfx__arg arg[DFX__MAX_ARGS];
            size_t global[3], local[3]; /* global sizes are rounded up to whole groups */
        } kernel;
        dfx__products gemm;
        struct {
            void (*run)(void *data);
            void *data;
        } host;
    };
} dfx__launch;

/* A launch that is compiled and bound; opaque but to its class. */
typedef struct dfx__prepared dfx__prepared;

/* What some devices can do beyond OpenCL C. */
typedef enum {
    DFX__PAIRS,        /* -DPAIRS: bf16 by x86's dot product */
    DFX__TENSOR_CORES, /* cl/mma.cl: products of f16 and bf16 on NVIDIA's tensor cores */
    DFX__FEATURES
} dfx__feature;

/* Seconds by a device's own clock, 0 where it has none: from enqueueing until the work began, and
 * from then until its end. */
typedef struct {
    double waited, ran;
} dfx__device_time;

/* What a class of devices does. Work is queued in order; read and finish wait for it. */
typedef struct {
    dfx_status (*allocate)(dfx__buffer **out, dfx_device *d, size_t bytes);
    void (*release)(dfx__buffer *b);
    dfx_status (*write)(dfx__buffer *b, size_t offset, const void *from, size_t bytes);
    dfx_status (*read)(dfx__buffer *b, size_t offset, void *to, size_t bytes);
    /* All of a buffer as host memory to be filled, and the end of that. */
    dfx_status (*map)(void **out, dfx__buffer *b);
    dfx_status (*unmap)(dfx__buffer *b, void *mapped);
    /* Memory of the host from which the device copies fast, which counts as none of its buffers
     * and goes by release; and a copy of it to the beginning of a buffer, beside the work: it
     * begins when all that is queued now is done. What is queued after await_fetches waits for
     * those before. NULL: the device has the host's memory. */
    dfx_status (*host_allocate)(dfx__buffer **out, dfx_device *d, size_t bytes);
    dfx_status (*fetch)(dfx__buffer *to, const dfx__buffer *from, size_t bytes);
    dfx_status (*await_fetches)(dfx_device *d);
    dfx_status (*prepare)(dfx__prepared **out, dfx_device *d, const dfx__launch *l);
    void (*discard)(dfx__prepared *p);
    dfx_status (*enqueue)(dfx__prepared *p);
    /* The same and waits for it. */
    dfx_status (*time)(dfx__device_time *out, dfx__prepared *p);
    dfx_status (*finish)(dfx_device *d);
    /* Whether kernels that need a feature compile and are right; NULL: none do. */
    int (*has)(dfx_device *d, dfx__feature feature);
    /* CLBlast's kernel has these parameters from now on: all that it has, as whole numbers by name.
     * kernel NULL: nothing is set, and what is known of the device is not taken either. NULL: there
     * is no CLBlast. Errors: DFX_ERROR_DEVICE (it does not know the kernel or them). */
    dfx_status (*set_parameters)(dfx_device *d, const char *kernel, struct json_object *parameters);
    void (*close)(dfx_device *d);
} dfx__device_class;

/* A device. Each class begins its own struct with this one. */
struct dfx_device {
    const dfx__device_class *class;
    dfx_device_info info;
    size_t alignment;    /* of a place's offset */
    int is_native;       /* takes DFX__LAUNCH_HOST and nothing else */
    int has_gemm;        /* takes DFX__LAUNCH_GEMM */
    int vector_width;    /* floats of a vector register that a work-item has for itself; GPUs: 1 */
    uint64_t used, peak; /* bytes in buffers */
    uint64_t limit;      /* of used */
    int rehearses;       /* see dfx__rehearse */
    int ran_out;         /* its driver gave less memory than the limit */
    int is_lost;         /* it failed in a way after which nothing works on it */
    struct dfx__kept *choices, *tuning; /* choices.c, tuning.c; NULL before they are needed */
    struct json_object *shipped;        /* tuning.c; NULL before it is looked for */
    struct dfx__faults *faults;         /* faults.c; NULL before they are needed */
};

/* The classes, to find and open their devices. opencl: n as numbered by the listing, -1 for the
 * best. */
dfx_status dfx__cpu_open(dfx_device **out);
void dfx__cpu_describe(dfx_device_info *info);
dfx_status dfx__cl_open(dfx_device **out, int n);
/* Appends OpenCL devices to an array that is realloc'ed; none is no error. */
dfx_status dfx__cl_list(dfx_device_info **list, int *count);

/* Bytes that buffers may still take. */
uint64_t dfx__memory_left(const dfx_device *d);

/* From now on buffers are counted and not made, so that what work will need is known before it
 * begins; those that are made until the end of it are to be freed before. The end returns the most
 * bytes that there were meanwhile, and all figures of the device are what they were. One rehearsal
 * may be tried within another. */
typedef struct {
    uint64_t used, peak;
    int rehearses;
} dfx__rehearsal;
dfx__rehearsal dfx__rehearse(dfx_device *d);
uint64_t dfx__rehearse_end(dfx_device *d, const dfx__rehearsal *before);

/* Whether the device can have a buffer of that size. */
dfx_status dfx__buffer_check(const dfx_device *d, size_t bytes);

/* Buffers with accounting: a size over the device's limits is an error that says both. */
dfx_status dfx__buffer_new(dfx__buffer **out, dfx_device *d, size_t bytes);
void dfx__buffer_free(dfx__buffer *b);

/* Whether the device has a feature; found out once, by trying. */
int dfx__has(dfx_device *d, dfx__feature feature);

/* Rounds up to the device's alignment. */
size_t dfx__align(const dfx_device *d, size_t bytes);

#endif
