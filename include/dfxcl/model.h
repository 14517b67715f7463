/* dfxcl/model.h - one component of a pipeline on its own: a text encoder, a UNet, an autoencoder.
 */
#ifndef DFXCL_MODEL_H
#define DFXCL_MODEL_H

#include "dfxcl/config.h"
#include "dfxcl/sequence.h"
#include "dfxcl/tensors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_model dfx_model;

/* Opens a component's folder (config.json and its weights, one file or shards). Every config key is
 * honoured or refused by its name, every weight is used once or named.
 * Errors: DFX_ERROR_FILE, DFX_ERROR_FORMAT (wrong shapes, missing tensors), DFX_ERROR_UNSUPPORTED
 * (a class or a config key), DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_model_open(dfx_model **out, const char *folder);
DFX_API void dfx_model_free(dfx_model *m);

DFX_API const char *dfx_model_class(const dfx_model *m); /* "UNet2DConditionModel" */
DFX_API int64_t dfx_model_parameters(const dfx_model *m);
DFX_API const char *dfx_model_dtypes(const dfx_model *m); /* of its files: "f16", "f16 i64" */

/* Lists the keys of its config.json, as dfx_config_keys_open. Errors: DFX_ERROR_MEMORY. */
DFX_API dfx_status dfx_model_keys(dfx_config_keys **out, const dfx_model *m);

/* Runs the component once on given tensors and adds its results to `out`. Names, in and out:
 *   CLIPTextModel         input_ids i64 or i32 [B, T] -> last_hidden_state, hidden_states.-2
 *
 *   UNet2DConditionModel  sample [B, C, H, W], timestep [B], encoder_hidden_states [B, T, D] and,
 *                         of addition_embed_type text_time, text_embeds [B, P], time_ids [B, K];
 *                         class_labels where it has class embeddings: ids i64 or i32 [B] of
 *                         num_class_embeds, numbers [B] of class_embed_type timestep, else vectors
 *                         [B, D]; where it has time_cond_proj_dim D, timestep_cond [B, D], or
 *                         nothing is added
 *                         -> sample
 *
 *   AutoencoderKL         sample [B, 3, H, W] in -1..1 -> latent_mean, latent_logvar
 *                         or latent [B, C, h, w] -> sample (no scaling factor is applied)
 *   AutoencoderTiny       likewise, without latent_logvar
 *
 *   AsymmetricAutoencoderKL  as AutoencoderKL; beside latent, image [B, 3, 8 h, 8 w] in -1..1 and
 *                         mask [B, 1, 8 h, 8 w], 0 where the image is kept, may be given
 *
 *   VQModel               sample [B, 3, H, W] in -1..1 -> latent_mean, not quantised
 *                         or latent [B, C, h, w], which becomes rows of the codebook -> sample
 *
 *   DPTForDepthEstimation pixel_values [B, 3, H, W] -> predicted_depth [B, H', W']
 *   ReduxImageEncoder     x [B, T, D] -> image_embeds [B, T, E]
 *
 * Weights that do not fit into the device's memory limit are streamed.
 * Errors: DFX_ERROR_ARGUMENT (a tensor is missing or has a wrong shape), and those of running. */
DFX_API dfx_status dfx_model_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                                     const dfx_tensors *in, dfx_tensors *out);

#ifdef __cplusplus
}
#endif
#endif
