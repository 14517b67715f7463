/* test_tuning.c - searching CLBlast's parameters: what is tried, what is kept, and files of it. The
 * times here are made up, so that no device is needed. */
#include "cache_test.h"

#include "bench/gemm.h"
#include "bench/search.h"
#include "core/file.h"
#include "device/choices.h"
#include "dfxcl.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

/* The native CPU, as if it were a device that CLBlast's kernels can run on. */
static dfx_device *open_device(void)
{
    dfx_device *d;
    if (dfx_device_open(&d, "cpu") != DFX_OK) {
        printf("Bail out! no device\n");
        exit(1);
    }
    d->info.max_group = 1024;
    d->info.local_memory = 32 << 10;
    return d;
}

static const dfx_device_info gpu = { .max_group = 1024, .local_memory = 32 << 10 };

static void test_spaces(void)
{
    int fit = 0, starts = 0;
    for (const dfx__space *s = dfx__spaces; s->kernel; s++)
        for (size_t i = 0; i < s->starts; i++) {
            int value[DFX__SPACE_PARAMETERS];
            json_object *o = dfx__space_write(s, s->start[i]);
            int same = dfx__space_read(value, s, &gpu, o);
            for (int k = 0; same && k < dfx__space_parameters(s); k++)
                same = value[k] == s->start[i][k];
            json_object_put(o);
            fit += same;
            starts++;
        }
    ok(fit == starts, "%d of %d good parameters are possible on a usual device", fit, starts);
    ok(!dfx__space_of("Xger") && dfx__space_of("Xgemm"), "kernels have names");
}

