/* launches.h - an operator describes its OpenCL launches: a kernel, its arguments, its grid. */
#ifndef DFX_SEQUENCE_LAUNCHES_H
#define DFX_SEQUENCE_LAUNCHES_H

#include "sequence/sequence.h"

/* The launches of one call; the first failure sticks. */
typedef struct dfx__launches {
    dfx_call *call;
    dfx__launch *launch;
    int count, room;
    dfx_status status;
} dfx__launches;

/* A new launch of a kernel of cl/PROGRAM.cl, compiled with -DDTYPE=<the result's dtype>, -DWTYPE=
 * <the weight's> where that is another, and the options. The functions below add to the newest
 * launch. */
void dfx__kernel(dfx__launches *l, const char *program, const char *name, const char *options, ...)
    DFX__PRINTF(4, 5);
void dfx__arg_in(dfx__launches *l,
                 int input); /* a pointer to an input; NULL when it is not given */
void dfx__arg_out(dfx__launches *l);
void dfx__arg_scratch(dfx__launches *l, size_t offset, size_t bytes);
void dfx__arg_int(dfx__launches *l, int64_t value); /* fails the prepare over DFX__MAX_COUNT */
void dfx__arg_float(dfx__launches *l, float value);

/* Work-items of a group: the largest power of 2 that the device has, up to `most`. */
int dfx__group(const dfx_call *c, int most);

/* Sizes of the grid in work-items (rounded up to whole groups) and of a group. */
void dfx__grid(dfx__launches *l, int64_t gx, int64_t gy, int64_t gz, int lx, int ly, int lz);

/* A new launch: products of inputs a and b into the result by CLBlast; fills in where they lie. A
 * constant is in DFX__ROWS. */
void dfx__gemm(dfx__launches *l, int a, int b, dfx__products products);

#endif
