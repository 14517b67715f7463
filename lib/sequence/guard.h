/* guard.h - where a sequence's values leave what their type holds. */
#ifndef DFX_SEQUENCE_GUARD_H
#define DFX_SEQUENCE_GUARD_H

#include "dfxcl/sequence.h"

/* What of a sequence is not finite: an input by its name, or the first call whose result is not:
 * the block that recorded it, its operator and the variant that ran. NULL: nothing is. */
typedef struct {
    const char *input;
    const char *path, *op, *variant;
    dfx_dtype dtype; /* of the sequence */
} dfx__not_finite;

/* Of a prepared sequence with the inputs that it has, in a run made for it. The names live as long
 * as the sequence. */
dfx_status dfx__find_not_finite(dfx__not_finite *out, dfx_sequence *s);

#endif
