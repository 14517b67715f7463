/* fitting.h - what is asked of a sequence beside the public functions, to fit it into a device. */
#ifndef DFX_SEQUENCE_FITTING_H
#define DFX_SEQUENCE_FITTING_H

#include "dfxcl/sequence.h"

/* Where weights do not fit beside the rest, some of them may stay on the host from now on and move
 * to the device in each run that needs them, while the calls before them compute (stream.c). */
void dfx__sequence_may_stream(dfx_sequence *s);

/* Of the group norms that are recorded from now on the first `count` take their groups' means and
 * variances [N, groups, 2] from inputs of the names DFX__MOMENTS, numbered from 0 on: those of an
 * image of which the sequence has a part. Recording ends at the next one. */
#define DFX__MOMENTS "moments.%d"
enum { DFX__MOMENTS_NAME = 24 };
void dfx__sequence_give_moments(dfx_sequence *s, int count);

/* That norm's input, which then may become an output, and its groups; x NULL: there is none. */
typedef struct {
    dfx_value *x;
    int groups;
} dfx__norm_without;
dfx__norm_without dfx__sequence_norm_without(const dfx_sequence *s);

/* "linear:panels 184, conv2d:winograd 33": operators, variants and how many calls of each, the most
 * work first; what does not fit into `text` is left out. */
void dfx__sequence_kernels(const dfx_sequence *s, char *text, size_t size);

#endif
