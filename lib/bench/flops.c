/* flops.c - multiply-adds in registers: what a device can do at most. */
#include "bench/kernel.h"

#include "device/cpu_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 8, GROUP = 256, K = 256, WARP = 32 };

/* A way to multiply and add, and the operations of one step of a work-item's chain. */
struct way {
    dfx__peak kind;
    const char *dtype, *options;
    double step;
    int feature; /* a dfx__feature that it needs; -1: none */
};

static const struct way ways[] = {
    { DFX__PEAK_F32, "f32", "-DKIND=0 -DWIDTH=1", 2, -1 },
    { DFX__PEAK_F32, "f32", "-DKIND=0 -DWIDTH=4", 8, -1 },
    { DFX__PEAK_F32, "f32", "-DKIND=0 -DWIDTH=8", 16, -1 },
    { DFX__PEAK_F32, "f32", "-DKIND=0 -DWIDTH=16", 32, -1 },
    { DFX__PEAK_F16, "f16", "-DKIND=1 -DWIDTH=2", 4, -1 },
    { DFX__PEAK_F16, "f16", "-DKIND=1 -DWIDTH=8", 16, -1 },
    { DFX__PEAK_F16, "f16", "-DKIND=1 -DWIDTH=16", 32, -1 },
    { DFX__PEAK_F16, "f16", "-DDTYPE=1 -DMMA", 2.0 * 16 * 8 * 16 / WARP, DFX__TENSOR_CORES },
    { DFX__PEAK_BF16, "bf16", "-DDTYPE=2 -DROWS=8 -DPAIRS", 64, DFX__PAIRS },
    { DFX__PEAK_BF16, "bf16", "-DDTYPE=2 -DMMA", 2.0 * 16 * 8 * 16 / WARP, DFX__TENSOR_CORES },
    { DFX__PEAK_INT8, "int8", "-DKIND=2 -DWIDTH=4", 8, -1 },
    { DFX__PEAK_INT8, "int8", "-DKIND=2 -DWIDTH=16", 32, -1 },
};
enum { WAYS = sizeof ways / sizeof *ways };

static dfx_bench_row row_of(const struct way *way, double flops)
{
    return (dfx_bench_row){ .group = DFX_BENCH_FLOPS,
                            .name = "multiply-add",
                            .shape = "in registers",
                            .model = "",
                            .variant = "",
                            .dtype = way->dtype,
                            .flops = flops };
}

/* The best way of each kind. */
struct peaks {
    dfx__bench *b;
    dfx_bench_row best[DFX__PEAKS];
};

static void keep_better(struct peaks *p, dfx__peak kind, const dfx_bench_row *row)
{
    double rate = row->flops / dfx__bench_seconds(row);
    if (rate <= p->b->peak[kind])
        return;
    p->b->peak[kind] = rate;
    p->best[kind] = *row;
}

/* ---- OpenCL ---- */

static int can(dfx_device *d, const struct way *way)
{
    if (way->feature >= 0)
        return dfx__has(d, (dfx__feature)way->feature);
    return way->kind != DFX__PEAK_F16 || d->info.has_f16;
}

static dfx_status time_way(struct peaks *p, const struct way *way, dfx__buffer *y)
{
    dfx_device *d = p->b->device;
    int largest = d->info.max_group < GROUP ? (int)d->info.max_group : GROUP;
    int group = d->info.is_cpu ? 1 : largest, rounds = d->info.is_cpu ? 1 << 20 : 1 << 12;
    dfx__bench_kernel k;
    dfx__bench_launch l = { .program = "bench_flops",
                            .name = "bench_multiply_add",
                            .group = group,
                            .groups = (int)(y->bytes / sizeof(float)) / group,
                            .buffer = { y },
                            .floats = 1,
                            .ints = 1,
                            .number = 0.999f,
                            .rounds = rounds };
    const char *dtype = way->feature >= 0 ? "" : "-DDTYPE=0 ";
    snprintf(l.options, sizeof l.options, "%s-DGROUP=%d %s", dtype, group, way->options);
    DFX__TRY(dfx__bench_kernel_open(&k, d, &l));
    dfx_bench_row row = row_of(way, way->step * CHAINS * rounds * (double)l.groups * group);
    dfx_status status = dfx__bench_time(p->b, &row, 0, dfx__bench_kernel_run, &k);
    dfx__bench_kernel_close(&k);
    if (status == DFX_OK)
        keep_better(p, way->kind, &row);
    return status;
}

