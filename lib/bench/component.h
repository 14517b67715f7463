/* component.h - a component of a pipeline as a sequence to be timed. */
#ifndef DFX_BENCH_COMPONENT_H
#define DFX_BENCH_COMPONENT_H

#include "model/model.h"
#include "sequence/sequence.h"

/* Records a step of a UNet, the decoding of an autoencoder or a text encoder's run on inputs of its
 * own, for `batch` pictures of `size` x `size` pixels or prompts, with the result "out" in f32.
 * *part receives "unet", "vae" or "text". Errors: DFX_ERROR_UNSUPPORTED (another class). */
dfx_status dfx__bench_record(dfx_sequence *s, const dfx_model *m, int size, int batch,
                             const char **part);

/* Writes noise into the inputs of a prepared sequence, small numbers into those of tokens. */
dfx_status dfx__bench_fill(dfx_sequence *s);

#endif
