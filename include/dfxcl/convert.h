/* dfxcl/convert.h - models rewritten in another form: a Diffusers folder or one file. */
#ifndef DFXCL_CONVERT_H
#define DFXCL_CONVERT_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *dtype;   /* "f32", "f16" or "bf16" for all weights; NULL: as they are */
    uint64_t shard_size; /* bytes of a weight file at most, in folders; 0: 10 GB, as diffusers */
    const char *variant; /* for the names of weight files in folders, "fp16"; NULL: none */
    const char *from_variant; /* weight files of `from` to read; NULL: plain ones, else fp16 */
} dfx_convert_options;
#define DFX_CONVERT_DEFAULT                                                                        \
    {                                                                                              \
        NULL, 0, NULL, NULL                                                                        \
    }

/* Rewrites a model, or a component of one.
 *   from     whatever dfx_checkpoint_open takes: a Diffusers folder, DDUF, a file in the original
 *            layout, a component's folder
 *   to       "X.safetensors": one file in the original layout, which Stable Diffusion 1, 2, XL and
 *            the refiner have; any other name: a Diffusers folder, which must not be there yet
 *   options  NULL for the defaults
 * Tensors keep their bytes unless dtype changes them, and configs theirs. One file keeps configs in
 * its metadata ("dfx.unet/config.json"), and a tokenizer other than CLIP's own; what the layout has
 * no place for (a safety checker) is left out, which is logged. No more than one tensor is in
 * memory. `to` appears whole or not at all. Errors: DFX_ERROR_FILE, DFX_ERROR_FORMAT,
 * DFX_ERROR_UNSUPPORTED (a model that has no original layout, by the class or tensor that has not),
 * DFX_ERROR_ARGUMENT, DFX_ERROR_INTERRUPTED, DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_convert(const char *from, const char *to,
                               const dfx_convert_options *options);

#ifdef __cplusplus
}
#endif
#endif
