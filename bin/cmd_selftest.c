/* cmd_selftest.c - dfx selftest: every operator on a device against the native CPU. */
#include "cmd.h"
#include "print.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A driver may crash at every variant in every dtype; there are under 300 of them. */
enum { MOST_CRASHES = 300 };

struct settings {
    const char *device, *op;
    int small, json;
};

static const struct settings defaults;

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "device", OPTION_STRING, AT(device), "D",
      "opencl, opencl:N or cpu; the best OpenCL device without it", 0, 0 },
    { "op", OPTION_STRING, AT(op), "NAME", "only this operator (group_norm, conv2d ...)", 0, 0 },
    { "small", OPTION_FLAG, AT(small), NULL, "only small cases, for simulators", 0, 0 },
    { "json", OPTION_FLAG, AT(json), NULL, "print JSON", 0, 0 },
    { .name = NULL },
};
#undef AT

static const struct positional positionals[] = { { .name = NULL } };

/* What the table is of (NULL once its head is printed), and how it goes. */
struct table {
    const dfx_device_info *info;
    int kept; /* variants that programs do without from now on */
};

static void print_head(const dfx_device_info *info)
{
    printf("%s: %s, %s, driver %s\n", info->id, info->name, info->platform, info->driver);
    printf("%-20s %-14s %-5s %6s %7s %7s %10s %9s %11s %11s\n", "operator", "variant", "dtype",
           "cases", "skipped", "worst", "tolerance", "element", "expected", "got");
}

static void print_row(void *user, const dfx_selftest_row *r)
{
    struct table *t = user;
    if (t->info)
        print_head(t->info);
    t->info = NULL;
    printf("%-20s %-14s %-5s %6d %7d %7.3g %10.2e %9zu %11.4g %11.4g  %s\n", r->op, r->variant,
           dfx_dtype_name(r->dtype), r->cases, r->skipped, r->worst, r->tolerance, r->worst_index,
           r->expected, r->got, r->failed ? "FAILED" : "ok");
    if (r->failed && r->cases)
        printf("    %d of %d cases failed; worst: %s; first: %s\n", r->failed, r->cases,
               r->worst_case, r->message);
    else if (r->failed)
        printf("    %s\n", r->message);
    t->kept += r->kept;
    fflush(stdout);
}

static void collect_row(void *user, const dfx_selftest_row *r)
{
    json_object *o = json_object_new_object();
    print_put(o, "op", json_object_new_string(r->op));
    print_put(o, "variant", json_object_new_string(r->variant));
    print_put(o, "dtype", json_object_new_string(dfx_dtype_name(r->dtype)));
    print_put(o, "cases", json_object_new_int(r->cases));
    print_put(o, "failed", json_object_new_int(r->failed));
    print_put(o, "skipped", json_object_new_int(r->skipped));
    print_put(o, "worst", json_object_new_double(r->worst));
    print_put(o, "tolerance", json_object_new_double(r->tolerance));
    print_put(o, "worst_case", json_object_new_string(r->worst_case));
    print_put(o, "worst_index", json_object_new_uint64(r->worst_index));
    print_put(o, "expected", json_object_new_double(r->expected));
    print_put(o, "got", json_object_new_double(r->got));
    print_put(o, "message", json_object_new_string(r->message));
    print_put(o, "kept", json_object_new_boolean(r->kept));
    print_append(user, o);
}

/* What follows from failures. */
static void print_kept(const struct table *t, const dfx_device_info *info)
{
    const char *hint = dfx_selftest_hint(info);
    printf("variants that are not used on this device and driver until they pass: %d\n", t->kept);
    printf("hint: %s\n", hint ? hint : "a newer driver may be right; --device cpu is");
}

static dfx_status test(const struct settings *s, dfx_device *device, int flags, int *failed,
                       int *code)
{
    const dfx_device_info *info = dfx_device_get_info(device);
    struct table table = { info, 0 };
    if (!s->json) {
        dfx_status status = dfx_selftest(device, s->op, flags, print_row, &table, failed);
        if (table.kept)
            print_kept(&table, info);
        return status;
    }
    json_object *top = json_object_new_object(), *rows = json_object_new_array();
    dfx_status status = dfx_selftest(device, s->op, flags, collect_row, rows, failed);
    print_put(top, "device", json_object_new_string(info->id));
    print_put(top, "name", json_object_new_string(info->name));
    print_put(top, "driver", json_object_new_string(info->driver));
    print_put(top, "failed", json_object_new_int(*failed));
    if (*failed && dfx_selftest_hint(info))
        print_put(top, "hint", json_object_new_string(dfx_selftest_hint(info)));
    print_put(top, "rows", rows);
    *code = print_json(top);
    return status;
}

static int run_once(const struct settings *s, int flags)
{
    dfx_device *device;
    int failed = 0, code = EXIT_DONE;
    dfx_status status = dfx_device_open(&device, s->device ? s->device : "opencl");
    if (status != DFX_OK)
        return cmd_fail(status);
    status = test(s, device, flags, &failed, &code);
    if (status != DFX_OK)
        code = cmd_fail(status);
    else if (failed)
        code = cmd_fail_with(EXIT_FAILED, "%s: failed cases: %d; see the rows above",
                             dfx_device_get_info(device)->id, failed);
    else if (!s->json)
        puts("all cases pass");
    dfx_device_free(device);
    return code;
}

static int is_crash(int status)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (WIFSIGNALED(status) && WTERMSIG(status) == crashes[i])
            return 1;
    return 0;
}

/* A child of this process tests, as kernels and compilers that are wrong may end it. Then another
 * one begins again and spares what it ended at. */
static int run(void *settings)
{
    const struct settings *s = settings;
    int flags = s->small ? DFX_SELFTEST_SMALL : 0, status = 0;
    cmd_catch_interrupt();
    for (int i = 0; i < MOST_CRASHES; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            exit(cmd_end(run_once(s, flags)));
        if (child < 0)
            return run_once(s, flags);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        if (!is_crash(status))
            return WTERMSIG(status) == SIGINT ? EXIT_INTERRUPTED : EXIT_FAILED;
        fprintf(stderr,
                "%s: the test ended with signal %d (%s); it begins again without what it ended "
                "at\n",
                cmd_program, WTERMSIG(status), strsignal(WTERMSIG(status)));
        flags |= DFX_SELFTEST_SPARE;
    }
    return cmd_fail_with(EXIT_FAILED, "the test ended %d times; this driver cannot be used",
                         MOST_CRASHES);
}

const struct command cmd_selftest = {
    .name = "selftest",
    .summary = "compare every operator of a device with the CPU's; what fails is not used any more",
    .example = "  dfx selftest --device opencl\n"
               "  dfx selftest --device opencl:1 --op conv2d\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
