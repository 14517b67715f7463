/* fitting.h - what is asked of a sequence beside the public functions, to fit it into a device. */
#ifndef DFX_SEQUENCE_FITTING_H
#define DFX_SEQUENCE_FITTING_H

#include "dfxcl/sequence.h"

/* Where weights do not fit beside the rest, some of them may stay on the host from now on and move
 * to the device in each run, while the calls before them compute (stream.c). */
void dfx__sequence_may_stream(dfx_sequence *s);

/* "linear:panels 184, conv2d:winograd 33": operators, variants and how many calls of each, the most
 * work first; what does not fit into `text` is left out. */
void dfx__sequence_kernels(const dfx_sequence *s, char *text, size_t size);

#endif
