/* oplist.h - every operator: a new one is a line here, lib/op/NAME.c and cl/NAME.cl. */
#ifndef DFX_OP_OPLIST_H
#define DFX_OP_OPLIST_H

#include "sequence/sequence.h"

#define DFX__OPS(X)                                                                                \
    X(linear)                                                                                      \
    X(conv2d)                                                                                      \
    X(attention)                                                                                   \
    X(matmul)                                                                                      \
    X(group_norm)                                                                                  \
    X(layer_norm)                                                                                  \
    X(silu)                                                                                        \
    X(gelu)                                                                                        \
    X(mish)                                                                                        \
    X(quick_gelu)                                                                                  \
    X(relu)                                                                                        \
    X(tanh)                                                                                        \
    X(geglu)                                                                                       \
    X(add)                                                                                         \
    X(add_channels)                                                                                \
    X(scale)                                                                                       \
    X(divide)                                                                                      \
    X(blend)                                                                                       \
    X(concat)                                                                                      \
    X(slice)                                                                                       \
    X(resample)                                                                                    \
    X(max_pool2d)                                                                                  \
    X(upsample_nearest)                                                                            \
    X(upsample_bilinear)                                                                           \
    X(embedding)                                                                                   \
    X(vector_quantize)                                                                             \
    X(timestep_embedding)                                                                          \
    X(fourier_embedding)                                                                           \
    X(cast)

#define DFX__DECLARE_OP(name) extern const dfx_op dfx__##name;
DFX__OPS(DFX__DECLARE_OP)
#undef DFX__DECLARE_OP

/* All of them, and how many. */
extern const dfx_op *const dfx__ops[];
extern const int dfx__op_count;

#endif
