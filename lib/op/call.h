/* call.h - what operator files use: shapes of a call, and its launches on OpenCL devices. */
#ifndef DFX_OP_CALL_H
#define DFX_OP_CALL_H

#include "core/dtype.h"
#include "sequence/launches.h"
#include "sequence/sequence.h"

/* Last dimension, and the product of the ones before it. */
static inline int64_t dfx__channels(const dfx_spec *s)
{
    return s->dim[s->rank - 1];
}

static inline int64_t dfx__rows(const dfx_spec *s)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < s->rank; i++)
        n *= s->dim[i];
    return n;
}

/* Fails the call unless the input has a float type. */
int dfx__need_float(dfx_call *c, int input);

/* The result is an image [N, H, W, C] of another size; fails the call where the input is none. */
void dfx__infer_resized(dfx_call *c, int input, int64_t height, int64_t width);

/* Fails the call unless input k is absent or a vector of n in f32. */
int dfx__need_vector(dfx_call *c, int k, const char *what, int64_t n);

#endif
