/* rows.h - operators that go over rows of numbers: their launches, and their loops on the CPU. */
#ifndef DFX_OP_ROWS_H
#define DFX_OP_ROWS_H

#include "device/cpu_kernels.h"
#include "op/call.h"

/* Adds a launch of one work-group for each of `rows` rows (and of `images` images, the grid's
 * second dimension). The kernel is compiled with -DLANES, its work-items, and -DWIDTH, the numbers
 * that one takes at once as a VEC with LOADV and STOREV. CPU devices, which run the work-items of a
 * group one after the other, get one with wide vectors; `options` are added. */
void dfx__rows_kernel(dfx__launches *l, const char *program, const char *name, int64_t rows,
                      int64_t images, const char *options);

/* The same for each pixel of the result, an image [N, H, W, C] made of input x; adds the arguments
 * height and width of x and of the result, and the channels. */
void dfx__pixels_kernel(dfx__launches *l, const char *name, const dfx_spec *x, const char *options);

/* The same for the n numbers of the result as rows of a fixed length, of which the last is shorter;
 * adds the arguments `length` and `last`. */
void dfx__flat_kernel(dfx__launches *l, const char *program, const char *name, const char *options);

/* Numbers that a loop of the native CPU takes at once. */
enum { DFX__PIECE = 1024 };

static inline int64_t dfx__pieces(int64_t n)
{
    return (n + DFX__PIECE - 1) / DFX__PIECE;
}

/* What is left of n from `at` on, at most a piece. */
static inline size_t dfx__piece(int64_t n, int64_t at)
{
    return (size_t)(n - at < DFX__PIECE ? n - at : DFX__PIECE);
}

/* n numbers from index `at` as floats: where they lie, or in `room`. */
const float *dfx__piece_load(const void *data, dfx_dtype dtype, int64_t at, size_t n, float *room);

/* Where to compute the numbers from index `at`: in their place, or in `room`; and putting them from
 * there into their place. */
float *dfx__piece_begin(void *data, dfx_dtype dtype, int64_t at, float *room);
void dfx__piece_end(void *data, dfx_dtype dtype, int64_t at, size_t n, const float *room);

/* sum [n] += factor times the n numbers from index `at`. */
void dfx__piece_add(float *sum, const void *data, dfx_dtype dtype, int64_t at, size_t n,
                    float factor);

/* Calls run_pixel for each pixel of the result, an image whose rows are counted through all of its
 * images, on all threads. */
void dfx__each_pixel(const dfx_call *c, const dfx__host *h,
                     void (*run_pixel)(const dfx_call *c, const dfx__host *h, int64_t row,
                                       int64_t column));

#endif
