/* bench_model.c - times one component of a model, prepared once, run many times; prints JSON. */
#include "bench/component.h"
#include "core/dtype.h"
#include "core/memory.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_ROUNDS = 1000, MAX_SIZE = 8192, MAX_BATCH = 64 };

static const char help[] =
    "usage: bench_model [options] MODEL/COMPONENT\n"
    "Times a UNet's step, an AutoencoderKL's decoding or a CLIP text encoder on random inputs.\n"
    "A step is one after the first: what follows from the prompt alone is kept from that.\n"
    "  --device D    cpu, opencl, opencl:N or auto\n"
    "  --dtype T     f32, f16 or bf16 (f32)\n"
    "  --size N      side of the picture in pixels (512)\n"
    "  --batch N     pictures or prompts (1)\n"
    "  --rounds N    timed runs, after one that is not counted (3)\n"
    "  --profile     one more run, by operator: each call is waited for\n"
    "  --wait        print a line after the uncounted run, then for each line on standard\n"
    "                input, in place of --rounds, run once and print its seconds\n"
    "The last line is the result: times in seconds, memory in bytes.\n";

struct bench {
    const char *folder, *device_name, *part;
    dfx_dtype dtype;
    int size, batch, rounds, wait, profile;
    dfx_device *device;
    dfx_model *model;
    dfx_sequence *s;
    double open, prepare; /* seconds */
    double run[MAX_ROUNDS];
    int runs;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dfx_status start(struct bench *b)
{
    double begin = now();
    DFX__TRY(dfx_device_open(&b->device, b->device_name));
    DFX__TRY(dfx_model_open(&b->model, b->folder));
    b->open = now() - begin;
    begin = now();
    DFX__TRY(dfx_sequence_new(&b->s, b->device, b->dtype));
    DFX__TRY(dfx__bench_record(b->s, b->model, b->size, b->batch, &b->part));
    DFX__TRY(dfx_sequence_prepare(b->s));
    b->prepare = now() - begin;
    return dfx__bench_fill(b->s);
}

static dfx_status run_once(struct bench *b, double *seconds)
{
    double begin = now();
    DFX__TRY(dfx_sequence_run(b->s));
    *seconds = now() - begin;
    if (b->wait) {
        printf("{\"seconds\": %.6f}\n", *seconds);
        fflush(stdout);
    }
    return DFX_OK;
}

/* Whether to run again: with --wait, when a line comes. */
static int wait_turn(const struct bench *b)
{
    char line[64];
    return !b->wait || fgets(line, sizeof line, stdin) != NULL;
}

static dfx_status run_rounds(struct bench *b)
{
    double warm_up;
    DFX__TRY(run_once(b, &warm_up));
    for (; b->runs < b->rounds && wait_turn(b); b->runs++)
        DFX__TRY(run_once(b, &b->run[b->runs]));
    return DFX_OK;
}

/* Sums over the calls of one operator and variant. */
struct row {
    const dfx_op *op;
    const dfx__variant *variant;
    int calls;
    double seconds, flops, bytes;
};

static int slower_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void add_call(struct row *r, const dfx_call *c)
{
    r->calls++;
    r->seconds += c->seconds;
    r->flops += dfx__call_flops(c);
    r->bytes += (double)dfx__spec_bytes(&c->out->spec);
    for (int i = 0; i < DFX__MAX_INPUTS; i++)
        if (c->in[i])
            r->bytes += (double)dfx__spec_bytes(&c->in[i]->spec);
}

static int sum_rows(struct row *row, const dfx_sequence *s)
{
    int rows = 0;
    for (int k = 0; k < s->calls; k++) {
        const dfx_call *c = s->call[k];
        int r = 0;
        if (!c->runs)
            continue;
        while (r < rows && (row[r].op != c->op || row[r].variant != c->variant))
            r++;
        if (r == rows)
            row[rows++] = (struct row){ .op = c->op, .variant = c->variant };
        add_call(&row[r], c);
    }
    qsort(row, (size_t)rows, sizeof *row, slower_first);
    return rows;
}

/* Runs once more with a clock at each call that is run. gbytes_per_s counts inputs and output once
 * each. */
static dfx_status print_profile(dfx_sequence *s)
{
    struct row *row = dfx__alloc((size_t)s->calls, sizeof *row);
    if (!row)
        return dfx__no_memory();
    int timed = s->time;
    for (int k = 0; k < s->calls; k++)
        s->call[k]->seconds = s->call[k]->runs = 0;
    s->time = 1;
    dfx_status status = dfx_sequence_run(s);
    s->time = timed;
    int rows = sum_rows(row, s);
    printf(", \"operators\": [");
    for (int r = 0; r < rows && status == DFX_OK; r++)
        printf("%s{\"op\": \"%s\", \"variant\": \"%s\", \"calls\": %d, \"seconds\": %.6f, "
               "\"gflops\": %.3f, \"gbytes_per_s\": %.3f}",
               r ? ", " : "", row[r].op->name, row[r].variant->name, row[r].calls, row[r].seconds,
               1e-9 * row[r].flops / row[r].seconds, 1e-9 * row[r].bytes / row[r].seconds);
    printf("]");
    free(row);
    return status;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static dfx_status print_result(struct bench *b)
{
    dfx_sequence_info info;
    struct rusage usage;
    DFX__TRY(dfx_sequence_get_info(b->s, &info));
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"part\": \"%s\", \"device\": \"%s\", \"dtype\": \"%s\", \"size\": %d, "
           "\"batch\": %d, \"seconds_open\": %.4f, \"seconds_prepare\": %.4f",
           b->part, dfx_device_get_info(b->device)->id, dfx_dtype_name(b->dtype), b->size, b->batch,
           b->open, b->prepare);
    if (b->runs) {
        qsort(b->run, (size_t)b->runs, sizeof *b->run, ascending);
        double median = (b->run[(b->runs - 1) / 2] + b->run[b->runs / 2]) / 2;
        printf(", \"seconds_best\": %.6f, \"seconds_median\": %.6f, \"gflops\": %.3f", b->run[0],
               median, 1e-9 * info.flops / b->run[0]);
    }
    printf(", \"flops\": %.0f, \"peak_bytes\": %lld, \"device_bytes\": %llu", info.flops,
           (long long)usage.ru_maxrss * 1024,
           (unsigned long long)dfx_device_memory_peak(b->device));
    dfx_status status = b->profile ? print_profile(b->s) : DFX_OK;
    puts("}");
    return status;
}

static int read_int(const char *option, const char *text, int largest)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 1 || value > largest) {
        fprintf(stderr, "bench_model: --%s: \"%s\" must be 1 to %d\n", option, text, largest);
        exit(2);
    }
    return (int)value;
}

