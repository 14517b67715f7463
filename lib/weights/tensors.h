/* tensors.h - the set of named tensors that the readers of weight files fill. */
#ifndef DFX_WEIGHTS_TENSORS_H
#define DFX_WEIGHTS_TENSORS_H

#include "core/file.h"
#include "core/memory.h"
#include "dfxcl/tensors.h"

struct dfx_tensors {
    dfx__mapped file; /* what data points into; no bytes for a set that was made here */
    dfx__pool pool;   /* names, tensors, and data that is not in the file */
    int in_place;     /* data may lie in the file without being aligned */
    int count, room;
    dfx_tensor **tensor;          /* in the order of the file, then of dfx_tensors_add */
    dfx_tensor **by_name;         /* the same, sorted */
    struct json_object *metadata; /* the texts of a safetensors file; NULL: none */
    /* Of a part of a checkpoint whose names were translated: the file's are PREFIX + what the map
     * gives. NULL: the names are the file's. */
    const struct dfx__key_map *keys;
    const char *prefix;
};

/* Readers of formats: each fills `t` from the mapped t->file; `path` names it in errors. */
dfx_status dfx__read_safetensors(dfx_tensors *t, const char *path);
dfx_status dfx__read_torch_zip(dfx_tensors *t, const char *path);
dfx_status dfx__read_torch_old(dfx_tensors *t, const char *path);

/* dfx_tensors_open for those who read data with dfx__to_f32 and memcpy only: it need not be aligned
 * for its type, so that no more than a table is in memory. */
dfx_status dfx__tensors_open_in_place(dfx_tensors **out, const char *path);

/* The format's name of a type ("BF16"), and its place in the order in which the format's own
 * library writes tensors. */
const char *dfx__safetensors_type(dfx_dtype dtype);
int dfx__safetensors_order(dfx_dtype dtype);

/* Appends a tensor with a copy of the name and nothing else, to be filled by the caller, who calls
 * dfx__tensors_sort after the last one. */
dfx_status dfx__tensors_append(dfx_tensors *t, dfx_tensor **out, const char *name);

/* Whether a tensor's data lies in the mapped file, not in a copy. */
int dfx__tensor_is_mapped(const dfx_tensors *t, const dfx_tensor *tensor);

/* Whether elements of that size can stay where they lie in the file, which is little-endian. */
int dfx__usable_in_place(const dfx_tensors *t, const void *data, size_t size);

/* Copies whole elements between the machine's byte order and the file's. */
void dfx__copy_elements(void *to, const void *from, size_t bytes, size_t size);

/* Makes dfx_tensors_find work. Error: DFX_ERROR_FORMAT when two tensors have the same name. */
dfx_status dfx__tensors_sort(dfx_tensors *t);

/* Bytes of a tensor, whose shape is not trusted: no dimension is negative, and their product does
 * not overflow, even without those that are 0. Errors: DFX_ERROR_FORMAT. */
dfx_status dfx__tensor_bytes(size_t *out, const dfx_spec *spec, const char *name);

#endif
