/* test_tune.c - the fastest way of a call is measured, and remembered in a file for each device. */
#include "cache_test.h"

#include "core/file.h"
#include "core/memory.h"
#include "device/choices.h"
#include "dfxcl.h"
#include "op/oplist.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* An operator that copies, in three ways; one of 200 numbers and more counts as large. */
enum { SLOW, LAST, FAST, WAYS, SMALL = 10, BIG = 300 };
static int runs[WAYS];

static void copy(const dfx_call *c, const dfx__host *h, int way, long milliseconds)
{
    runs[way]++;
    nanosleep(&(struct timespec){ 0, milliseconds * 1000000 }, NULL);
    memcpy(h->out, h->in[0], sizeof(float) * (size_t)c->out->spec.dim[0]);
}

static void run_slow(const dfx_call *c, const dfx__host *h)
{
    copy(c, h, SLOW, 15);
}

static void run_last(const dfx_call *c, const dfx__host *h)
{
    copy(c, h, LAST, 0);
}

static void run_fast(const dfx_call *c, const dfx__host *h)
{
    copy(c, h, FAST, 1);
}

static int accepts(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    (void)d;
    return 1;
}

static int accepts_last(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    (void)d;
    return DFX__LAST;
}

static void infer(dfx_call *c)
{
    c->out->spec = c->in[0]->spec;
}

static double flops(const dfx_call *c)
{
    return 1e6 * (double)c->out->spec.dim[0];
}

static const dfx__variant ways[] = {
    { "slow", accepts, DFX__PLAIN, NULL, NULL, run_slow },
    { "last", accepts_last, DFX__PLAIN, NULL, NULL, run_last },
    { "fast", NULL, DFX__PLAIN, NULL, NULL, run_fast },
};

static const dfx_op op = { "copy", infer, flops, ways, NULL, NULL, 0 };

/* The same with a way that is the fastest and wrong, and one that is usually not tried. */
static void run_liar(const dfx_call *c, const dfx__host *h)
{
    memset(h->out, 0, sizeof(float) * (size_t)c->out->spec.dim[0]);
}

static int accepts_asked(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    (void)d;
    return DFX__ASKED;
}

static const dfx__variant more_ways[] = {
    { "liar", accepts, DFX__PLAIN, NULL, NULL, run_liar },
    { "fast", accepts_asked, DFX__PLAIN, NULL, NULL, run_fast },
    { "slow", NULL, DFX__PLAIN, NULL, NULL, run_slow },
};

static const dfx_op more = { "more", infer, flops, more_ways, NULL, NULL, 0 };

/* A sequence of one such call. */
static dfx_sequence *record_op(dfx_device *d, const dfx_op *o, int64_t n)
{
    dfx_sequence *s;
    if (dfx_sequence_new(&s, d, DFX_F32) != DFX_OK)
        return NULL;
    dfx_value *x = dfx_input(s, "x", DFX_F32, 1, &n);
    dfx_output(dfx__record(o, DFX__IN(x), DFX__INTS(0), DFX__FLOATS(0)), "y");
    return s;
}

static dfx_sequence *record(dfx_device *d, int64_t n)
{
    return record_op(d, &op, n);
}

/* The way in which the device does a call of n numbers; runs[] then counts what was measured. */
static int way_of(dfx_device *d, int64_t n)
{
    dfx_sequence *s = record(d, n);
    memset(runs, 0, sizeof runs);
    int way = dfx_sequence_prepare(s) == DFX_OK ? (int)(s->call[0]->variant - ways) : -1;
    dfx_sequence_free(s);
    return way;
}

/* The same on a device that is opened anew, and so reads its file. */
static int way_of_new(int64_t n)
{
    dfx_device *d;
    if (dfx_device_open(&d, "cpu") != DFX_OK)
        return -1;
    int way = way_of(d, n);
    dfx_device_free(d);
    return way;
}

static int measured(void)
{
    return runs[SLOW] > 0 && runs[FAST] > 0 && runs[LAST] == 0;
}

static int nothing_ran(void)
{
    return !runs[SLOW] && !runs[FAST] && !runs[LAST];
}

