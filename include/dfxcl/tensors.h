/* dfxcl/tensors.h - named tensors: safetensors files, read mapped and checked, and written; files
 * that torch.save wrote, read. */
#ifndef DFXCL_TENSORS_H
#define DFXCL_TENSORS_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_tensors dfx_tensors;

/* One tensor. The data belongs to the set, is in the machine's byte order and aligned for its
 * type; it is read only. */
typedef struct {
    const char *name;
    dfx_spec spec;
    const void *data;
    size_t bytes;
} dfx_tensor;

/* Maps a file of tensors; what it begins with tells its format, not its name.
 *   safetensors  everything in it is checked: header size, JSON, dtypes, shapes, and that the
 *                tensors' ranges lie within the file, fit their shapes and do not overlap
 *   torch.save   (.bin, .ckpt, .pt, .pth; also of before torch 1.6) the tensors that dicts hold
 *                under texts, "a.b" for dicts in dicts; of a dict with "state_dict" that one. It
 *                is read as data: nothing in it is called, and what is no tensor is left out
 * Errors: DFX_ERROR_FILE, DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED (a dtype or a rank over
 * DFX_MAX_RANK, a tensor of a class that is not torch's), DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_tensors_open(dfx_tensors **out, const char *path);

/* An empty set, to be filled with dfx_tensors_add and saved. */
DFX_API dfx_status dfx_tensors_new(dfx_tensors **out);
DFX_API void dfx_tensors_free(dfx_tensors *t);

DFX_API int dfx_tensors_count(const dfx_tensors *t);
DFX_API const dfx_tensor *dfx_tensors_at(const dfx_tensors *t, int index);
/* NULL when there is none of that name. */
DFX_API const dfx_tensor *dfx_tensors_find(const dfx_tensors *t, const char *name);

/* Adds a copy of the data. Errors: DFX_ERROR_ARGUMENT (the name is taken), DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_tensors_add(dfx_tensors *t, const char *name, const dfx_spec *spec,
                                   const void *data);

/* Writes a .safetensors file: whole (temporary file, then rename) or not at all. */
DFX_API dfx_status dfx_tensors_save(const dfx_tensors *t, const char *path);

#ifdef __cplusplus
}
#endif
#endif
