/* dfx_bench.c - the device benchmarking tool. */
#include "bench_record.h"
#include "bench_table.h"
#include "bench_tune.h"
#include "cmd.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char cmd_program[] = "dfx-bench";

struct settings {
    const char *device, *dtype, *json, *only, *compare, *with, *plot;
    const char *budget, *import_path, *export_path;
    int quick, tune;
};

static const struct settings defaults = { .dtype = "f32" };

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "device", OPTION_STRING, AT(device), "D",
      "opencl, opencl:N, cpu, auto, or all: one after the other", 0, 0 },
    { "dtype", OPTION_STRING, AT(dtype), "T", "f32, f16 or bf16 of calls and models (f32)", 0, 0 },
    { "quick", OPTION_FLAG, AT(quick), NULL, "fewer shapes and runs; models are predicted, not run",
      0, 0 },
    { "only", OPTION_STRING, AT(only), "GROUPS",
      "some of bandwidth,flops,gemm,conv,attention,ops,model", 0, 0 },
    { "json", OPTION_STRING, AT(json), "F.json", "write the record; - : to standard output alone",
      0, 0 },
    { "plot", OPTION_STRING, AT(plot), "F.svg", "draw the calls under this device's limits", 0, 0 },
    { "compare", OPTION_STRING, AT(compare), "A.json",
      "print this record beside B.json, with ratios; nothing is measured", 0, 0 },
    { "tune", OPTION_FLAG, AT(tune), NULL,
      "search what is fastest on the device instead: CLBlast's parameters\nand the ways of models' "
      "calls; later runs of every program use it",
      0, 0 },
    { "budget", OPTION_STRING, AT(budget), "TIME", "of --tune: 90s, 5m, 1h (5m)", 0, 0 },
    { "import", OPTION_STRING, AT(import_path), "F.json",
      "take over what --export wrote for such a device, after a check", 0, 0 },
    { "export", OPTION_STRING, AT(export_path), "F.json",
      "write what --tune found for others with such a device", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "B.json", AT(with), 0, "the second record of --compare" },
    { .name = NULL },
};
#undef AT