static char path[2048];

/* The one JSON file of the cache, in `path`. */
static int find_file(void)
{
    int found = 0;
    char *place = dfx__path_join(folder, "dfxcl");
    DIR *d = place ? opendir(place) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (strstr(e->d_name, ".json")) {
            snprintf(path, sizeof path, "%s/%s", place, e->d_name);
            found++;
        }
    if (d)
        closedir(d);
    free(place);
    return found == 1;
}

static char *read_text(size_t *bytes)
{
    dfx__mapped m;
    if (dfx__map_file(&m, path) != DFX_OK)
        return NULL;
    char *text = dfx__alloc(m.bytes + 1, 1);
    if (text)
        memcpy(text, m.data, m.bytes);
    *bytes = m.bytes;
    dfx__unmap_file(&m);
    return text;
}

static void write_text(const char *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(text, 1, bytes, f);
        fclose(f);
    }
}

static void test_choice(dfx_device *d)
{
    dfx_sequence *s = record(d, BIG);
    float x[BIG], y[BIG] = { 0 };
    ok(way_of(d, SMALL) == SLOW && nothing_ran(), "a small call is done in the first way");
    uint64_t before = dfx_device_memory_used(d);
    ok(way_of(d, BIG) == FAST && measured(), "a large one in the fastest");
    printf("# %d runs of it, %d of the slow one\n", runs[FAST], runs[SLOW]);
    ok(dfx_device_memory_used(d) == before, "what was measured with is given back");
    ok(way_of(d, BIG) == FAST && nothing_ran(), "it is measured once");
    for (int i = 0; i < BIG; i++)
        x[i] = (float)i;
    ok(dfx_sequence_prepare(s) == DFX_OK && dfx_sequence_write(s, "x", x, sizeof x) == DFX_OK &&
           dfx_sequence_run(s) == DFX_OK && dfx_sequence_read(s, "y", y, sizeof y) == DFX_OK &&
           y[BIG - 1] == BIG - 1,
       "and runs: %s", dfx_error());
    dfx_sequence_free(s);
    ok(way_of_new(BIG) == FAST && nothing_ran(), "a device that is opened later knows it");
    ok(find_file(), "from one file");
}

static void test_settings(void)
{
    setenv("DFX_TUNE", "off", 1);
    ok(way_of_new(BIG) == SLOW && nothing_ran(), "DFX_TUNE=off: the first way");
    setenv("DFX_TUNE", "all", 1);
    ok(way_of_new(SMALL) == FAST && measured(), "DFX_TUNE=all: small calls are measured too");
    unsetenv("DFX_TUNE");
    setenv("DFX_VARIANT", "copy:last", 1);
    ok(way_of_new(BIG + 1) == LAST && nothing_ran(), "DFX_VARIANT is not measured");
    unsetenv("DFX_VARIANT");
}

static void test_interrupt(dfx_device *d)
{
    dfx_sequence *s = record(d, BIG + 2);
    dfx_interrupt();
    ok(dfx_sequence_prepare(s) == DFX_ERROR_INTERRUPTED, "an interrupt ends measuring");
    dfx_sequence_free(s);
    ok(way_of(d, BIG + 2) == FAST && measured(), "which is done the next time");
}

/* Puts a text in the place of another of the same length, as often as it stands in the file. */
static void replace(const char *from, const char *to)
{
    size_t bytes = 0;
    char *text = read_text(&bytes);
    for (char *p = text; p && (p = strstr(p, from));)
        memcpy(p, to, strlen(to));
    if (text)
        write_text(text, bytes);
    free(text);
}

