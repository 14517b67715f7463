/* cl_program.c - kernel files to programs: from RAM, from the disk cache, else compiled.
 *
 * The key of a cached program is everything that its binary depends on: the device, its driver, the
 * options and the whole source. */
#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "device/cl.h"
#include "device/kernels.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char base_options[] = "-cl-std=CL1.2 -cl-mad-enable";

/* A kernel file's text: embedded, or read from DFX_KERNELS; to be freed. */
static dfx_status kernel_text(char **out, const char *name)
{
    const char *folder = getenv("DFX_KERNELS");
    *out = NULL;
    if (folder && *folder) {
        char path[1024];
        dfx__mapped file;
        snprintf(path, sizeof path, "%s/%s.cl", folder, name);
        DFX__TRY(dfx__map_file(&file, path));
        if ((*out = dfx__alloc(file.bytes + 1, 1)) && file.bytes)
            memcpy(*out, file.data, file.bytes);
        dfx__unmap_file(&file);
        return *out ? DFX_OK : dfx__no_memory();
    }
    for (const dfx__kernel_source *k = dfx__kernel_sources; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return (*out = strdup(k->text)) ? DFX_OK : dfx__no_memory();
    return dfx__fail(DFX_ERROR_DEVICE, "there is no kernel file %s.cl", name);
}

/* Appends n characters of a text that is realloc'ed. */
static dfx_status append(char **text, const char *more, size_t n)
{
    size_t length = *text ? strlen(*text) : 0;
    char *longer = realloc(*text, length + n + 1);
    if (!longer)
        return dfx__no_memory();
    memcpy(longer + length, more, n);
    longer[length + n] = '\0';
    *text = longer;
    return DFX_OK;
}

enum { MOST_INCLUDES = 4 }; /* of files that include each other */

/* Appends a kernel file, and in the place of a line #include "NAME.cl" that file. */
static dfx_status append_file(char **text, const char *name, int depth)
{
    static const char include[] = "#include \"";
    char *file, inner[64];
    DFX__TRY(kernel_text(&file, name));
    dfx_status status = DFX_OK;
    for (const char *line = file; *line && status == DFX_OK;) {
        size_t n = strcspn(line, "\n"), length;
        n += line[n] == '\n';
        const char *from = line + sizeof include - 1;
        if (depth < MOST_INCLUDES && strncmp(line, include, sizeof include - 1) == 0 &&
            (length = strcspn(from, ".\"\n")) < sizeof inner) {
            memcpy(inner, from, length);
            inner[length] = '\0';
            status = append_file(text, inner, depth + 1);
        } else
            status = append(text, line, n);
        line += n;
    }
    free(file);
    return status;
}

/* common.cl and the kernel file. */
static dfx_status program_text(char **out, const char *name)
{
    *out = NULL;
    dfx_status status = append_file(out, "common", 0);
    if (status == DFX_OK)
        status = append_file(out, name, 0);
    if (status != DFX_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

static char *cache_key(const dfx__cl_device *d, const char *options, const char *text)
{
    const dfx_device_info *info = &d->device.info;
    size_t n = strlen(info->name) + strlen(info->platform) + strlen(info->driver) +
               strlen(options) + strlen(base_options) + strlen(text) + 8;
    char *key = dfx__alloc(n, 1);
    if (key)
        snprintf(key, n, "%s\n%s\n%s\n%s %s\n%s", info->name, info->platform, info->driver,
                 base_options, options, text);
    return key;
}

/* The first lines of a build log, for the message of an error. */
static dfx_status build_failure(const dfx__cl_device *d, cl_program program, cl_int error,
                                const char *name, const char *options)
{
    char *log = NULL;
    size_t bytes = 0;
    clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    if (bytes && (log = dfx__alloc(bytes + 1, 1)))
        clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    const char *line = log ? strstr(log, "error") : NULL;
    dfx__fail(DFX_ERROR_DEVICE, "%s cannot compile %s.cl (%s): %s (%d): %.400s", d->device.info.id,
              name, options, dfx__cl_error_name(error), error,
              line  ? line
              : log ? log
                    : "");
    free(log);
    return DFX_ERROR_DEVICE;
}

/* A thread that says a word when compiling takes long. */
struct watch {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int finished;
    const char *device;
    double patience; /* seconds */
};

static void *watch_thread(void *data)
{
    struct watch *w = data;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)w->patience;
    until.tv_nsec += (long)(1e9 * (w->patience - (double)(time_t)w->patience));
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->lock);
    int timed_out = 0;
    while (!w->finished && !timed_out)
        timed_out = pthread_cond_timedwait(&w->done, &w->lock, &until) != 0;
    if (!w->finished)
        dfx__log("compiling kernels for %s; the result is kept for the next run", w->device);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* clBuildProgram, with a word once the device's builds have taken two seconds together. */
static cl_int build(dfx__cl_device *d, cl_program program, const char *options)
{
    struct watch w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, d->device.info.name,
                       2.0 - d->build_seconds };
    pthread_t thread;
    int watched = w.patience > 0 && pthread_create(&thread, NULL, watch_thread, &w) == 0;
    double start = dfx__seconds();
    cl_int error = clBuildProgram(program, 1, &d->id, options, NULL, NULL);
    d->build_seconds += dfx__seconds() - start;
    if (watched) {
        pthread_mutex_lock(&w.lock);
        w.finished = 1;
        pthread_cond_signal(&w.done);
        pthread_mutex_unlock(&w.lock);
        pthread_join(thread, NULL);
    }
    return error;
}

/* A program from a cached binary; NULL when there is none or the driver does not take it. */
static cl_program from_cache(dfx__cl_device *d, const char *key, const char *options)
{
    dfx__cl_binary binary;
    cl_int error, status = CL_SUCCESS;
    if (!dfx__cl_cache_load(&binary, key))
        return NULL;
    const unsigned char *data = binary.data;
    cl_program program =
        clCreateProgramWithBinary(d->context, 1, &d->id, &binary.bytes, &data, &status, &error);
    free(binary.data);
    if (error == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(program, 1, &d->id, options, NULL, NULL) == CL_SUCCESS)
        return program;
    if (program)
        clReleaseProgram(program);
    return NULL;
}

static void to_cache(cl_program program, const char *key)
{
    dfx__cl_binary binary = { NULL, 0 };
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof binary.bytes, &binary.bytes,
                         NULL) != CL_SUCCESS ||
        binary.bytes == 0 || !(binary.data = dfx__alloc(binary.bytes, 1)))
        return;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary.data, &binary.data, NULL) ==
        CL_SUCCESS)
        dfx__cl_cache_store(key, &binary);
    free(binary.data);
}

