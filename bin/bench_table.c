/* bench_table.c - a bench as a table on the terminal. */
#include "bench_table.h"

#include "print.h"

#include <stdio.h>
#include <string.h>

void bench_table_begin(struct bench_table *t, const dfx_device_info *info)
{
    char memory[DFX_BYTES_TEXT], buffer[DFX_BYTES_TEXT];
    *t = (struct bench_table){ 0 };
    printf("%s: %s\n%s, driver %s, %d units, %s of memory, buffers up to %s\n", info->id,
           info->name, info->platform, info->driver, info->units,
           dfx_bytes_text(memory, info->memory), dfx_bytes_text(buffer, info->max_buffer));
}

const char *bench_seconds(char text[SECONDS_TEXT], double seconds)
{
    if (seconds < 1e-3)
        snprintf(text, SECONDS_TEXT, "%.1f us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(text, SECONDS_TEXT, "%.2f ms", seconds * 1e3);
    else
        snprintf(text, SECONDS_TEXT, "%.2f s", seconds);
    return text;
}

static void print_head(int group)
{
    char title[32];
    snprintf(title, sizeof title, "[%s]", dfx_bench_group_name(group));
    if (group == DFX_BENCH_MODEL)
        printf("\n%-14s %-34s %-7s %-4s %10s %10s %8s %9s %9s\n", title, "what", "of", "type",
               "predicted", "measured", "spread", "GFLOP/s", "memory");
    else
        printf("\n%-14s %-34s %-7s %-4s %-14s %10s %8s %9s %8s %8s\n", title, "what", "of", "type",
               "variant", "time", "spread", "GFLOP/s", "GB/s", "of limit");
}

static double seconds_of(const dfx_bench_row *r)
{
    return r->device.median > 0 ? r->device.median : r->wall.median;
}

/* "+-3%": how far the quartiles lie from the median. */
static const char *spread(char text[SECONDS_TEXT], const dfx_bench_row *r)
{
    const dfx_bench_times *t = r->device.median > 0 ? &r->device : &r->wall;
    text[0] = '\0';
    if (t->runs > 1)
        snprintf(text, SECONDS_TEXT, "%s%.0f%%", r->noisy ? "!" : "",
                 50 * (t->upper - t->lower) / t->median);
    return text;
}

static const char *rate(char text[SECONDS_TEXT], double amount, double seconds)
{
    text[0] = '\0';
    if (amount > 0 && seconds > 0)
        snprintf(text, SECONDS_TEXT, "%.*f", amount / seconds < 1e11 ? 1 : 0,
                 amount / seconds * 1e-9);
    return text;
}

static void print_model(const dfx_bench_row *r)
{
    char predicted[SECONDS_TEXT] = "", measured[SECONDS_TEXT] = "", flops[SECONDS_TEXT],
         part[SECONDS_TEXT], memory[DFX_BYTES_TEXT] = "";
    if (r->predicted > 0)
        bench_seconds(predicted, r->predicted);
    if (r->wall.runs)
        bench_seconds(measured, r->wall.median);
    if (r->memory)
        dfx_bytes_text(memory, r->memory);
    printf("%-14s %-34s %-7s %-4s %10s %10s %8s %9s %9s\n", r->name, r->shape, r->model, r->dtype,
           predicted, measured, spread(part, r), rate(flops, r->flops, seconds_of(r)), memory);
}

static void print_call(const dfx_bench_row *r)
{
    char seconds[SECONDS_TEXT], part[SECONDS_TEXT], flops[SECONDS_TEXT], bytes[SECONDS_TEXT],
        limit[SECONDS_TEXT] = "";
    double s = seconds_of(r);
    if (r->limit > 0 && r->group >= DFX_BENCH_GEMM)
        snprintf(limit, sizeof limit, "%.0f%%", 100 * r->limit);
    printf("%-14s %-34s %-7s %-4s %-14s %10s %8s %9s %8s %8s\n", r->name, r->shape, r->model,
           r->dtype, r->variant, bench_seconds(seconds, s), spread(part, r),
           rate(flops, r->flops, s), rate(bytes, r->bytes, s), limit);
}

void bench_table_row(struct bench_table *t, const dfx_bench_row *r)
{
    if (r->group != t->group)
        print_head(r->group);
    t->group = r->group;
    t->rows++;
    t->noisy += r->noisy;
    if (r->group == DFX_BENCH_MODEL)
        print_model(r);
    else
        print_call(r);
    fflush(stdout);
}

void bench_table_end(const struct bench_table *t)
{
    printf("\ntime: median; spread: half the distance of its quartiles; of limit: what this "
           "device's\npeaks above allow (roofline), over 100%% where Winograd's convolutions "
           "multiply less.\n");
    if (t->noisy * 4 > t->rows)
        printf("This machine is too noisy to trust: %d of %d figures vary too much (!). Close "
               "other\nprograms and measure again.\n",
               t->noisy, t->rows);
    else if (t->noisy)
        printf("%d of %d figures vary too much to be trusted (!).\n", t->noisy, t->rows);
}
