/* torch.h - what torch.save writes: a pickle, and the storages that its tensors are parts of. */
#ifndef DFX_WEIGHTS_TORCH_H
#define DFX_WEIGHTS_TORCH_H

#include "weights/pickle.h"
#include "weights/tensors.h"
#include "weights/zip.h"

/* The bytes that a storage's key stands for. */
typedef struct {
    const char *key;
    const unsigned char *data;
    size_t bytes;
    const dfx__zip_entry *deflated; /* where it is packed: data is NULL until it is needed */
} dfx__storage;

typedef struct {
    dfx_tensors *tensors;
    dfx__pickle pickle;
    dfx__storage *storage; /* sorted by key */
    int storages;
    size_t copied, may_copy; /* bytes of tensors that are copied */
} dfx__torch;

/* Adds the tensors that a pickle holds under names. Dicts within dicts give "a.b"; of a dict with
 * "state_dict" only that one counts, as in diffusers. */
dfx_status dfx__torch_tensors(dfx__torch *c);

/* The element type of a storage that a pickle refers to. 0 when it is no type that is read. */
int dfx__torch_dtype(dfx_dtype *out, const dfx__object *type);

/* A reference to a storage: ("storage", type, key, device, elements[, view]). */
typedef struct {
    const dfx__object *type;
    const char *key;
    int64_t elements, offset; /* the offset is that of a view of the key's storage */
} dfx__storage_id;

int dfx__torch_storage_id(dfx__storage_id *out, const dfx__object *persistent);

#endif
