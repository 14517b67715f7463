/* conv2d.h - what conv2d.c and conv2d_winograd.c share. */
#ifndef DFX_OP_CONV2D_H
#define DFX_OP_CONV2D_H

#include "op/call.h"

enum { X, WEIGHT, BIAS, CHANNELS, ADD }; /* inputs */
enum {
    STRIDE,
    DILATION,
    GROUPS,
    TOP,
    LEFT,
    BOTTOM,
    RIGHT,
    ACTIVATION,
    HEIGHT,
    WIDTH
}; /* integers */

/* Size of the picture that the window moves over: x, or what x is resized to. */
static inline int64_t dfx__conv2d_height(const dfx_call *c)
{
    return c->i[HEIGHT] ? c->i[HEIGHT] : c->in[X]->spec.dim[1];
}

static inline int64_t dfx__conv2d_width(const dfx_call *c)
{
    return c->i[WIDTH] ? c->i[WIDTH] : c->in[X]->spec.dim[2];
}

/* Whether it is a linear layer: a 1x1 convolution that takes every pixel. */
int dfx__conv2d_is_linear(const dfx_call *c);

/* The variant "winograd", on OpenCL devices with vectors and on the native CPU; where weights lie in
 * pairs, "winograd_pairs". */
int dfx__winograd_accepts(const dfx_call *c, const dfx_device *d);
int dfx__winograd_accepts_pairs(const dfx_call *c, const dfx_device *d);
int dfx__winograd_accepts_native(const dfx_call *c, const dfx_device *d);
int dfx__winograd_accepts_native_pairs(const dfx_call *c, const dfx_device *d);
size_t dfx__winograd_scratch(const dfx_call *c);
void dfx__winograd_launch(const dfx_call *c, dfx__launches *l);
void dfx__winograd_launch_pairs(const dfx_call *c, dfx__launches *l);
void dfx__winograd_run(const dfx_call *c, const dfx__host *h);
void dfx__winograd_run_pairs(const dfx_call *c, const dfx__host *h);

#endif
