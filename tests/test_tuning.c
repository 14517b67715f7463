/* test_tuning.c - searching CLBlast's parameters: what is tried, what is kept, and files of it. The
 * times here are made up, so that no device is needed. */
#include "tap.h"

#include "bench/search.h"
#include "core/file.h"
#include "core/memory.h"
#include "dfxcl.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "tuning.XXXXXX", cache[1024];

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
    ok(search(d, "Padtranspose", 1000, &s) < 40, "a small space ends");
    ok(search(d, "Padtranspose", 1000, &s) == 0 && s.has_best, "and is not searched again");
}

static void test_resume(void)
{
    dfx_device *d = open_device();
    dfx__search s;
    int value[DFX__SPACE_PARAMETERS], again[DFX__SPACE_PARAMETERS];
    dfx__search_open(&s, d, dfx__space_of("Xgemm"));
    ok(s.has_best && s.before == 5e-3 && tried(d, "Xgemm") == 60, "a new process goes on");
    double best = s.seconds;
    ok(search(d, "Xgemm", 20, &s) == 20 && tried(d, "Xgemm") == 80 && s.seconds <= best,
       "with new candidates");
    /* Killed while it tries one: that one is not tried again, and nothing else is lost. */
    dfx__search_next(&s, value);
    dfx_device_free(d);
    d = open_device();
    dfx__search_open(&s, d, dfx__space_of("Xgemm"));
    ok(tried(d, "Xgemm") == 81 && s.has_best && s.seconds <= best,
       "a process that died loses nothing");
    dfx__search_next(&s, again);
    ok(memcmp(value, again, sizeof value) != 0, "what it died of is not tried again");
    dfx_device_free(d);
}

enum { PROCESSES = 3, EACH = 15 };

/* What a process tries, written to a file of its own, a candidate a line. */
static int search_alone(int number)
{
    char path[64];
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
    char path[64], line[256];
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

int main(void)
{
    char here[512], remove[1100];
    if (!mkdtemp(folder) || !getcwd(here, sizeof here)) {
        printf("Bail out! no folder\n");
        return 1;
    }
    snprintf(cache, sizeof cache, "%s/%s", here, folder);
    setenv("XDG_CACHE_HOME", cache, 1);
    dfx_device *d = open_device();
    test_spaces();
    test_hostile_parameters();
    test_search(d);
    dfx_device_free(d);
    test_resume();
    test_processes();
    test_wrong_best();
    snprintf(remove, sizeof remove, "rm -rf '%s'", cache);
    return system(remove) != 0 || done();
}