static dfx_status time_kernels(struct peaks *p)
{
    dfx_device *d = p->b->device;
    size_t items = (size_t)d->info.units * (d->info.is_cpu ? 4 : 32 * GROUP);
    dfx__buffer *y;
    DFX__TRY(dfx__bench_buffer(&y, d, items * sizeof(float)));
    dfx_status status = DFX_OK;
    for (int i = 0; i < WAYS && status != DFX_ERROR_INTERRUPTED; i++) {
        if (!can(d, &ways[i]))
            continue;
        status = time_way(p, &ways[i], y);
        if (status != DFX_OK && status != DFX_ERROR_INTERRUPTED)
            dfx__log("%s multiply-adds (%s): %s", ways[i].dtype, ways[i].options, dfx_error());
    }
    dfx__buffer_free(y);
    return status == DFX_ERROR_INTERRUPTED ? status : DFX_OK;
}

/* ---- native CPU ---- */

/* Products of a tile that stays in the first cache, which is what all larger ones are made of. */
struct tiles {
    int64_t count;
    int pairs;
};

static void run_tiles(void *data)
{
    static const float zeros[K * DFX__TILE_COLUMNS];
    const struct tiles *t = data;
    const struct dfx__cpu_kernels *cpu = dfx__cpu_kernels();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t->count; i++) {
        float acc[DFX__TILE_ROWS * DFX__TILE_COLUMNS] = { 0 };
        const float *row[DFX__TILE_ROWS];
        const uint16_t *pair_row[DFX__TILE_ROWS];
        for (int r = 0; r < DFX__TILE_ROWS; r++) {
            row[r] = zeros;
            pair_row[r] = (const uint16_t *)zeros;
        }
        if (t->pairs)
            cpu->tile_pairs(acc, NULL, pair_row, (const uint16_t *)zeros, K / 2);
        else
            cpu->tile(acc, NULL, row, zeros, K);
    }
}

static dfx_status time_tiles(struct peaks *p, dfx__peak kind)
{
    const struct dfx__cpu_kernels *cpu = dfx__cpu_kernels();
    struct tiles t = { 4096 * (int64_t)p->b->device->info.units, kind == DFX__PEAK_BF16 };
    const struct way way = { kind, t.pairs ? "bf16" : "f32", "", 0, -1 };
    dfx__bench_kernel k;
    if (t.pairs && !cpu->tile_pairs)
        return DFX_OK;
    DFX__TRY(dfx__bench_host_open(&k, p->b->device, run_tiles, &t));
    dfx_bench_row row = row_of(&way, 2.0 * K * cpu->rows * DFX__TILE_COLUMNS * (double)t.count);
    dfx_status status = dfx__bench_time(p->b, &row, 0, dfx__bench_kernel_run, &k);
    dfx__bench_kernel_close(&k);
    if (status == DFX_OK)
        keep_better(p, kind, &row);
    return status;
}

dfx_status dfx__bench_flops(dfx__bench *b, int reports)
{
    struct peaks p = { .b = b };
    if (b->device->is_native) {
        DFX__TRY(time_tiles(&p, DFX__PEAK_F32));
        DFX__TRY(time_tiles(&p, DFX__PEAK_BF16));
    } else {
        DFX__TRY(time_kernels(&p));
    }
    for (int kind = 0; reports && kind < DFX__PEAKS; kind++)
        if (b->peak[kind] > 0)
            DFX__TRY(dfx__bench_report(b, &p.best[kind], (dfx__peak)kind));
    return DFX_OK;
}
