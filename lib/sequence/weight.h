/* weight.h - a model's weight: its numbers on the host, and its packed copies on devices. */
#ifndef DFX_SEQUENCE_WEIGHT_H
#define DFX_SEQUENCE_WEIGHT_H

#include "device/device.h"
#include "dfxcl/sequence.h"

/* How a weight [O, I] or [O, I, kh, kw] lies on a device. K = kh kw I, in the order kh, kw, I. */
typedef enum {
    DFX__PLAIN,       /* as in the file */
    DFX__PANELS,      /* [ceil(O / 32)][K][32], zeros after the last output */
    DFX__ROWS,        /* [K][O] */
    DFX__PANELS_PAIRS /* bf16, [ceil(O / 32)][kh kw][ceil(I / 2)][32][2], zeros after the last
                       * input and output */
} dfx__format;

enum { DFX__PANEL = 32 };

/* A copy on a device; sequences that use the same one share it. */
typedef struct dfx__weight_copy {
    struct dfx__weight_copy *next;
    dfx_weight *weight;
    dfx_device *device;
    dfx__format format;
    dfx_dtype dtype;
    dfx__buffer *buffer;
    int users;
} dfx__weight_copy;

struct dfx_weight {
    const char *name;
    const char *file; /* its path, for messages; NULL: none */
    dfx_spec spec;    /* as in the file */
    const void *data; /* lives as long as the weight's set */
    int is_mapped;    /* data is a part of a mapped file */
    dfx__weight_copy *copies;
    int used; /* taken by a block */
};

/* Bytes of a weight in a format and dtype. */
size_t dfx__packed_bytes(const dfx_spec *spec, dfx__format format, dfx_dtype dtype);

/* Packs a weight into `to`, of dfx__packed_bytes. Errors: DFX_ERROR_FORMAT (a number is NaN or
 * infinite), DFX_ERROR_MEMORY. */
dfx_status dfx__pack(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w);

/* The same of one that is not read again soon: the file's memory is released, and an error names
 * the weight. */
dfx_status dfx__pack_once(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w);

/* The copy of that format and dtype on the device, made when there is none; the file's memory is
 * released then. Each call counts one user; the copy goes with its last. */
dfx_status dfx__weight_copy_get(dfx__weight_copy **out, dfx_weight *w, dfx_device *device,
                                dfx__format format, dfx_dtype dtype);
int dfx__weight_copy_exists(const dfx_weight *w, const dfx_device *device, dfx__format format,
                            dfx_dtype dtype);
void dfx__weight_copy_release(dfx__weight_copy *c);

#endif