static void read_dtype(dfx_dtype *out, const char *text)
{
    if (dfx_dtype_parse(out, text) == DFX_OK && dfx__dtype_is_float(*out))
        return;
    fprintf(stderr, "bench_model: --dtype: \"%s\" must be f32, f16 or bf16\n", text);
    exit(2);
}

static void read_options(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        { "device", required_argument, NULL, 'd' },
        { "dtype", required_argument, NULL, 't' },
        { "size", required_argument, NULL, 's' },
        { "batch", required_argument, NULL, 'b' },
        { "rounds", required_argument, NULL, 'r' },
        { "profile", no_argument, NULL, 'p' },
        { "wait", no_argument, NULL, 'w' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (letter) {
        case 'd':
            b->device_name = optarg;
            break;
        case 't':
            read_dtype(&b->dtype, optarg);
            break;
        case 's':
            b->size = read_int("size", optarg, MAX_SIZE);
            break;
        case 'b':
            b->batch = read_int("batch", optarg, MAX_BATCH);
            break;
        case 'r':
            b->rounds = read_int("rounds", optarg, MAX_ROUNDS);
            break;
        case 'p':
            b->profile = 1;
            break;
        case 'w':
            b->wait = 1;
            break;
        case 'h':
            fputs(help, stdout);
            exit(0);
        default:
            exit(2);
        }
    if (optind + 1 != argc) {
        fputs(help, stderr);
        exit(2);
    }
    b->folder = argv[optind];
    if (b->wait)
        b->rounds = MAX_ROUNDS;
}

int main(int argc, char **argv)
{
    struct bench b = { .dtype = DFX_F32, .size = 512, .batch = 1, .rounds = 3 };
    read_options(&b, argc, argv);
    dfx_status status = start(&b);
    if (status == DFX_OK)
        status = run_rounds(&b);
    if (status == DFX_OK)
        status = print_result(&b);
    if (status != DFX_OK)
        fprintf(stderr, "bench_model: %s\n", dfx_error());
    dfx_sequence_free(b.s);
    dfx_model_free(b.model);
    dfx_device_free(b.device);
    return status != DFX_OK;
}
