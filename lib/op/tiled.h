/* tiled.h - linear layers and convolutions in tiles of several sizes: on any OpenCL device, and on
 * tensor cores. */
#ifndef DFX_OP_TILED_H
#define DFX_OP_TILED_H

#include "op/call.h"

/* The sizes are variants, so that the selftest sees each of them and the fastest on a device can be
 * found by trying; here in the order of preference where nothing was measured: X(NAME,
 * SCRATCH). In parts: several groups share a sum. Of the tiles for any device the largest that
 * needs no memory for registers with any compiler that it was tried with comes first. */
#define DFX__TILED(X)                                                                              \
    X(mma_large, NULL)                                                                             \
    X(mma_middle, NULL)                                                                            \
    X(mma_parts, dfx__tiled_scratch_mma_parts)                                                     \
    X(tiled_large, NULL)                                                                           \
    X(tiled_huge, NULL)                                                                            \
    X(tiled_middle, NULL)                                                                          \
    X(tiled_parts, dfx__tiled_scratch_tiled_parts)                                                 \
    X(tiled_small, NULL)

/* For both operators, whose inputs have the same numbers. */
#define DFX__DECLARE(name, scratch)                                                                \
    int dfx__tiled_accepts_##name(const dfx_call *c, const dfx_device *d);                         \
    void dfx__tiled_launch_##name(const dfx_call *c, struct dfx__launches *l);
DFX__TILED(DFX__DECLARE)
#undef DFX__DECLARE
size_t dfx__tiled_scratch_mma_parts(const dfx_call *c);
size_t dfx__tiled_scratch_tiled_parts(const dfx_call *c);

/* Their rows in an operator's table, after the row of another variant. */
#define DFX__TILED_VARIANT(name, scratch)                                                          \
    ,                                                                                              \
    {                                                                                              \
#name, dfx__tiled_accepts_##name, DFX__PANELS, scratch, dfx__tiled_launch_##name, NULL     \
    }
#define DFX__THEN_TILED DFX__TILED(DFX__TILED_VARIANT)

#endif
