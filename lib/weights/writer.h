/* writer.h - safetensors files, written tensor by tensor. */
#ifndef DFX_WEIGHTS_WRITER_H
#define DFX_WEIGHTS_WRITER_H

#include "core/json.h"
#include "dfxcl/tensors.h"

/* Where a part of a tensor's elements lies. */
typedef struct {
    const void *data; /* need not be aligned */
    size_t bytes;
    int is_mapped; /* pages of a file, given back once they are written */
} dfx__written_part;

/* A tensor to be written. */
typedef struct {
    const char *name;
    dfx_spec spec;             /* as it is written */
    dfx_dtype from;            /* of the parts */
    dfx__written_part part[3]; /* its rows, one part after the other */
    int parts;
    int transposed; /* the one part is [I, O] of spec [O, I] */
} dfx__written;

/* Writes the tensors, which it sorts as the format's own library does, and the texts of `metadata`
 * (NULL: none). The file appears whole or not at all, and no more than one tensor is in memory.
 * Errors: DFX_ERROR_FILE, DFX_ERROR_MEMORY. */
dfx_status dfx__safetensors_write(const char *path, dfx__written *tensor, int count,
                                  json_object *metadata);

/* Bytes of a tensor as it is written. */
size_t dfx__written_bytes(const dfx__written *t);

#endif
