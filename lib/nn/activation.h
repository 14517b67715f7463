/* activation.h - diffusers' activations by their names in config files. */
#ifndef DFX_NN_ACTIVATION_H
#define DFX_NN_ACTIVATION_H

#include "nn/config.h"
#include "nn/nn.h"

/* The activation that a key names: silu, swish, gelu, mish or relu, in letters of any case; the one
 * called `missing`, NULL for none, where the key is absent or null. Others are refused. */
dfx__activation *dfx__config_activation(dfx__config *c, const char *key, const char *missing);

#endif