static void test_spoiled_files(void)
{
    static const char *const whole[] = { "", "null", "[]", "{}", "{\"choices\": 1}", "\377\376" };
    static const struct {
        const char *from, *to, *what;
    } spoiled[] = {
        { "\"variant\": \"fast\"", "\"variant\": \"gone\"", "a way that there is not" },
        { "\"variant\": \"fast\"", "\"variant\": \"last\"", "one that was not measured" },
        { "\"slow\"", "\"snow\"", "a way that was not measured then" },
        { "\"native\"", "\"strange\"", "another device's file" },
        { "\"schema\": 1", "\"schema\": 2", "another schema" },
        { "\"seconds\": {", "\"seconds\": [", "no JSON" },
    };
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        write_text(whole[i], strlen(whole[i]));
        ok(way_of_new(BIG) == FAST && measured(), "a file \"%s\" is not used",
           i < 5 ? whole[i] : "?");
        ok(way_of_new(BIG) == FAST && nothing_ran(), "and replaced");
    }
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        replace(spoiled[i].from, spoiled[i].to);
        ok(way_of_new(BIG) == FAST && measured(), "measured again: %s", spoiled[i].what);
        ok(way_of_new(BIG) == FAST && nothing_ran(), "and kept");
    }
    char *text = read_text(&bytes);
    write_text(text, bytes / 2);
    ok(way_of_new(BIG) == FAST && measured(), "a torn file is not used");
    free(text);
}

/* No file can make reading it fail, whatever it holds. */
static void test_flipped_bits(void)
{
    size_t bytes = 0;
    char *text = read_text(&bytes);
    const char *const names[] = { "slow", "fast" };
    int wrong = 0;
    for (size_t i = 0; text && i < bytes; i++) {
        dfx_device *d;
        text[i] ^= (char)(1 << i % 8);
        write_text(text, bytes);
        text[i] ^= (char)(1 << i % 8);
        if (dfx_device_open(&d, "cpu") != DFX_OK)
            continue;
        wrong += dfx__choice_find(d, "other", names, 2, 2) != -1;
        dfx_device_free(d);
    }
    ok(text && !wrong, "%zu files with a bit turned over", bytes);
    free(text);
    unlink(path);
}

static void test_no_place(void)
{
    dfx_device *d;
    setenv("XDG_CACHE_HOME", "/dev/null/cache", 1);
    if (dfx_device_open(&d, "cpu") != DFX_OK)
        return;
    ok(way_of(d, BIG) == FAST && measured(), "measured where nothing can be kept");
    ok(way_of(d, BIG) == FAST && nothing_ran(), "once while the device is open");
    dfx_device_free(d);
    ok(way_of_new(BIG) == FAST && measured(), "and again when it is opened anew");
    setenv("XDG_CACHE_HOME", folder, 1);
    ok(mkdir(path, 0700) == 0 && way_of_new(BIG) == FAST && measured() && rmdir(path) == 0,
       "a folder in the place of the file");
}

static void test_processes(void)
{
    enum { PROCESSES = 4 };
    int status, good = 0;
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(way_of_new(BIG + 10 + i) != FAST || !measured());
    for (int i = 0; i < PROCESSES; i++)
        good += wait(&status) > 0 && status == 0;
    ok(good == PROCESSES, "%d processes measure at the same time", PROCESSES);
    for (int i = 0; i < PROCESSES; i++)
        ok(way_of_new(BIG + 10 + i) == FAST && nothing_ran(), "what number %d measured is kept", i);
}

/* What was reported of all ways; a stop is asked for after so many calls. */
static struct {
    int calls, ways, wrong, most;
    char variant[32];
} told;

static int tell(void *user, const dfx__tuned_call *c)
{
    (void)user;
    if (c) {
        told.calls++;
        told.ways = c->ways;
        told.wrong = c->wrong;
        snprintf(told.variant, sizeof told.variant, "%s", c->variant);
    }
    return told.calls >= told.most;
}

static dfx_status tune_all(dfx_device *d, const dfx_op *o, int64_t n, int most)
{
    dfx_sequence *s = record_op(d, o, n);
    memset(runs, 0, sizeof runs);
    memset(&told, 0, sizeof told);
    told.most = most;
    dfx_status status = dfx__tune_all(s, tell, NULL);
    dfx_sequence_free(s);
    return status;
}

