/* bandwidth.c - launches, transfers between host and device, global and local memory. */
#include "bench/kernel.h"

#include "core/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a float4, and of what is moved: more than caches hold; less on a slow device. */
enum { LINE = 16, MOVED = 256 << 20, MOVED_QUICK = 64 << 20, LAUNCHES = 100, LOCAL_ROUNDS = 4096 };

/* Work-items of a group: enough for a GPU to hide latency; on a CPU a group is a loop. */
static int group_of(const dfx_device *d)
{
    return d->info.max_group < 256 ? (int)d->info.max_group : 256;
}

struct memory {
    dfx__bench *b;
    int reports;
    size_t bytes; /* of each buffer */
    dfx__buffer *x, *y;
    void *host;
};

static dfx_status report(const struct memory *m, dfx_bench_row *row)
{
    return m->reports ? dfx__bench_report(m->b, row, DFX__PEAK_F32) : DFX_OK;
}

static dfx_bench_row row_of(const char *name, const char *shape, double bytes)
{
    return (dfx_bench_row){ .group = DFX_BENCH_BANDWIDTH,
                            .name = name,
                            .shape = shape,
                            .model = "",
                            .variant = "",
                            .dtype = "f32",
                            .bytes = bytes };
}

/* ---- launches ---- */

static void do_nothing(void *data)
{
    (void)data;
}

/* A run is a hundred launches: threads and clocks need a while to wake up. */
static dfx_status run_begun(void *data, double *seconds)
{
    const dfx__bench_kernel *k = data;
    *seconds = 0;
    for (int i = 0; i < LAUNCHES; i++) {
        dfx__device_time t;
        DFX__TRY(k->device->class->time(&t, k->prepared));
        *seconds += t.waited;
    }
    return DFX_OK;
}

static dfx_status run_alone(void *data, double *seconds)
{
    const dfx__bench_kernel *k = data;
    *seconds = 0;
    for (int i = 0; i < LAUNCHES; i++) {
        DFX__TRY(k->device->class->enqueue(k->prepared));
        DFX__TRY(k->device->class->finish(k->device));
    }
    return DFX_OK;
}

static dfx_status run_together(void *data, double *seconds)
{
    const dfx__bench_kernel *k = data;
    *seconds = 0;
    for (int i = 0; i < LAUNCHES; i++)
        DFX__TRY(k->device->class->enqueue(k->prepared));
    return k->device->class->finish(k->device);
}

/* Until it begins by the device's clock, which others call the launch latency; alone and waited
 * for; one after the other, which is what a model does. */
static const struct {
    const char *shape;
    dfx__bench_run *run;
    int by_device;
} launches[] = {
    { "until it begins", run_begun, 1 },
    { "alone", run_alone, 0 },
    { "of 100", run_together, 0 },
};

static void divide(dfx_bench_times *t, int by)
{
    double *seconds[] = { &t->median, &t->least, &t->most, &t->lower, &t->upper, &t->sum };
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        *seconds[i] /= by;
}

static dfx_status open_nothing(dfx__bench_kernel *k, const struct memory *m)
{
    dfx_device *d = m->b->device;
    int group = group_of(d);
    dfx__bench_launch l = { .program = "bench_memory",
                            .name = "bench_nothing",
                            .group = group,
                            .groups = 1,
                            .buffer = { m->y } };
    snprintf(l.options, sizeof l.options, "-DDTYPE=0 -DGROUP=%d -DV=float4 -DLAST4=s0123", group);
    return d->is_native ? dfx__bench_host_open(k, d, do_nothing, NULL)
                        : dfx__bench_kernel_open(k, d, &l);
}

static dfx_status time_launches(struct memory *m)
{
    dfx__bench_kernel k;
    dfx_status status = open_nothing(&k, m);
    for (size_t i = 0; i < sizeof launches / sizeof *launches && status == DFX_OK; i++) {
        dfx_bench_row row = row_of("launch", launches[i].shape, 0);
        status = dfx__bench_time(m->b, &row, 0, launches[i].run, &k);
        divide(&row.wall, LAUNCHES);
        divide(&row.device, LAUNCHES);
        if (status == DFX_OK && (!launches[i].by_device || row.device.median > 0))
            status = report(m, &row);
    }
    dfx__bench_kernel_close(&k);
    return status;
}

/* ---- transfers ---- */

static dfx_status run_upload(void *data, double *seconds)
{
    struct memory *m = data;
    *seconds = 0;
    return m->y->device->class->write(m->y, 0, m->host, m->bytes);
}

static dfx_status run_download(void *data, double *seconds)
{
    struct memory *m = data;
    *seconds = 0;
    return m->y->device->class->read(m->y, 0, m->host, m->bytes);
}

static dfx_status time_transfers(struct memory *m)
{
    dfx_bench_row up = row_of("transfer", "to the device", (double)m->bytes);
    dfx_bench_row down = row_of("transfer", "from the device", (double)m->bytes);
    m->host = dfx__alloc(m->bytes, 1);
    if (!m->host)
        return dfx__no_memory();
    memset(m->host, 0, m->bytes);
    dfx_status status = dfx__bench_time(m->b, &up, 0, run_upload, m);
    if (status == DFX_OK)
        status = dfx__bench_time(m->b, &down, 0, run_download, m);
    free(m->host);
    m->host = NULL;
    DFX__TRY(status);
    DFX__TRY(report(m, &up));
    return report(m, &down);
}

/* ---- global memory ---- */

enum { READ, WRITE, COPY, WAYS };

