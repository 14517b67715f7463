/* dfxcl/checkpoint.h - a model's files, whatever they lie in, as those of a Diffusers folder.
 *
 * Every function of this library that takes a model's path opens it so by itself; this is for
 * programs that look at its files. */
#ifndef DFXCL_CHECKPOINT_H
#define DFXCL_CHECKPOINT_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_checkpoint dfx_checkpoint;

/* Finds a model or a part of one.
 *   model  a folder or a file ("sd", "sd/unet"), or a file that holds a whole model, which is read
 *          as a folder ("sd.dduf", "sd.dduf/unet"), or, where no such path exists, ORG/NAME or
 *          ORG/NAME@REVISION (a branch, a tag or a whole commit hash) of the Hugging Face hub, with
 *          or without a path in it, which is looked up in its cache on this machine: HF_HUB_CACHE,
 *          HUGGINGFACE_HUB_CACHE, HF_HOME/hub, else ~/.cache/huggingface/hub. Nothing is downloaded
 * A path to nothing is no error here: what reads it says what is missing.
 * Errors: DFX_ERROR_FILE (the cache does not have the model), DFX_ERROR_FORMAT,
 * DFX_ERROR_UNSUPPORTED (such a file is broken, or of a form that is not read), DFX_ERROR_MEMORY.
 */
DFX_API dfx_status dfx_checkpoint_open(dfx_checkpoint **out, const char *model);
DFX_API void dfx_checkpoint_free(dfx_checkpoint *c);

/* The path, for functions that take one: it leads into a file as if that were a folder, as long as
 * the checkpoint is open. */
DFX_API const char *dfx_checkpoint_path(const dfx_checkpoint *c);

/* "DDUF" for what lies in one file; NULL for what is as it stands on the disk. */
DFX_API const char *dfx_checkpoint_form(const dfx_checkpoint *c);

/* Whether there is such a file ("unet/config.json"; "" is the path itself), and its bytes followed
 * by a zero, to be freed with free. Errors: DFX_ERROR_FILE, DFX_ERROR_MEMORY. */
DFX_API int dfx_checkpoint_has(const dfx_checkpoint *c, const char *name);
DFX_API dfx_status dfx_checkpoint_read(char **text, size_t *bytes, const dfx_checkpoint *c,
                                       const char *name);

#ifdef __cplusplus
}
#endif
#endif