static void test_all_ways(void)
{
    dfx_device *d;
    if (dfx_device_open(&d, "cpu") != DFX_OK)
        return;
    ok(tune_all(d, &more, BIG, 9) == DFX_OK && told.calls == 1 && told.ways == 3, "all ways");
    ok(told.wrong == 1 && strcmp(told.variant, "fast") == 0, "the fastest that is right: %s",
       told.variant);
    ok(tune_all(d, &more, BIG, 9) == DFX_OK && told.calls == 0, "they are measured once");
    ok(tune_all(d, &more, BIG + 1, 0) == DFX_ERROR_INTERRUPTED && nothing_ran(), "a stop");
    ok(tune_all(d, &more, BIG + 1, 1) == DFX_ERROR_INTERRUPTED && told.calls == 1, "a later one");
    dfx_device_free(d);
    if (dfx_device_open(&d, "cpu") != DFX_OK)
        return;
    ok(tune_all(d, &more, BIG + 1, 9) == DFX_OK && told.calls == 0, "what was measured is kept");
    dfx_sequence *s = record_op(d, &more, BIG);
    ok(dfx_sequence_prepare(s) == DFX_OK && s->call[0]->variant == &more_ways[1],
       "a usual run takes it, though it would not have tried it");
    dfx_sequence_free(s);
    dfx_device_free(d);
}

/* A real operator on the device of this test run, measured and not: the same numbers. */
static void test_operator(void)
{
    enum { SIDE = 32, CHANNELS = 64, IN = SIDE * SIDE * CHANNELS, TAPS = 9 };
    static float x[IN], w[CHANNELS * CHANNELS * TAPS], y[2][IN];
    dfx_weight weight = { .name = "w",
                          .spec = { DFX_F32, 4, { CHANNELS, CHANNELS, 3, 3 } },
                          .data = w };
    dfx_conv2d_options same = DFX_CONV2D_DEFAULT;
    same.top = same.left = same.bottom = same.right = 1;
    for (int i = 0; i < IN; i++)
        x[i] = (float)(i % 7) - 3;
    for (int i = 0; i < CHANNELS * CHANNELS * TAPS; i++)
        w[i] = (float)(i % 5) - 2;
    double worst = 0;
    for (int k = 0; k < 2; k++) {
        dfx_device *d;
        dfx_sequence *s;
        setenv("DFX_TUNE", k ? "all" : "off", 1);
        if (dfx_device_open(&d, getenv("DFX_DEVICE")) != DFX_OK)
            break;
        dfx_sequence_new(&s, d, DFX_F32);
        dfx_value *v = dfx_input(s, "x", DFX_F32, 4, (int64_t[]){ 1, SIDE, SIDE, CHANNELS });
        dfx_output(dfx_conv2d(v, dfx_constant(s, &weight), NULL, &same), "y");
        ok(dfx_sequence_prepare(s) == DFX_OK && dfx_sequence_write(s, "x", x, sizeof x) == DFX_OK &&
               dfx_sequence_run(s) == DFX_OK &&
               dfx_sequence_read(s, "y", y[k], sizeof y[k]) == DFX_OK,
           "conv2d on %s: %s", dfx_device_get_info(d)->name, dfx_error());
        printf("# variant %s\n", s->call[0]->variant ? s->call[0]->variant->name : "none");
        dfx_sequence_free(s);
        ok(!weight.copies && dfx_device_memory_used(d) == 0, "its memory is given back");
        dfx_device_free(d);
    }
    unsetenv("DFX_TUNE");
    for (int i = 0; i < IN; i++) {
        double off = y[0][i] > y[1][i] ? y[0][i] - y[1][i] : y[1][i] - y[0][i];
        worst = off > worst ? off : worst;
    }
    ok(worst < 0.01, "the same result: %g", worst);
}

int main(void)
{
    dfx_device *d;
    begin_cache("tune");
    if (dfx_device_open(&d, "cpu") != DFX_OK) {
        printf("Bail out! no device\n");
        return 1;
    }
    unsetenv("DFX_TUNE");
    unsetenv("DFX_VARIANT");
    test_choice(d);
    test_settings();
    test_interrupt(d);
    test_spoiled_files();
    test_flipped_bits();
    test_no_place();
    test_processes();
    test_all_ways();
    test_operator();
    dfx_device_free(d);
    return end_cache();
}