/* "gemm,conv" to DFX_BENCH_...; -1 where a name is none of them. */
static int read_groups(const char *text)
{
    int groups = 0;
    while (text && *text) {
        size_t n = strcspn(text, ",");
        int found = 0;
        for (int g = 1; g <= DFX_BENCH_ALL; g *= 2) {
            const char *name = dfx_bench_group_name(g);
            if (name && strlen(name) == n && strncmp(name, text, n) == 0)
                found = g;
        }
        if (!found)
            return -1;
        groups |= found;
        text += n + (text[n] == ',');
    }
    return groups;
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Where the rows of a device go. */
struct report {
    int prints;
    struct bench_table table;
    json_object *device;
};

static int report_row(void *user, const dfx_bench_row *r)
{
    struct report *report = user;
    if (report->prints)
        bench_table_row(&report->table, r);
    bench_record_row(report->device, r);
    return 0;
}

/* What is done with all devices. */
struct job {
    const struct settings *s;
    dfx_bench_options bench;
    json_object *record;
    int prints;
    struct tuning tuning;
    int tunes; /* and measures nothing */
};

static int run_device(struct job *job, const char *name)
{
    dfx_device *device;
    struct report report = { .prints = job->prints };
    dfx_status status = dfx_device_open(&device, name);
    if (status != DFX_OK)
        return cmd_fail(status);
    if (job->tunes) {
        int code = bench_tune(&job->tuning, device);
        dfx_device_free(device);
        return code;
    }
    const dfx_device_info *info = dfx_device_get_info(device);
    if (report.prints)
        bench_table_begin(&report.table, info);
    report.device =
        bench_record_device(job->record, info, dfx_dtype_name(job->bench.dtype), job->bench.quick);
    status = dfx_bench(device, &job->bench, report_row, &report);
    if (report.prints)
        bench_table_end(&report.table);
    dfx_device_free(device);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

static int run_all(struct job *job)
{
    dfx_device_info *list;
    int count, code = EXIT_DONE;
    dfx_status status = dfx_device_list(&list, &count);
    if (status != DFX_OK)
        return cmd_fail(status);
    for (int i = 0; i < count && code != EXIT_INTERRUPTED; i++)
        if (list[i].usable) {
            int one = run_device(job, list[i].id);
            code = one == EXIT_DONE ? code : one;
            if (job->prints && i + 1 < count)
                putchar('\n');
        }
    dfx_device_list_free(list);
    return code;
}

/* What was measured before an interrupt is written too. */
static int measure(struct job *job)
{
    const struct settings *s = job->s;
    const char *name = cmd_default(s->device, "DFX_DEVICE");
    int code = name && strcmp(name, "all") == 0 ? run_all(job) : run_device(job, name);
    if (code != EXIT_DONE && code != EXIT_INTERRUPTED)
        return code;
    int written = s->json ? bench_record_write(job->record, s->json) : EXIT_DONE;
    if (written == EXIT_DONE && s->plot && code == EXIT_DONE)
        written = bench_plot(job->record, s->plot);
    return code == EXIT_DONE ? written : code;
}

/* Reads what belongs to tuning; nothing else is done then. */
static int read_tuning(struct job *job)
{
    const struct settings *s = job->s;
    const char *device = cmd_default(s->device, "DFX_DEVICE");
    job->tuning = (struct tuning){ s->import_path, s->export_path, 0, job->bench.dtype };
    job->tunes = s->tune || s->import_path || s->export_path;
    if (s->budget && !s->tune)
        return cmd_fail_with(EXIT_USAGE, "--budget is for --tune");
    if (s->tune)
        job->tuning.budget = bench_tune_read_time(s->budget ? s->budget : "5m");
    if (s->tune && !(job->tuning.budget > 0))
        return cmd_fail_with(EXIT_USAGE, "--budget: \"%s\" must be a time such as 5m", s->budget);
    if (job->tunes && (s->quick || s->only || s->json || s->plot))
        return cmd_fail_with(EXIT_USAGE,
                             "--tune, --import and --export measure nothing else: leave "
                             "out --quick, --only, --json and --plot");
    if ((s->import_path || s->export_path) && device && strcmp(device, "all") == 0)
        return cmd_fail_with(EXIT_USAGE, "--import and --export are of one device, not all");
    return s->export_path ? output_check(s->export_path) : EXIT_DONE;
}

static int run(void *settings)
{
    const struct settings *s = settings;
    struct job job = { .s = s };
    if (s->compare)
        return s->with ? bench_compare(s->compare, s->with)
                       : cmd_fail_with(EXIT_USAGE, "--compare needs two records");
    if (s->with)
        return cmd_fail_with(EXIT_USAGE, "%s: only --compare takes a second record", s->with);
    job.bench = (dfx_bench_options){ read_groups(s->only), s->quick, DFX_F32 };
    if (job.bench.groups < 0)
        return cmd_fail_with(EXIT_USAGE,
                             "--only: \"%s\" must be some of bandwidth,flops,gemm,conv,"
                             "attention,ops,model",
                             s->only);
    if (dfx_dtype_parse(&job.bench.dtype, s->dtype) != DFX_OK ||
        (job.bench.dtype != DFX_F32 && job.bench.dtype != DFX_F16 && job.bench.dtype != DFX_BF16))
        return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16 or bf16", s->dtype);
    int peaks = DFX_BENCH_BANDWIDTH | DFX_BENCH_FLOPS;
    if (s->plot && job.bench.groups && (job.bench.groups & peaks) != peaks)
        return cmd_fail_with(EXIT_USAGE, "--plot needs the groups bandwidth and flops");
    if (s->plot && !ends_with(s->plot, ".svg"))
        return cmd_fail_with(EXIT_USAGE, "--plot: \"%s\" must end with .svg", s->plot);
    const char *const paths[] = { s->json, s->plot };
    for (int i = 0; i < 2; i++)
        if (paths[i] && output_check(paths[i]) != EXIT_DONE)
            return EXIT_FAILED;
    int code = read_tuning(&job);
    if (code != EXIT_DONE)
        return code;
    job.prints = !s->json || strcmp(s->json, "-") != 0;
    job.record = bench_record_new();
    cmd_catch_interrupt();
    code = measure(&job);
    json_object_put(job.record);
    return code;
}

static const struct command command = {
    .name = "",
    .summary = "Measures what a device can do, and what diffusion models do on it.",
    .example = "  dfx-bench --quick\n"
               "  dfx-bench --device all --json here.json --plot here.svg\n"
               "  dfx-bench --compare here.json there.json\n"
               "  dfx-bench --tune --budget 10m --device opencl\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};

int main(int argc, char **argv)
{
    cmd_begin(argv);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("dfx-bench %s\n", dfx_version());
        return cmd_end(EXIT_DONE);
    }
    return cmd_end(cmd_run(&command, argc - 1, argv + 1));
}