static dfx_status compile(cl_program *out, dfx__cl_device *d, const char *name, const char *text,
                          const char *options)
{
    cl_int error;
    cl_program program = clCreateProgramWithSource(d->context, 1, &text, NULL, &error);
    DFX__CL(d, error, "clCreateProgramWithSource");
    if ((error = build(d, program, options)) != CL_SUCCESS) {
        dfx_status status = error == CL_DEVICE_NOT_AVAILABLE
                                ? dfx__cl_fail(d, error, "clBuildProgram")
                                : build_failure(d, program, error, name, options);
        clReleaseProgram(program);
        return status;
    }
    *out = program;
    return DFX_OK;
}

static dfx_status load(cl_program *out, dfx__cl_device *d, const char *name, const char *options)
{
    char all[sizeof base_options + DFX__MAX_OPTIONS + 1], *text = NULL, *key = NULL;
    snprintf(all, sizeof all, "%s %s", base_options, options);
    dfx_status status = program_text(&text, name);
    if (status == DFX_OK && !(key = cache_key(d, options, text)))
        status = dfx__no_memory();
    if (status == DFX_OK && !(*out = from_cache(d, key, all))) {
        status = compile(out, d, name, text, all);
        if (status == DFX_OK)
            to_cache(*out, key);
    }
    free(text);
    free(key);
    return status;
}

dfx_status dfx__cl_program(cl_program *out, dfx__cl_device *d, const char *name,
                           const char *options)
{
    for (dfx__program *p = d->programs; p; p = p->next)
        if (strcmp(p->name, name) == 0 && strcmp(p->options, options) == 0) {
            *out = p->program;
            return DFX_OK;
        }
    dfx__program *p = calloc(1, sizeof *p);
    if (!p || !(p->options = strdup(options))) {
        free(p);
        return dfx__no_memory();
    }
    dfx_status status = load(&p->program, d, name, options);
    if (status != DFX_OK) {
        free(p->options);
        free(p);
        return status;
    }
    p->name = name; /* a literal of the operator */
    p->next = d->programs;
    d->programs = p;
    *out = p->program;
    return DFX_OK;
}

void dfx__cl_programs_free(dfx__cl_device *d)
{
    for (dfx__program *p = d->programs, *next; p; p = next) {
        next = p->next;
        clReleaseProgram(p->program);
        free(p->options);
        free(p);
    }
}
