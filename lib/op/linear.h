/* linear.h - launches of a linear layer, which are those of a 1x1 convolution too. */
#ifndef DFX_OP_LINEAR_H
#define DFX_OP_LINEAR_H

#include "op/call.h"

enum {
    DFX__VECTOR_ROWS = 8,         /* that a work-item of the vector kernels computes */
    DFX__TILE = 64,               /* rows and columns of a tiled kernel's group */
    DFX__VECTOR_CACHE = 256 << 10 /* bytes of rows that the second-level cache keeps */
};

/* The option of vector kernels that take bf16 in pairs, from weights in DFX__PANELS_PAIRS, and
 * whether the call's device does that. */
#define DFX__VECTOR_PAIRS " -DPAIRS"
int dfx__takes_pairs(const dfx_call *c);

/* The grid of a vector kernel: tiles of rows, panels, and blocks of tiles whose rows (of `bytes`
 * each) fit into the cache. */
void dfx__vector_grid(struct dfx__launches *l, int64_t rows, int64_t columns, int64_t bytes);

/* For calls with inputs x [..., K], weight, bias and a result [..., N]. */
void dfx__linear_vector(const dfx_call *c, struct dfx__launches *l, const char *options);
void dfx__linear_tiled(const dfx_call *c, struct dfx__launches *l);
void dfx__linear_clblast(const dfx_call *c, struct dfx__launches *l);

/* Fails the call unless its weight is a constant, stored as x is. */
int dfx__need_weight(dfx_call *c, int x, int weight);

#endif