static const struct {
    const char *name, *kernel;
} ways[WAYS] = {
    [READ] = { "read", "bench_read" },
    [WRITE] = { "write", "bench_write" },
    [COPY] = { "copy", "bench_copy" },
};

struct host_move {
    const struct memory *m;
    int way;
};

typedef float line16 __attribute__((vector_size(64)));

static void move_on_host(void *data)
{
    const struct host_move *move = data;
    const line16 *x = move->m->x->host;
    line16 *y = move->m->y->host;
    int64_t lines = (int64_t)(move->m->bytes / sizeof *x);
    int way = move->way;
    float found = 0;
#pragma omp parallel reduction(+ : found)
    {
        line16 sum[4] = { 0 };
#pragma omp for schedule(static)
        for (int64_t i = 0; i < lines / 4; i++)
            for (int k = 0; k < 4; k++) {
                if (way == READ)
                    sum[k] += x[4 * i + k];
                else
                    y[4 * i + k] = way == COPY ? x[4 * i + k] : (line16){ 0 };
            }
        line16 all = sum[0] + sum[1] + sum[2] + sum[3];
        for (int k = 0; k < 16; k++)
            found += all[k];
    }
    if (found != 0) /* it is 0 */
        y[0][0] = found;
}

/* On a GPU work-items side by side hide the memory's latency; on a CPU each core goes along its own
 * memory. */
static dfx_status open_move(dfx__bench_kernel *k, const struct host_move *move)
{
    const struct memory *m = move->m;
    dfx_device *d = m->b->device;
    int is_cpu = d->info.is_cpu, group = is_cpu ? 1 : group_of(d), rounds = is_cpu ? 4096 : 64;
    size_t line = is_cpu ? sizeof(line16) : 4 * sizeof(float);
    if (d->is_native)
        return dfx__bench_host_open(k, d, move_on_host, (void *)move);
    dfx__bench_launch l = { .program = "bench_memory",
                            .name = ways[move->way].kernel,
                            .group = group,
                            .groups = (int)(m->bytes / line / (size_t)group / (size_t)rounds),
                            .buffer = { move->way == WRITE ? m->y : m->x,
                                        move->way == WRITE ? NULL : m->y },
                            .floats = move->way == WRITE,
                            .ints = 1,
                            .rounds = rounds };
    snprintf(l.options, sizeof l.options, "-DDTYPE=0 -DGROUP=%d %s", group,
             is_cpu ? "-DV=float16 -DLAST4=scdef" : "-DV=float4 -DLAST4=s0123");
    return dfx__bench_kernel_open(k, d, &l);
}

static dfx_status time_moves(struct memory *m)
{
    for (int way = 0; way < WAYS; way++) {
        dfx__bench_kernel k;
        struct host_move move = { m, way };
        double moved = way == COPY ? 2 : 1;
        dfx_bench_row row = row_of(ways[way].name, "global memory", moved * (double)m->bytes);
        DFX__TRY(open_move(&k, &move));
        dfx_status status = dfx__bench_time(m->b, &row, 0, dfx__bench_kernel_run, &k);
        dfx__bench_kernel_close(&k);
        DFX__TRY(status);
        double rate = row.bytes / dfx__bench_seconds(&row);
        if (rate > m->b->bandwidth)
            m->b->bandwidth = rate;
        DFX__TRY(report(m, &row));
    }
    return DFX_OK;
}

/* ---- local memory ---- */

static dfx_status time_local(struct memory *m)
{
    dfx_device *d = m->b->device;
    int group = group_of(d), groups = 8 * d->info.units;
    dfx__bench_kernel k;
    dfx__bench_launch l = { .program = "bench_memory",
                            .name = "bench_local",
                            .group = group,
                            .groups = groups,
                            .buffer = { m->y },
                            .ints = 1,
                            .rounds = LOCAL_ROUNDS };
    if (d->is_native || !m->reports) /* a CPU has none but its caches */
        return DFX_OK;
    snprintf(l.options, sizeof l.options, "-DDTYPE=0 -DGROUP=%d -DV=float4 -DLAST4=s0123", group);
    DFX__TRY(dfx__bench_kernel_open(&k, d, &l));
    dfx_bench_row row = row_of("read", "local memory", 0);
    dfx_status status = dfx__bench_time(m->b, &row, 0, dfx__bench_kernel_run, &k);
    dfx__bench_kernel_close(&k);
    DFX__TRY(status);
    row.bytes = (double)LOCAL_ROUNDS * LINE * group * groups;
    if (m->b->report(m->b->user, &row) != 0)
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return DFX_OK;
}

dfx_status dfx__bench_bandwidth(dfx__bench *b, int reports)
{
    const dfx_device_info *info = &b->device->info;
    struct memory m = { .b = b, .reports = reports };
    m.bytes = b->options.quick ? MOVED_QUICK : MOVED;
    while (m.bytes > info->max_buffer || 4 * m.bytes > info->memory)
        m.bytes /= 2;
    dfx_status status = dfx__bench_buffer(&m.x, b->device, m.bytes);
    if (status == DFX_OK)
        status = dfx__bench_buffer(&m.y, b->device, m.bytes);
    if (status == DFX_OK && reports)
        status = time_launches(&m);
    if (status == DFX_OK && reports)
        status = time_transfers(&m);
    if (status == DFX_OK)
        status = time_moves(&m);
    if (status == DFX_OK)
        status = time_local(&m);
    dfx__buffer_free(m.x);
    dfx__buffer_free(m.y);
    return status;
}
