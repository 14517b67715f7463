/* bench_tune.c - a search as it goes on stderr, and its results as a table. */
#include "bench_tune.h"

#include "bench_table.h"
#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double bench_tune_read_time(const char *text)
{
    char *end;
    double number = strtod(text, &end);
    double unit = *end == 's' || !*end ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 0;
    return number > 0 && number < 1e6 && (!*end || !end[1]) ? number * unit : 0;
}

/* What stands on the terminal now, and what was last said where there is none. */
struct view {
    int terminal, shown, rows;
    double best;
};

static void clear(struct view *v)
{
    if (v->shown)
        fputs("\r\033[K", stderr);
    v->shown = 0;
}

static void print_head(void)
{
    printf("\n%-14s %10s %10s %7s %6s %6s  %s\n", "", "before", "now", "faster", "tried", "wrong",
           "the best");
}

static void print_row(const dfx_tune_row *r)
{
    char before[SECONDS_TEXT], now[SECONDS_TEXT];
    print_column(r->what, 14);
    printf("%10s %10s %6.2fx %6d %6d  ", bench_seconds(before, r->before),
           bench_seconds(now, r->seconds), r->before / r->seconds, r->tried, r->wrong);
    print_text(*r->best ? r->best : "CLBlast's own parameters", 0);
    printf("  [");
    print_text(r->shape, 0);
    printf("]\n");
}

/* Lines without a terminal are for what is new. */
static void print_progress(struct view *v, const dfx_tune_row *r)
{
    char now[SECONDS_TEXT];
    if (!v->terminal && r->seconds == v->best)
        return;
    v->best = r->seconds;
    clear(v);
    fprintf(stderr, "%s: %d tried, %s, %.2f times as fast as before (%.0f of %.0f s)%s", r->what,
            r->tried, bench_seconds(now, r->seconds), r->before / r->seconds, r->spent, r->budget,
            v->terminal ? "" : "\n");
    v->shown = v->terminal;
}

static int show(void *user, const dfx_tune_row *r)
{
    struct view *v = user;
    if (!r->done) {
        print_progress(v, r);
        return cmd_interrupted();
    }
    clear(v);
    if (v->rows++ == 0)
        print_head();
    print_row(r);
    fflush(stdout);
    return cmd_interrupted();
}

static int search(const struct tuning *t, dfx_device *device)
{
    struct view v = { .terminal = isatty(STDERR_FILENO) };
    const dfx_device_info *info = dfx_device_get_info(device);
    printf("%s: %s\n%s, driver %s\n", info->id, info->name, info->platform, info->driver);
    dfx_status status = dfx_tune(device, t->dtype, t->budget, show, &v);
    clear(&v);
    if (status == DFX_OK)
        return EXIT_DONE;
    int code = cmd_fail(status);
    if (status == DFX_ERROR_INTERRUPTED)
        fprintf(stderr, "%s: the best so far is kept; --tune goes on from there\n", cmd_program);
    return code;
}

int bench_tune(const struct tuning *t, dfx_device *device)
{
    int code = EXIT_DONE, kernels, calls;
    if (t->import_path) {
        dfx_status status = dfx_tune_import(device, t->import_path, &kernels, &calls);
        if (status != DFX_OK)
            return cmd_fail(status);
        printf("%s: parameters of %d kernels and times of %d calls taken over\n", t->import_path,
               kernels, calls);
    }
    if (t->budget > 0)
        code = search(t, device);
    if (t->export_path && (code == EXIT_DONE || code == EXIT_INTERRUPTED)) {
        dfx_status status = dfx_tune_export(device, t->export_path);
        if (status != DFX_OK)
            return cmd_fail(status);
    }
    return code;
}
