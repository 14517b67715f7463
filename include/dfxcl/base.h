/* dfxcl/base.h - status codes, the thread's error message, element types.
 *
 * Ownership, for every function of the library: what comes through an `out` parameter is yours and
 * goes back through dfx_x_free(x), where NULL is allowed. Values belong to their sequence. What you
 * pass in is borrowed. */
#ifndef DFXCL_BASE_H
#define DFXCL_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined __GNUC__
#define DFX_API __attribute__((visibility("default")))
#define DFX__PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define DFX_API
#define DFX__PRINTF(f, a)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a function on an object or a file returns: 0, or why it could not be done. */
typedef enum {
    DFX_OK = 0,
    DFX_ERROR_ARGUMENT = -1,    /* a parameter of the call is wrong */
    DFX_ERROR_MEMORY = -2,      /* no memory, on the host or on the device */
    DFX_ERROR_FILE = -3,        /* a file cannot be opened, read or written */
    DFX_ERROR_FORMAT = -4,      /* a file's content is wrong */
    DFX_ERROR_UNSUPPORTED = -5, /* right, but not something this library does */
    DFX_ERROR_DEVICE = -6,      /* no such device, or its driver failed */
    DFX_ERROR_INTERRUPTED = -7  /* dfx_interrupt was called, or a callback asked to stop */
} dfx_status;

/* The one-line message of this thread's last failure ("" before any): what is wrong, where, and
 * what to do where that is known. Valid until the thread's next failing call. */
DFX_API const char *dfx_error(void);

/* Library version, "0.1.0". */
DFX_API const char *dfx_version(void);

/* Asks a running sequence or pipeline, in whatever thread, to stop at its next kernel; it returns
 * DFX_ERROR_INTERRUPTED. Safe to call from a signal handler. */
DFX_API void dfx_interrupt(void);

/* Where words go that are not errors (an unused tensor, a long compilation): one line, without the
 * newline. The default writes "dfx: LINE" to stderr; NULL restores it. */
typedef void dfx_log_function(void *user, const char *line);
DFX_API void dfx_set_log(dfx_log_function *log, void *user);

/* Element types of tensors. Models run in the first three. */
typedef enum {
    DFX_F32,
    DFX_F16,
    DFX_BF16,
    DFX_F64,
    DFX_I64,
    DFX_I32,
    DFX_I16,
    DFX_I8,
    DFX_U8,
    DFX_BOOL
} dfx_dtype;

DFX_API size_t dfx_dtype_size(dfx_dtype dtype);      /* bytes of one element */
DFX_API const char *dfx_dtype_name(dfx_dtype dtype); /* "f32", "bf16" ... */

/* Reads a name ("f32", "f16", "bf16"; also "fp16", "float32" ...). Returns DFX_ERROR_ARGUMENT for
 * any other. */
DFX_API dfx_status dfx_dtype_parse(dfx_dtype *out, const char *name);

/* Reads a number of bytes: "4096", "800M", "1.5GiB"; K, M, G and T are powers of 1024. Errors:
 * DFX_ERROR_ARGUMENT. */
DFX_API dfx_status dfx_bytes_parse(uint64_t *out, const char *text);

/* "1.5 GiB" into `text`; returns it. */
enum { DFX_BYTES_TEXT = 24 };
DFX_API const char *dfx_bytes_text(char text[DFX_BYTES_TEXT], uint64_t bytes);

enum { DFX_MAX_RANK = 5 };

/* Element type and shape of a tensor or value; the last dimension is contiguous. */
typedef struct {
    dfx_dtype dtype;
    int rank;
    int64_t dim[DFX_MAX_RANK];
} dfx_spec;

#ifdef __cplusplus
}
#endif
#endif
