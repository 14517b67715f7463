/* bench.h - what the parts of a bench share: the peaks that were measured, timing, reporting. */
#ifndef DFX_BENCH_BENCH_H
#define DFX_BENCH_BENCH_H

#include "core/status.h"
#include "device/device.h"
#include "dfxcl/bench.h"
#include "dfxcl/sequence.h"

/* Kinds of arithmetic that have a peak of their own. */
typedef enum { DFX__PEAK_F32, DFX__PEAK_F16, DFX__PEAK_BF16, DFX__PEAK_INT8, DFX__PEAKS } dfx__peak;

enum { DFX__BENCH_OPS = 32 };

typedef struct {
    dfx_device *device;
    dfx_bench_options options;
    dfx_bench_function *report;
    void *user;
    double peak[DFX__PEAKS]; /* operations in a second; 0: not measured */
    double bandwidth;        /* bytes in a second that global memory gives and takes */
    struct {                 /* sums over the calls of an operator that were timed */
        const struct dfx_op *op;
        double flops, bytes, seconds;
    } timed[DFX__BENCH_OPS];
    int ops;
} dfx__bench;

/* Runs it once. *seconds receives the device's own time, 0 where there is none. */
typedef dfx_status dfx__bench_run(void *data, double *seconds);

/* Times runs until they are enough, and at least `least` of them, into the row's wall, device and
 * noisy. */
dfx_status dfx__bench_time(const dfx__bench *b, dfx_bench_row *row, int least, dfx__bench_run *run,
                           void *data);

/* Hands the row to the caller, with its share of the peak of `kind`. */
dfx_status dfx__bench_report(const dfx__bench *b, dfx_bench_row *row, dfx__peak kind);

/* Seconds of a row by the better clock: the device's where there is one. */
double dfx__bench_seconds(const dfx_bench_row *row);

/* The peak that calls of a dtype can reach: that of f32 where the device does not compute in it. */
dfx__peak dfx__bench_peak(const dfx__bench *b, dfx_dtype dtype);

/* Seconds of a run of a recorded sequence, but for what is kept from the run before, at the rates
 * of the calls that were timed, 0 where there are none; *flops receives what it does. */
double dfx__bench_predict(const dfx__bench *b, const dfx_sequence *s, double *flops);

/* The groups of measurements. A failure is DFX_ERROR_INTERRUPTED or the device's. */
dfx_status dfx__bench_bandwidth(dfx__bench *b, int reports);
dfx_status dfx__bench_flops(dfx__bench *b, int reports);
dfx_status dfx__bench_calls(dfx__bench *b, int group);
dfx_status dfx__bench_models(dfx__bench *b);

#endif
