/* trial.h - a case as a sequence on random inputs, for the selftest and the bench. */
#ifndef DFX_OP_TRIAL_H
#define DFX_OP_TRIAL_H

#include "sequence/sequence.h"

typedef struct {
    dfx_sequence *s;
    const dfx__case *test;
    dfx_weight weight[DFX__MAX_INPUTS];
    void *data[DFX__MAX_INPUTS];
    dfx_value *in[DFX__MAX_INPUTS];
    int64_t rows; /* of the constant that indices point into */
} dfx__trial;

/* Records the case; what cannot be recorded is the sequence's own error. After success the trial
 * must be closed, and the case must live as long. */
dfx_status dfx__trial_open(dfx__trial *t, dfx_device *device, dfx_dtype dtype, const dfx_op *op,
                           const dfx__case *test);
/* Prepares its sequence and writes its inputs. */
dfx_status dfx__trial_prepare(dfx__trial *t);
void dfx__trial_close(dfx__trial *t);

/* The inputs of a case, as they stand in the operator's file. */
void dfx__case_describe(char *text, size_t size, const dfx__case *test);

#endif