/* One file of parameters, spoiled. */
static void test_hostile_parameters(void)
{
    static const struct {
        const char *text, *what;
    } bad[] = {
        { "{}", "none" },
        { "{\"PADTRA_TILE\": 8, \"PADTRA_WPT\": 2}", "one too few" },
        { "{\"PADTRA_TILE\": 8, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1, \"X\": 1}", "one too many" },
        { "{\"PADTRA_TILE\": 8, \"PADTRA_WPT\": 2, \"X\": 1}", "an unknown one" },
        { "{\"PADTRA_TILE\": 7, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "a value of none" },
        { "{\"PADTRA_TILE\": -1, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "the end of the list" },
        { "{\"PADTRA_TILE\": 99999999999999999999, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "huge" },
        { "{\"PADTRA_TILE\": \"8\", \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "a text" },
        { "{\"PADTRA_TILE\": 8.5, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "a fraction" },
        { "{\"PADTRA_TILE\": null, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}", "null" },
        { "{\"PADTRA_TILE\": 32, \"PADTRA_WPT\": 8, \"PADTRA_PAD\": 1}", "too much memory" },
        { "[8, 2, 1]", "a list" },
    };
    const dfx__space *s = dfx__space_of("Padtranspose");
    int value[DFX__SPACE_PARAMETERS];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_object *o = json_tokener_parse(bad[i].text);
        ok(!json_object_is_type(o, json_type_object) || !dfx__space_read(value, s, &gpu, o),
           "parameters are refused: %s", bad[i].what);
        json_object_put(o);
    }
}

/* Seconds that parameters are said to take: the nearer to some values, the less; some are wrong. */
static double cost(const dfx__space *s, const int *value)
{
    double seconds = 1e-3;
    int sum = 0;
    for (int i = 0; i < dfx__space_parameters(s); i++) {
        seconds += 1e-4 * fabs(log2(value[i] + 1.0) - 3);
        sum += value[i];
    }
    return sum % 7 == 0 ? INFINITY : seconds;
}

static int search(dfx_device *d, const char *kernel, int candidates, dfx__search *s)
{
    int value[DFX__SPACE_PARAMETERS], n = 0;
    dfx__search_open(s, d, dfx__space_of(kernel));
    dfx__search_start(s, 5e-3, s->seconds);
    while (n < candidates && dfx__search_next(s, value)) {
        dfx__search_note(s, value, cost(s->space, value));
        n++;
    }
    return n;
}

static json_object *entry_of(dfx_device *d, const char *kernel)
{
    return dfx__json_get(dfx__kept_entries(dfx__tuning(d)), kernel, json_type_object);
}

static int tried(dfx_device *d, const char *kernel)
{
    json_object *list = dfx__json_get(entry_of(d, kernel), "tried", json_type_object);
    return list ? json_object_object_length(list) : 0;
}

static void test_search(dfx_device *d)
{
    dfx__search s;
    ok(search(d, "Xgemm", 60, &s) == 60 && s.tried == 60, "60 candidates");
    ok(s.has_best && s.seconds < 0.7 * s.before, "a faster one is found: %g of %g s", s.seconds,
       s.before);
    ok(s.wrong > 0 && isfinite(cost(s.space, s.best)), "%d wrong ones, none is the best", s.wrong);
    ok(tried(d, "Xgemm") == 60, "each was another one");
    int value[DFX__SPACE_PARAMETERS], most = 0;
    s.most_sums = 16;
    for (int i = 0; i < 20 && dfx__search_next(&s, value); i++) {
        int sums = s.space->sums(value);
        most = sums > most ? sums : most;
        dfx__search_note(&s, value, 1);
    }
    ok(most > 0 && most <= 16 && tried(d, "Xgemm") == 80,
       "those that compile long can be left out");
    ok(search(d, "Padtranspose", 1000, &s) < 40, "a small space ends");
    ok(search(d, "Padtranspose", 1000, &s) == 0 && s.has_best, "and is not searched again");
}

static void test_resume(void)
{
    dfx_device *d = open_device();
    dfx__search s;
    int value[DFX__SPACE_PARAMETERS], again[DFX__SPACE_PARAMETERS];
    dfx__search_open(&s, d, dfx__space_of("Xgemm"));
    ok(s.has_best && s.before == 5e-3 && tried(d, "Xgemm") == 80, "a new process goes on");
    double best = s.seconds;
    ok(search(d, "Xgemm", 20, &s) == 20 && tried(d, "Xgemm") == 100 && s.seconds <= best,
       "with new candidates");
    /* Killed while it tries one: that one is not tried again, and nothing else is lost. */
    dfx__search_next(&s, value);
    dfx_device_free(d);
    d = open_device();
    dfx__search_open(&s, d, dfx__space_of("Xgemm"));
    ok(tried(d, "Xgemm") == 101 && s.has_best && s.seconds <= best,
       "a process that died loses nothing");
    dfx__search_next(&s, again);
    ok(memcmp(value, again, sizeof value) != 0, "what it died of is not tried again");
    dfx_device_free(d);
}

enum { PROCESSES = 3, EACH = 15 };

/* What a process tries, written to a file of its own, a candidate a line. */
static int search_alone(int number)
{
    char path[300];
    int value[DFX__SPACE_PARAMETERS], n = 0;
    dfx_device *d = open_device();
    dfx__search s;
    snprintf(path, sizeof path, "%s/%d", folder, number);
    FILE *list = fopen(path, "w");
    dfx__search_open(&s, d, dfx__space_of("XgemmDirect"));
    dfx__search_start(&s, 5e-3, s.seconds);
    for (; list && n < EACH && dfx__search_next(&s, value); n++) {
        for (int i = 0; i < dfx__space_parameters(s.space); i++)
            fprintf(list, "%s%d", i ? " " : "", value[i]);
        fputc('\n', list);
        dfx__search_note(&s, value, cost(s.space, value));
    }
    dfx_device_free(d);
    return n == EACH && fclose(list) == 0;
}

/* How many lines of a process's file are not in the list. */
static int count_lost(json_object *list, int number)
{
    char path[300], line[256];
    int lost = 0, lines = 0;
    snprintf(path, sizeof path, "%s/%d", folder, number);
    FILE *f = fopen(path, "r");
    for (; f && fgets(line, sizeof line, f); lines++) {
        line[strcspn(line, "\n")] = '\0';
        lost += !json_object_object_get_ex(list, line, NULL);
    }
    if (f)
        fclose(f);
    return lost + (lines != EACH);
}

static void test_processes(void)
{
    int status, good = 0, lost = 0, better = 0;
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(!search_alone(i));
    for (int i = 0; i < PROCESSES; i++)
        good += wait(&status) > 0 && status == 0;
    ok(good == PROCESSES, "%d processes search at the same time", PROCESSES);
    dfx_device *d = open_device();
    dfx__search s;
    dfx__search_open(&s, d, dfx__space_of("XgemmDirect"));
    json_object *list = dfx__json_get(entry_of(d, "XgemmDirect"), "tried", json_type_object);
    for (int i = 0; i < PROCESSES; i++)
        lost += count_lost(list, i);
    ok(list && !lost, "nothing that one of them tried is lost");
    json_object_object_foreach (list, key, seconds) {
        (void)key;
        better += seconds && json_object_get_double(seconds) < 0.98 * s.seconds;
    }
    ok(s.has_best && !better, "the best of all is kept");
    dfx_device_free(d);
}

static void test_wrong_best(void)
{
    dfx_device *d = open_device();
    dfx__search s;
    int value[DFX__SPACE_PARAMETERS];
    dfx__search_open(&s, d, dfx__space_of("Pad"));
    dfx__search_choose(&s, s.space->start[1], 5e-3, 1e-3);
    ok(dfx__tuning_find(value, d, s.space), "parameters are known");
    dfx__search_open(&s, d, s.space);
    dfx__search_start(&s, 5e-3, INFINITY);
    ok(!s.has_best && !dfx__tuning_find(value, d, s.space), "found to be wrong they are not used");
    dfx_device_free(d);
    d = open_device();
    ok(!dfx__tuning_find(value, d, dfx__space_of("Pad")), "nor by the next process");
    dfx_device_free(d);
}

/* ---- products ---- */

/* A device that multiplies on the host, in the way that is asked for. */
static enum { RIGHT, ONE_OFF, UNSET, FAILING } multiplies;
static dfx__products asked;

static dfx_status prepare_product(dfx__prepared **out, dfx_device *d, const dfx__launch *l)
{
    (void)d;
    asked = l->gemm;
    *out = NULL;
    return DFX_OK;
}

static void discard_product(dfx__prepared *p)
{
    (void)p;
}

static float product(size_t number, size_t i, size_t j)
{
    const float *a = asked.a.place.buffer->host, *b = asked.b.place.buffer->host;
    double sum = 0;
    for (size_t k = 0; k < asked.k; k++)
        sum += (double)a[number * asked.a.next + i * asked.a.line + k] *
               b[number * asked.b.next +
                 (asked.transpose_b ? j * asked.b.line + k : k * asked.b.line + j)];
    return (float)sum;
}

static dfx_status run_product(dfx__prepared *p)
{
    (void)p;
    float *c = asked.c.place.buffer->host;
    if (multiplies == FAILING)
        return DFX_ERROR_DEVICE;
    for (size_t n = 0; n < asked.count; n++)
        for (size_t i = 0; i < asked.m && multiplies != UNSET; i++)
            for (size_t j = 0; j < asked.n; j++)
                c[n * asked.c.next + i * asked.c.line + j] = product(n, i, j);
    if (multiplies == ONE_OFF)
        c[(asked.count - 1) * asked.c.next + asked.m * asked.c.line - 1] += 0.01f;
    return DFX_OK;
}

static dfx_status take_parameters(dfx_device *d, const char *kernel, json_object *parameters)
{
    (void)d;
    (void)kernel;
    (void)parameters;
    return DFX_OK;
}

static void test_products(void)
{
    static const dfx__gemm_sizes sizes[] = { { 20, 30, 40, 0, 1 }, { 7, 5, 33, 1, 3 } };
    dfx_device *d = open_device();
    dfx__device_class class = *d->class;
    dfx__gemm_bench g;
    double seconds;
    ok(dfx__gemm_open(&g, d) == DFX_ERROR_UNSUPPORTED, "no CLBlast: %s", dfx_error());
    dfx__gemm_close(&g);
    class.prepare = prepare_product;
    class.discard = discard_product;
    class.enqueue = run_product;
    class.set_parameters = take_parameters;
    d->class = &class;
    d->has_gemm = 1;
    ok(dfx__gemm_open(&g, d) == DFX_OK, "matrices");
    for (int i = 0; i < 2; i++) {
        multiplies = RIGHT;
        ok(dfx__gemm_time(&g, &sizes[i], &seconds) == DFX_OK && seconds < 10, "a right product");
        for (multiplies = ONE_OFF; multiplies <= FAILING; multiplies++)
            ok(dfx__gemm_time(&g, &sizes[i], &seconds) == DFX_OK && isinf(seconds),
               "never counts: %s",
               multiplies == ONE_OFF ? "an element that is off"
               : multiplies == UNSET ? "nothing computed"
                                     : "a failure");
    }
    dfx__gemm_close(&g);
    dfx_device_free(d);
}

/* ---- files for others ---- */

static char file_path[600];

static void write_file(const char *text)
{
    FILE *f = fopen(file_path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

/* What a file of this device would begin with. */
static void write_for(const dfx_device *d, const char *library, const char *rest)
{
    char text[4096];
    const dfx_device_info *info = dfx_device_get_info(d);
    snprintf(text, sizeof text,
             "{\"schema\": 1, \"kind\": \"dfxcl tuning\", \"device\": \"%s\", \"platform\": "
             "\"%s\", \"driver\": \"%s\", \"units\": %d, \"library\": \"%s\", %s}",
             info->name, info->platform, info->driver, info->units, library, rest);
    write_file(text);
}

static int imports(dfx_device *d, dfx_status status, int kernels, int calls)
{
    int k = -1, c = -1;
    dfx_status got = dfx_tune_import(d, file_path, &k, &c);
    if (got != status || k != kernels || c != calls)
        printf("# status %d, %d kernels, %d calls: %s\n", (int)got, k, c, dfx_error());
    return got == status && k == kernels && c == calls;
}

static void test_hostile_files(void)
{
    static const struct {
        const char *text;
        dfx_status status;
        const char *what;
    } bad[] = {
        { "", DFX_ERROR_FORMAT, "empty" },
        { "{", DFX_ERROR_FORMAT, "torn" },
        { "null", DFX_ERROR_FORMAT, "null" },
        { "[1]", DFX_ERROR_FORMAT, "a list" },
        { "{\"schema\": 1}", DFX_ERROR_FORMAT, "of another kind" },
        { "{\"schema\": 2, \"kind\": \"dfxcl tuning\", \"device\": \"x\", \"platform\": \"y\", "
          "\"kernels\": {}}",
          DFX_ERROR_FORMAT, "of another schema" },
        { "{\"schema\": 1, \"kind\": \"dfxcl tuning\", \"device\": [], \"platform\": \"y\", "
          "\"kernels\": {}}",
          DFX_ERROR_FORMAT, "of no device" },
        { "{\"schema\": 1, \"kind\": \"dfxcl tuning\", \"device\": \"x\", \"platform\": \"y\", "
          "\"kernels\": {}}",
          DFX_ERROR_DEVICE, "of another device" },
    };
    dfx_device *d = open_device();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i].text);
        ok(imports(d, bad[i].status, 0, 0), "refused: a file that is %s", bad[i].what);
    }
    unlink(file_path);
    ok(imports(d, DFX_ERROR_FILE, 0, 0), "a file that is not there");
    dfx_device_free(d);
}

static void test_imported_choices(void)
{
    static const struct {
        const char *choices;
        int calls;
        const char *what;
    } of[] = {
        { "{\"call\": {\"variant\": \"b\", \"seconds\": {\"a\": 2.0, \"b\": 1.0}}}", 1,
          "a choice" },
        { "{\"c1\": {\"variant\": \"c\", \"seconds\": {\"a\": 2.0}}}", 0, "not measured" },
        { "{\"c2\": {\"variant\": 7, \"seconds\": {\"a\": 2.0}}}", 0, "no name" },
        { "{\"c3\": {\"variant\": \"a\", \"seconds\": {\"a\": {}}}}", 0, "no time" },
        { "{\"c4\": {\"variant\": \"a\", \"seconds\": [1.0]}}", 0, "a list" },
        { "{\"c5\": {\"variant\": \"a\", \"seconds\": {\"a\": 1.0}, \"x\": []}}", 0, "more" },
        { "{\"c6\": null}", 0, "null" },
        { "[]", 0, "a list of all" },
    };
    dfx_device *d = open_device();
    char text[512];
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        snprintf(text, sizeof text, "\"kernels\": {}, \"choices\": %s", of[i].choices);
        write_for(d, dfx_version(), text);
        ok(imports(d, DFX_OK, 0, of[i].calls), "%d call taken over: %s", of[i].calls, of[i].what);
    }
    ok(imports(d, DFX_OK, 0, 0), "what is known already is not");
    const char *const names[] = { "a", "b" };
    ok(dfx__choice_find(d, "call", names, 2, 2) == 1, "the choice is used");
    write_for(d, "0.0.0",
              "\"kernels\": {}, \"choices\": {\"c7\": {\"variant\": \"a\", "
              "\"seconds\": {\"a\": 1.0}}}");
    ok(imports(d, DFX_OK, 0, 0), "times of another version of the library are not taken over");
    dfx_device_free(d);
}

/* The native CPU has no CLBlast: of parameters there is nothing to take over, and nothing breaks.
 */
static void test_imported_parameters(void)
{
    dfx_device *d = open_device();
    write_for(
        d, dfx_version(),
        "\"kernels\": {\"Xger\": 1, \"Pad\": [], \"Copy\": {\"parameters\": 3}, \"Padtranspose\": "
        "{\"parameters\": {\"PADTRA_TILE\": 8, \"PADTRA_WPT\": 2, \"PADTRA_PAD\": 1}}}");
    ok(imports(d, DFX_OK, 0, 0), "parameters without CLBlast are left out");
    dfx_device_free(d);
}

static void test_export(void)
{
    dfx_device *d = open_device(), *other;
    dfx__search s;
    int kernels, calls;
    ok(dfx_tune_export(d, file_path) == DFX_OK, "what is known is written: %s", dfx_error());
    json_object *file = json_object_from_file(file_path);
    json_object *of = dfx__json_get(file, "kernels", json_type_object);
    ok(dfx__tuning_is_file(file) && json_object_object_length(of) == 3,
       "a file of this format with three kernels");
    ok(dfx__json_get(dfx__json_get(of, "Xgemm", json_type_object), "parameters",
                     json_type_object) &&
           !json_object_object_get_ex(json_object_object_get(of, "Xgemm"), "tried", NULL),
       "with the best parameters alone");
    json_object_put(file);
    char other_cache[1100];
    snprintf(other_cache, sizeof other_cache, "%s/other", folder);
    setenv("XDG_CACHE_HOME", other_cache, 1);
    other = open_device();
    ok(dfx_tune_export(other, file_path) == DFX_ERROR_DEVICE, "nothing is known: %s", dfx_error());
    ok(dfx_tune_import(other, file_path, &kernels, &calls) == DFX_OK && calls == 1,
       "another user takes it over");
    dfx__search_open(&s, other, dfx__space_of("Xgemm"));
    dfx_device_free(other);
    dfx_device_free(d);
    setenv("XDG_CACHE_HOME", folder, 1);
}

static void put_shipped(const char *name, const char *device, const char *platform, int tile)
{
    char path[1200], text[1024];
    snprintf(path, sizeof path, "%s/share/tunings/%s", folder, name);
    snprintf(
        text, sizeof text,
        "{\"schema\": 1, \"kind\": \"dfxcl tuning\", \"device\": \"%s\", \"platform\": \"%s\", "
        "\"kernels\": {\"Transpose\": {\"parameters\": {\"TRA_DIM\": %d, \"TRA_WPT\": 1, "
        "\"TRA_PAD\": 0, \"TRA_SHUFFLE\": 0}}}}",
        device, platform, tile);
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

/* TRA_DIM of the parameters that a device is given; 0: none. */
static int shipped_tile(void)
{
    dfx_device *d = open_device();
    int value[DFX__SPACE_PARAMETERS];
    int found = dfx__tuning_find(value, d, dfx__space_of("Transpose"));
    dfx_device_free(d);
    return found ? value[0] : 0;
}

/* The files that are shipped can be used by the devices that they name. */
static void use_shipped(void *folder_of, const char *name)
{
    if (!dfx__ends_with(name, ".json"))
        return;
    char *path = dfx__path_join(folder_of, name);
    json_object *file = json_object_from_file(path);
    int value[DFX__SPACE_PARAMETERS], good = dfx__tuning_is_file(file);
    for (const dfx__space *s = dfx__spaces; good && s->kernel; s++) {
        json_object *of = dfx__json_get(file, "kernels", json_type_object), *entry;
        if (json_object_object_get_ex(of, s->kernel, &entry))
            good = dfx__space_read(value, s, &gpu,
                                   dfx__json_get(entry, "parameters", json_type_object));
    }
    ok(good, "%s", name);
    json_object_put(file);
    free(path);
}

static void test_shipped(void)
{
    char data[1100], make[1200];
    const char *source = getenv("srcdir");
    char *own = dfx__path_join(source ? source : ".", "share/tunings");
    dfx__folder_list(own, use_shipped, own);
    free(own);
    dfx_device *d = open_device();
    char name[sizeof d->info.name];
    snprintf(name, sizeof name, "%s", d->info.name);
    dfx_device_free(d);
    snprintf(data, sizeof data, "%s/share", folder);
    snprintf(make, sizeof make, "mkdir -p '%s/tunings'", data);
    setenv("DFX_DATADIR", data, 1);
    ok(shipped_tile() == 0 && system(make) == 0 && shipped_tile() == 0, "nothing is shipped");
    put_shipped("a.json", "another*", "*", 4);
    put_shipped("b.txt", "*", "*", 4);
    ok(shipped_tile() == 0, "nor for such a device");
    put_shipped("c.json", "*", "*", 8);
    ok(shipped_tile() == 8, "for any device");
    put_shipped("d.json", name, "native*", 16);
    ok(shipped_tile() == 16, "for this one rather");
    put_shipped("d.json", name, "native*", 15);
    ok(shipped_tile() == 0, "parameters that it cannot have are not taken");
    put_shipped("d.json", name, "native*", 16);
    d = open_device();
    dfx__search s;
    dfx__search_open(&s, d, dfx__space_of("Transpose"));
    dfx__search_choose(&s, (int[DFX__SPACE_PARAMETERS]){ 32, 1, 1, 1 }, 2e-3, 1e-3);
    dfx_device_free(d);
    ok(shipped_tile() == 32, "what was found here comes first");
}

int main(void)
{
    begin_cache("tuning");
    dfx_device *d = open_device();
    test_spaces();
    test_hostile_parameters();
    test_search(d);
    dfx_device_free(d);
    test_resume();
    test_processes();
    test_wrong_best();
    test_products();
    snprintf(file_path, sizeof file_path, "%s/file.json", folder);
    test_hostile_files();
    test_imported_choices();
    test_imported_parameters();
    test_export();
    test_shipped();
    return end_cache();
}
