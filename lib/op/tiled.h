/* tiled.h - linear layers and convolutions on any OpenCL device, in tiles of several sizes. */
#ifndef DFX_OP_TILED_H
#define DFX_OP_TILED_H

#include "op/call.h"

/* For both operators, whose inputs have the same numbers. The sizes are variants, so that the
 * selftest sees each of them and the fastest on a device can be found by trying. */
int dfx__takes_tiled_small(const dfx_call *c, const dfx_device *d);
int dfx__takes_tiled_middle(const dfx_call *c, const dfx_device *d);
int dfx__takes_tiled_large(const dfx_call *c, const dfx_device *d);
int dfx__takes_tiled_huge(const dfx_call *c, const dfx_device *d);
void dfx__tiled_small(const dfx_call *c, struct dfx__launches *l);
void dfx__tiled_middle(const dfx_call *c, struct dfx__launches *l);
void dfx__tiled_large(const dfx_call *c, struct dfx__launches *l);
void dfx__tiled_huge(const dfx_call *c, struct dfx__launches *l);

/* In the order of preference where nothing was measured: the largest that needs no memory for
 * registers with any compiler that it was tried with comes first. */
#define DFX__TILED_VARIANTS                                                                        \
    { "tiled_large", dfx__takes_tiled_large, DFX__PANELS, NULL, dfx__tiled_large, NULL },          \
        { "tiled_huge", dfx__takes_tiled_huge, DFX__PANELS, NULL, dfx__tiled_huge, NULL },         \
        { "tiled_middle", dfx__takes_tiled_middle, DFX__PANELS, NULL, dfx__tiled_middle, NULL },   \
    {                                                                                              \
        "tiled_small", dfx__takes_tiled_small, DFX__PANELS, NULL, dfx__tiled_small, NULL           \
    }

#endif
