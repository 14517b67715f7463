/* vae.h - the convolutional encoder and decoder that several autoencoders share (Encoder and
 * Decoder of diffusers' vae.py; Esser et al. 2020). */
#ifndef DFX_MODEL_VAE_H
#define DFX_MODEL_VAE_H

#include "model/autoencoder.h"
#include "nn/attention_block.h"

enum { DFX__VAE_LEVELS = 8, DFX__VAE_MAX_CHANNELS = 1 << 15 };

/* Layers of one size, then a sampler where the size changes. */
typedef struct {
    dfx__resnet *resnet;
    dfx__attention_block *attention; /* NULL, or one after each resnet */
    dfx__conv sampler;
} dfx__vae_level;

/* A side of an autoencoder. Channels are listed from the largest pictures to the smallest, as in
 * configs; the levels of a decoder lie in the order in which they run. */
typedef struct {
    int levels, channels[DFX__VAE_LEVELS], layers; /* layers of a level */
    int attends[DFX__VAE_LEVELS];                  /* in the order in which levels run */
    int groups, attends_middle, in_channels, out_channels;
    dfx__conv conv_in, conv_out;
    dfx__vae_level level[DFX__VAE_LEVELS];
    dfx__resnet middle[2];
    dfx__attention_block middle_attention;
    dfx__norm norm_out;
} dfx__vae_coder;

/* Reads the keys that classes have in common (in_channels, out_channels, latent_channels,
 * norm_num_groups and sample_size, with `latent` for a missing latent_channels) into the facts and
 * both sides. These readers know the rules of their keys; this one knows that of act_fn. */
void dfx__vae_read_common(dfx__autoencoder_facts *f, dfx__vae_coder *encoder,
                          dfx__vae_coder *decoder, dfx__config *c, int latent);

/* Reads a side: the keys of its channels, its block types and its number of layers. */
void dfx__vae_read_side(dfx__vae_coder *d, dfx__config *c, int decodes, const char *channels_key,
                        const char *layers_key);

/* Reads both sides of a class whose sides are alike. */
void dfx__vae_read_sides(dfx__vae_coder *encoder, dfx__vae_coder *decoder, dfx__config *c);

/* Reads scaling_factor, 0.18215 where it is missing. */
void dfx__vae_read_scaling(dfx__autoencoder_facts *f, dfx__config *c);

/* "encoder" and "decoder" under the walk's path; the config has passed its checks. */
void dfx__vae_load_encoder(dfx__vae_coder *d, dfx__loader *l);
void dfx__vae_load_decoder(dfx__vae_coder *d, dfx__loader *l);

/* image [N, H, W, in] -> [N, h, w, out] */
dfx_value *dfx__vae_encode(const dfx__vae_coder *d, dfx_value *image);

/* latent [N, h, w, in] -> [N, H, W, out]: a beginning, one level after the other, an end */
dfx_value *dfx__vae_decode(const dfx__vae_coder *d, dfx_value *latent);
dfx_value *dfx__vae_decode_begin(const dfx__vae_coder *d, dfx_value *latent);
dfx_value *dfx__vae_decode_level(const dfx__vae_coder *d, int level, dfx_value *x);
dfx_value *dfx__vae_decode_end(const dfx__vae_coder *d, dfx_value *x);

/* Both in parts, as autoencoder.h has them: every resnet, every change of size, what is before and
 * behind them. Of the decoder part 0 is its beginning. */
int dfx__vae_parts(const dfx__vae_coder *d);
int dfx__vae_encode_part_is_whole(const dfx__vae_coder *d, int part);
dfx_value *dfx__vae_encode_part(const dfx__vae_coder *d, int part, dfx_value *x);
int dfx__vae_decode_part_is_whole(const dfx__vae_coder *d, int part);
dfx_value *dfx__vae_decode_part(const dfx__vae_coder *d, int part, dfx_value *x);

#endif
