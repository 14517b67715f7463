/* dfxcl/bench.h - how fast a device is at what diffusion models do, and at what there is to reach.
 *
 *     static int print(void *user, const dfx_bench_row *r)
 *     {
 *         return printf("%s: %.1f GFLOP/s\n", r->name, r->flops / r->wall.median * 1e-9) < 0;
 *     }
 *     dfx_bench(device, NULL, print, NULL); */
#ifndef DFXCL_BENCH_H
#define DFXCL_BENCH_H

#include "dfxcl/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Groups of measurements, in the order in which they are made. */
enum {
    DFX_BENCH_BANDWIDTH = 1,  /* launches, transfers, global and local memory */
    DFX_BENCH_FLOPS = 2,      /* multiply-adds in registers: f32, f16, bf16, int8 */
    DFX_BENCH_GEMM = 4,       /* linear layers of real models */
    DFX_BENCH_CONV = 8,       /* convolutions */
    DFX_BENCH_ATTENTION = 16, /* attention */
    DFX_BENCH_OPS = 32,       /* norms and what else is as fast as memory */
    DFX_BENCH_MODEL = 64,     /* the parts of Stable Diffusion 1.5, and a picture of 512x512 */
    DFX_BENCH_ALL = 127
};

typedef struct {
    int groups; /* DFX_BENCH_...; 0: all */
    int quick;  /* fewer shapes and runs, models are predicted only; under half a minute on a slow
                   device */
    dfx_dtype dtype; /* of the calls and models: DFX_F32, DFX_F16 or DFX_BF16 */
} dfx_bench_options;
#define DFX_BENCH_DEFAULT                                                                          \
    {                                                                                              \
        0, 0, DFX_F32                                                                              \
    }

/* Seconds over the runs that count; one or more before them warm up. */
typedef struct {
    int runs;                                      /* 0: not measured */
    double median, least, most, lower, upper, sum; /* lower and upper: quartiles */
} dfx_bench_times;

/* One measurement; texts live as long as the report's call. */
typedef struct {
    int group;           /* DFX_BENCH_... */
    const char *name;    /* "launch", "read", "multiply-add", "linear", "conv2d" ... */
    const char *shape;   /* "8192 x 320 x 320" (M x N x K), "2x64x64, 320 -> 320, 3x3" ... */
    const char *model;   /* whose shape that is, "SD 1.5"; "" */
    const char *variant; /* the way that won; "" where there is one only */
    const char *dtype;   /* "f32", "f16", "bf16", "int8" */
    double flops, bytes; /* of a run: operations, and bytes that have to be moved; 0: not counted */
    dfx_bench_times wall;   /* from the call until it is done */
    dfx_bench_times device; /* by the device's clock; median 0: it has none */
    double predicted; /* of models: seconds that the single calls let expect; 0: they were not asked
                       * for */
    uint64_t memory;  /* of models: bytes on the device */
    double limit; /* the share of what the device's measured peaks allow (roofline), from the faster
                   * of the two clocks; 0 where no peak is known */
    int noisy;    /* the quartiles lie too far apart for the median to be trusted */
} dfx_bench_row;

/* Something else than 0 stops with DFX_ERROR_INTERRUPTED. */
typedef int dfx_bench_function(void *user, const dfx_bench_row *row);

/* Measures on the device and reports row after row. Peaks that shares of others need are measured
 * even where their group is not asked for. A call that fails on the device is left out, with a line
 * in the log. options NULL: DFX_BENCH_DEFAULT. Errors: DFX_ERROR_INTERRUPTED, DFX_ERROR_MEMORY,
 * DFX_ERROR_DEVICE (not even an empty kernel runs). */
DFX_API dfx_status dfx_bench(dfx_device *device, const dfx_bench_options *options,
                             dfx_bench_function *report, void *user);

/* "bandwidth" ... of a DFX_BENCH_... group; NULL for other numbers. */
DFX_API const char *dfx_bench_group_name(int group);

#ifdef __cplusplus
}
#endif
#endif
