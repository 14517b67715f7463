/* adams_bashforth.h - the linear multistep formulas that PNDM and its improvement share. */
#ifndef DFX_SCHEDULER_ADAMS_BASHFORTH_H
#define DFX_SCHEDULER_ADAMS_BASHFORTH_H

#include <stddef.h>

enum { DFX__ADAMS_BASHFORTH_MOST = 4 }; /* outputs */

/* sum = the weighted mean of the `known` last outputs e, the newest first; of more than 4 it
 * takes 4. */
void dfx__adams_bashforth(float *const e[], int known, float *sum, size_t count);

#endif
