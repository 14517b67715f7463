/* linear.h - what linear layers and convolutions share; a 1x1 convolution is a linear layer. */
#ifndef DFX_OP_LINEAR_H
#define DFX_OP_LINEAR_H

#include "device/cpu_panels.h"
#include "op/call.h"

enum { DFX__LINEAR_ACTIVATION }; /* integers; the inputs are those of conv2d.h */

enum {
    DFX__VECTOR_ROWS = 8,         /* that a work-item of the vector kernels computes */
    DFX__VECTOR_CACHE = 256 << 10 /* bytes of rows that the second-level cache keeps */
};

/* The option of vector kernels that take bf16 in pairs, from weights in DFX__PANELS_PAIRS, and
 * whether the call's device does that. */
#define DFX__VECTOR_PAIRS " -DPAIRS"
int dfx__takes_pairs(const dfx_call *c);

/* The grid of a vector kernel: tiles of rows, panels, and blocks of tiles whose rows (of `bytes`
 * each) fit into the cache, of all products. */
void dfx__vector_grid(struct dfx__launches *l, int64_t products, int64_t rows, int64_t columns,
                      int64_t bytes);

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
