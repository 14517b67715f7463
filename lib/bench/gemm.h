/* gemm.h - products by CLBlast, timed, and compared with the CPU's. */
#ifndef DFX_BENCH_GEMM_H
#define DFX_BENCH_GEMM_H

#include "core/status.h"
#include "device/device.h"

enum {
    DFX__GEMM_SIDE = 1024, /* the largest size */
    DFX__GEMM_KNOWN = 24
};

typedef struct {
    size_t m, n, k;
    int transpose_b;
    size_t count; /* of products, one behind the other */
} dfx__gemm_sizes;

typedef struct {
    dfx_device *device;
    dfx__buffer *a, *b, *c;
    float *host_a, *host_b, *host_c;
    struct {
        dfx__gemm_sizes sizes;
        float *result;
    } known[DFX__GEMM_KNOWN]; /* what the CPU computed */
    int knows;
} dfx__gemm_bench;

/* Memory for products of at most DFX__GEMM_SIDE each way, all together. Errors:
 * DFX_ERROR_UNSUPPORTED (there is no CLBlast for the device), DFX_ERROR_MEMORY. Must be closed,
 * after an error too. */
dfx_status dfx__gemm_open(dfx__gemm_bench *g, dfx_device *d);
void dfx__gemm_close(dfx__gemm_bench *g);

/* Seconds of a product, the best of a few runs after one in which CLBlast compiles; INFINITY where
 * it does not run, or any element is not the CPU's. Errors: DFX_ERROR_MEMORY. */
dfx_status dfx__gemm_time(dfx__gemm_bench *g, const dfx__gemm_sizes *sizes, double *seconds);

#endif
