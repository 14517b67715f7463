/* weights.h - all weights of one component's folder, from which its blocks load. */
#ifndef DFX_WEIGHTS_WEIGHTS_H
#define DFX_WEIGHTS_WEIGHTS_H

#include "dfxcl/tensors.h"
#include "sequence/weight.h"

typedef struct dfx__weights dfx__weights;

/* Finds and maps the weight files of a folder. Weights point into the mapped files, where they need
 * not be aligned.
 *   basename  "diffusion_pytorch_model" (diffusers) or "model" (transformers)
 *   variant   "fp16": BASENAME.fp16 files and, where there are none, which is logged, plain ones;
 *             NULL: plain files, or fp16 ones when that is all there is
 * Safetensors come before .bin ("pytorch_model.bin" for "model"), and a single file before an index
 * of shards, whose names may have the variant before or after their numbers. Errors:
 * DFX_ERROR_FILE (none of them is there, or a shard is missing), DFX_ERROR_UNSUPPORTED (only other
 * files are there), and those of dfx_tensors_open. */
dfx_status dfx__weights_open(dfx__weights **out, const char *folder, const char *basename,
                             const char *variant);
void dfx__weights_free(dfx__weights *w);

/* The weight of that name, marked as used; NULL when there is none. It belongs to `w`. Taking it
 * again gives the same one. */
dfx_weight *dfx__weights_take(dfx__weights *w, const char *name);

/* The tensor behind it, without marking; NULL when there is none. */
const dfx_tensor *dfx__weights_find(const dfx__weights *w, const char *name);

/* A tensor's name in the file it comes from, whether it is there or missing, where that is another
 * one than the name here; else NULL. The text is put into `room`. */
const char *dfx__weights_file_name(const dfx__weights *w, const char *name, char room[512]);

int dfx__weights_count(const dfx__weights *w);
/* In the order of names, without marking. */
const dfx_weight *dfx__weights_at(const dfx__weights *w, int index);
int64_t dfx__weights_parameters(const dfx__weights *w); /* elements of all tensors */

/* How many tensors were never taken; the first `room` of their names, sorted, go to `name`. */
int dfx__weights_unused(const dfx__weights *w, const char **name, int room);

/* The variant that the files are of; NULL for plain ones. */
const char *dfx__weights_variant(const dfx__weights *w);

/* The files, in the order of their names; NULL after the last. */
const char *dfx__weights_file(const dfx__weights *w, int index);

#endif
