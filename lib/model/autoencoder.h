/* autoencoder.h - what pipelines need of an autoencoder of any class: images to latents and back.
 */
#ifndef DFX_MODEL_AUTOENCODER_H
#define DFX_MODEL_AUTOENCODER_H

#include "model/model.h"

typedef struct {
    int in_channels, out_channels, latent_channels;
    int factor;           /* pixels of a latent's side, as pipelines count: 2^(levels - 1) */
    float scaling_factor; /* latents of a diffusion are encoded ones times it, in most pipelines */
    const float *latents_mean, *latents_std; /* [latent_channels], for SDXL's pipelines; or NULL */
    int has_moments;                         /* encode gives a mean and a log-variance */
    int takes_mask;                          /* there is decode_masked */
    int sample_size;                         /* pixels of a tile's side where diffusers tiles */
    int tiles_by_mask;                       /* as diffusers joins the tiles of AutoencoderTiny */
    int force_upcast; /* f16 may not hold its activations: SDXL and the x4 upscaler run it in f32 */
} dfx__autoencoder_facts;

/* `encode` or `decode` in parts, of which each takes what the one before made. But for their group
 * norms parts see no more than three pixels around one of their input's, unless they are to be
 * taken as a whole, which are those of few pixels. */
typedef struct {
    int (*count)(const void *net);
    int (*is_whole)(const void *net, int part);
    dfx_value *(*record)(const void *net, int part, dfx_value *x);
} dfx__autoencoder_parts;

/* A class of autoencoders: the functions below for its own networks. */
typedef struct dfx__autoencoder_functions {
    dfx__autoencoder_facts (*facts)(const void *net);
    dfx_value *(*encode)(const void *net, dfx_value *image);
    dfx_value *(*decode)(const void *net, dfx_value *latent);
    dfx_value *(*decode_masked)(const void *net, dfx_value *latent, dfx_value *image,
                                dfx_value *mask);              /* or NULL */
    const dfx__autoencoder_parts *encode_parts, *decode_parts; /* or NULL */
} dfx__autoencoder_functions;

/* The functions below need an autoencoder. */
dfx__autoencoder_facts dfx__autoencoder_get_facts(const dfx_model *m);

/* image [N, H, W, in_channels], -1..1 -> [N, h, w, C]; where has_moments [N, h, w, 2 C]: the mean,
 * then the log-variance, not clamped. Odd sizes are rounded as diffusers does. */
dfx_value *dfx__autoencoder_encode(const dfx_model *m, dfx_value *image);

/* latent [N, h, w, C], without scaling -> image [N, H, W, out_channels] */
dfx_value *dfx__autoencoder_decode(const dfx_model *m, dfx_value *latent);

/* The same where mask [N, H, W, 1] is 1; where it is 0, image [N, H, W, out_channels] is kept, as
 * it comes out of the decoder. For classes that take a mask. */
dfx_value *dfx__autoencoder_decode_masked(const dfx_model *m, dfx_value *latent, dfx_value *image,
                                          dfx_value *mask);

/* A side in parts; NULL: it cannot be taken apart. */
const dfx__autoencoder_parts *dfx__autoencoder_get_parts(const dfx_model *m, int encodes);

/* Records one of them. */
dfx_value *dfx__autoencoder_part(const dfx_model *m, int encodes, int part, dfx_value *x);

/* `forward` of every class: sample -> latent_mean and, where has_moments, latent_logvar; or latent
 * -> sample, with an image and a mask too where the class takes them. */
dfx_status dfx__autoencoder_forward(const dfx_model *m, dfx__forward *f);

#endif
