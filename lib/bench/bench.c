/* bench.c - a bench from its first measurement to its last, and how each is timed. */
#include "bench/bench.h"

#include "core/clock.h"

#include <math.h>
#include <stdlib.h>

/* Runs that count go on until there are MIN_RUNS of them and they took `enough` seconds, or are
 * MAX_RUNS; a slow one ends after `longest`, with FEWEST. */
enum { FEWEST = 3, MIN_RUNS = 7, MAX_RUNS = 200 };
static const double enough = 0.10, longest = 3.0;
static const double enough_quick = 0.03, longest_quick = 0.4;

/* Quartiles further apart than this share of the median make a row noisy. */
static const double most_spread = 0.15;

/* Some drivers' clocks do not run (rusticl's on llvmpipe says a nanosecond). One is not believed
 * that saw less than this share of a time in which launches alone cannot have passed. */
static const double least_share = 0.01, launches = 1e-3;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value below which a share of the sorted ones lies. */
static double at_share(const double *sorted, int n, double share)
{
    double at = share * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static dfx_bench_times times_of(double *seconds, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += seconds[i];
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    return (dfx_bench_times){ n,
                              at_share(seconds, n, 0.5),
                              seconds[0],
                              seconds[n - 1],
                              at_share(seconds, n, 0.25),
                              at_share(seconds, n, 0.75),
                              sum };
}

static int is_enough(const dfx__bench *b, int least, int runs, double spent)
{
    int quick = b->options.quick;
    if (runs < FEWEST || runs < least)
        return 0;
    return runs == MAX_RUNS || spent > (quick ? longest_quick : longest) ||
           (runs >= MIN_RUNS && spent > (quick ? enough_quick : enough));
}

dfx_status dfx__bench_time(const dfx__bench *b, dfx_bench_row *row, int least, dfx__bench_run *run,
                           void *data)
{
    double wall[MAX_RUNS], device[MAX_RUNS], unused;
    int runs = 0;
    DFX__TRY(run(data, &unused)); /* some drivers compile when a kernel is first run */
    DFX__TRY(run(data, &unused));
    double begin = dfx__seconds();
    while (!is_enough(b, least, runs, dfx__seconds() - begin)) {
        if (dfx__interrupted())
            return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
        double start = dfx__seconds();
        DFX__TRY(run(data, &device[runs]));
        wall[runs++] = dfx__seconds() - start;
    }
    row->wall = times_of(wall, runs);
    row->device = times_of(device, runs);
    if (row->wall.median > launches && row->device.median < least_share * row->wall.median)
        row->device = (dfx_bench_times){ 0 };
    const dfx_bench_times *t = row->device.median > 0 ? &row->device : &row->wall;
    row->noisy = t->upper - t->lower > most_spread * t->median;
    return DFX_OK;
}

double dfx__bench_seconds(const dfx_bench_row *row)
{
    return row->device.median > 0 ? row->device.median : row->wall.median;
}

dfx__peak dfx__bench_peak(const dfx__bench *b, dfx_dtype dtype)
{
    dfx__peak kind = dtype == DFX_F16    ? DFX__PEAK_F16
                     : dtype == DFX_BF16 ? DFX__PEAK_BF16
                                         : DFX__PEAK_F32;
    return b->peak[kind] > b->peak[DFX__PEAK_F32] ? kind : DFX__PEAK_F32;
}

/* What the peaks allow: the time of the operations or, if that is longer, of moving the bytes
 * (Williams, Waterman & Patterson 2009). */
static double least_seconds(const dfx__bench *b, const dfx_bench_row *row, dfx__peak kind)
{
    double compute = b->peak[kind] > 0 ? row->flops / b->peak[kind] : 0;
    double memory = b->bandwidth > 0 ? row->bytes / b->bandwidth : 0;
    return fmax(compute, memory);
}

dfx_status dfx__bench_report(const dfx__bench *b, dfx_bench_row *row, dfx__peak kind)
{
    double seconds = dfx__bench_seconds(row);
    row->limit = seconds > 0 ? least_seconds(b, row, kind) / seconds : 0;
    if (b->report(b->user, row) != 0)
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return DFX_OK;
}

const char *dfx_bench_group_name(int group)
{
    static const char *const names[] = { "bandwidth", "flops", "gemm", "conv",
                                         "attention", "ops",   "model" };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (group == 1 << i)
            return names[i];
    return NULL;
}

dfx_status dfx_bench(dfx_device *device, const dfx_bench_options *options,
                     dfx_bench_function *report, void *user)
{
    static const dfx_bench_options defaults = DFX_BENCH_DEFAULT;
    dfx__bench b = {
        .device = device, .options = options ? *options : defaults, .report = report, .user = user
    };
    int groups = b.options.groups ? b.options.groups : DFX_BENCH_ALL;
    if (groups != DFX_BENCH_FLOPS) /* what each of the others is a share of */
        DFX__TRY(dfx__bench_bandwidth(&b, groups & DFX_BENCH_BANDWIDTH));
    if (groups != DFX_BENCH_BANDWIDTH)
        DFX__TRY(dfx__bench_flops(&b, groups & DFX_BENCH_FLOPS));
    for (int group = DFX_BENCH_GEMM; group <= DFX_BENCH_OPS; group *= 2)
        if (groups & group)
            DFX__TRY(dfx__bench_calls(&b, group));
    if (groups & DFX_BENCH_MODEL)
        DFX__TRY(dfx__bench_models(&b));
    return DFX_OK;
}
