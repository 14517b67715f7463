/* linear.h - what linear layers and convolutions share; a 1x1 convolution is a linear layer. */
#ifndef DFX_OP_LINEAR_H
#define DFX_OP_LINEAR_H

#include "device/cpu_panels.h"
#include "op/call.h"

enum { DFX__LINEAR_ACTIVATION }; /* integers; the inputs are those of conv2d.h */

enum {
    DFX__VECTOR_ROWS = 8,  /* of a tile of the vector kernels */
    DFX__VECTOR_TILES = 8, /* of a strip, and panels of a group, at most; as in cl/panel.cl */
    DFX__VECTOR_PANELS = 8
};

/* The option of vector kernels that take bf16 in pairs, from weights in DFX__PANELS_PAIRS, and
 * whether the call's device does that. */
#define DFX__VECTOR_PAIRS " -DPAIRS"
int dfx__takes_pairs(const dfx_call *c);

/* The arguments "strip" and "group" of a vector kernel, and its grid: strips of rows, groups of
 * panels, products. A panel of the result has one or, with DFX_GEGLU, two of the weight's. */
void dfx__vector_grid(const dfx_call *c, struct dfx__launches *l, int64_t products, int64_t rows,
                      int64_t columns, int sums_of_panel);

/* The activation of a linear layer's or a convolution's call; whether it does more with its sums
 * than to add the bias; and rows of the result that share a line of channels. */
dfx_activation dfx__activation(const dfx_call *c);
int dfx__has_epilogue(const dfx_call *c);
int64_t dfx__image_rows(const dfx_call *c);

/* Fails the call unless what follows its sums fits its result, which is out->spec, before an
 * activation that halves it. */
int dfx__need_epilogue(dfx_call *c);

/* The call on the native CPU, but for its taps and where its rows are. */
dfx__panels_job dfx__panels_job_of(const dfx_call *c, const dfx__host *h, int pairs);

/* The kernel arguments EPILOGUE of cl/panel.cl. */
void dfx__arg_epilogue(struct dfx__launches *l);

/* For calls with inputs x [..., K], weight, bias and a result [..., N]. */
void dfx__linear_vector(const dfx_call *c, struct dfx__launches *l, const char *options);
void dfx__linear_clblast(const dfx_call *c, struct dfx__launches *l);

/* Fails the call unless its weight is a constant, stored as x is. */
int dfx__need_weight(dfx_call *c, int x, int weight);

#endif
