/* test_sequence.c - recording, the memory plan, weights shared by sequences, the check mode. */
#include "tap.h"

#include "core/dtype.h"
#include "dfxcl.h"
#include "op/oplist.h"

#include <math.h>

static dfx_device *device;

static dfx_weight *random_weight(dfx_weight *w, float *data, int64_t out, int64_t in)
{
    dfx_rng rng;
    dfx_rng_seed(&rng, 3);
    dfx_rng_normal(&rng, data, (size_t)(out * in));
    *w = (dfx_weight){ .name = "w", .spec = { DFX_F32, 2, { out, in } }, .data = data };
    return w;
}

static void test_errors_stick(void)
{
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_push(s, "block.1");
    dfx_value *x = dfx_input(s, "x", DFX_F32, 2, (int64_t[]){ 3, 5 });
    dfx_value *bad = dfx_geglu(x); /* 5 is odd */
    ok(dfx_value_spec(bad)->rank == 0, "a call that cannot be made gives a bad value");
    dfx_pop(s);
    dfx_push(s, "later");
    bad = dfx_add(dfx_silu(bad), x);
    dfx_value *other = dfx_geglu(x);
    dfx_output(other, "y");
    ok(dfx_value_spec(bad)->rank == 0, "calls on bad values give bad values");
    ok(dfx_sequence_prepare(s) == DFX_ERROR_ARGUMENT, "prepare returns the failure");
    ok(strncmp(dfx_error(), "block.1: geglu: ", 16) == 0, "the first error, with its block: %s",
       dfx_error());
    ok(dfx_sequence_run(s) == DFX_ERROR_ARGUMENT, "an unprepared sequence does not run");
    dfx_sequence_free(s);
    ok(dfx_silu(NULL) == NULL, "operators pass NULL on");
}

static void test_names(void)
{
    dfx_sequence *s;
    float y[4], x[4] = { 1, 2, 3, 4 };
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_value *v = dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 4 });
    dfx_output(dfx_cast(v, DFX_F32), "same");
    dfx_output(dfx_scale(dfx_reshape(v, 2, (int64_t[]){ 2, 2 }), 2, 1), "y");
    ok(dfx_sequence_prepare(s) == DFX_OK, "prepared: %s", dfx_error());
    ok(dfx_sequence_write(s, "x", x, 12) == DFX_ERROR_ARGUMENT, "another size: %s", dfx_error());
    ok(dfx_sequence_write(s, "z", x, 16) == DFX_ERROR_ARGUMENT, "no such input: %s", dfx_error());
    ok(dfx_sequence_read(s, "x", x, 16) == DFX_ERROR_ARGUMENT, "an input is no output");
    ok(dfx_sequence_write(s, "x", x, 16) == DFX_OK && dfx_sequence_run(s) == DFX_OK, "runs");
    dfx_sequence_read(s, "y", y, 16);
    ok(y[0] == 3 && y[3] == 9, "through a reshape");
    dfx_sequence_read(s, "same", y, 16);
    ok(y[0] == 1 && y[3] == 4, "an input can be an output too");
    x[0] = 10;
    dfx_sequence_write(s, "x", x, 16);
    dfx_sequence_run(s);
    dfx_sequence_read(s, "y", y, 16);
    ok(y[0] == 21, "a second run");
    dfx_sequence_free(s);
}

/* Items that live together must not overlap; the plan is compared with the largest sum alive. */
static void test_plan(void)
{
    enum { ITEMS = 300, CALLS = 100 };
    static dfx__plan_item item[ITEMS];
    size_t size[32], alive[CALLS] = { 0 }, needed = 0;
    unsigned seed = 1;
    for (int i = 0; i < ITEMS; i++) {
        seed = seed * 1103515245 + 12345;
        int first = (int)(seed >> 16) % CALLS, length = (int)(seed >> 24) % 7;
        item[i] = (dfx__plan_item){ 64 + (seed >> 12) % 5000, first,
                                    first + length < CALLS ? first + length : CALLS - 1, 0, 0 };
    }
    int arenas = dfx__plan(item, ITEMS, 64, 1 << 30, size, 8), overlaps = 0, misplaced = 0;
    for (int i = 0; i < ITEMS; i++) {
        for (int k = item[i].first; k <= item[i].last; k++)
            alive[k] += item[i].bytes;
        misplaced += item[i].offset % 64 != 0 || item[i].offset + item[i].bytes > size[0];
        for (int j = 0; j < i; j++)
            overlaps += item[i].first <= item[j].last && item[j].first <= item[i].last &&
                        item[i].offset < item[j].offset + item[j].bytes &&
                        item[j].offset < item[i].offset + item[i].bytes;
    }
    for (int k = 0; k < CALLS; k++)
        needed = alive[k] > needed ? alive[k] : needed;
    ok(arenas == 1 && !overlaps && !misplaced, "nothing that lives together overlaps");
    ok(size[0] <= needed + needed / 5, "the arena has %zu bytes, %zu are alive at once", size[0],
       needed);
    arenas = dfx__plan(item, ITEMS, 64, 8192, size, 32);
    int fits = arenas > 1;
    for (int a = 0; a < arenas; a++)
        fits = fits && size[a] <= 8192;
    ok(fits, "no arena passes the largest buffer (%d arenas)", arenas);
    ok(dfx__plan(item, ITEMS, 64, 8192, size, 2) == -1, "too few arenas are told");
}

static void record_linear(dfx_sequence *s, dfx_weight *w, int64_t rows)
{
    dfx_value *x = dfx_input(s, "x", DFX_F32, 2, (int64_t[]){ rows, w->spec.dim[1] });
    dfx_output(dfx_linear(x, dfx_constant(s, w), NULL), "y");
    ok(dfx_sequence_prepare(s) == DFX_OK, "prepared for %d rows: %s", (int)rows, dfx_error());
}

static void test_shared_weights(void)
{
    static float data[40 * 50];
    dfx_weight w;
    dfx_sequence *a, *b;
    random_weight(&w, data, 40, 50);
    uint64_t before = dfx_device_memory_used(device);
    dfx_sequence_new(&a, device, DFX_F32);
    dfx_sequence_new(&b, device, DFX_F32);
    record_linear(a, &w, 3);
    uint64_t one = dfx_device_memory_used(device) - before;
    record_linear(b, &w, 3);
    uint64_t both = dfx_device_memory_used(device) - before;
    dfx_sequence_info info;
    dfx_sequence_get_info(b, &info);
    ok(both - one == info.activation_bytes, "the second sequence adds activations only");
    ok(info.weight_bytes >= sizeof data && info.calls == 1 && info.flops == 2.0 * 3 * 40 * 50,
       "what it does is known");
    dfx_sequence_free(a);
    float x[150], y[120];
    for (int i = 0; i < 150; i++)
        x[i] = (float)(i % 7) - 3;
    dfx_sequence_write(b, "x", x, sizeof x);
    ok(dfx_sequence_run(b) == DFX_OK, "it runs after the first one is gone");
    dfx_sequence_read(b, "y", y, sizeof y);
    double want = 0;
    for (int k = 0; k < 50; k++)
        want += (double)x[100 + k] * data[39 * 50 + k];
    ok(fabs(y[119] - want) < 1e-4, "and is right: %g, %g", y[119], want);
    dfx_sequence_free(b);
    ok(dfx_device_memory_used(device) == before, "everything is given back");
}

/* The last number of a weight, in each type that has such numbers; odd sizes leave a rest. */
static void test_not_finite(void)
{
    static const struct {
        dfx_dtype dtype;
        uint64_t nan, infinite, largest;
    } cases[] = {
        { DFX_F32, 0x7fc00000, 0xff800000, 0xff7fffff },
        { DFX_F16, 0x7c01, 0xfc00, 0xfbff },
        { DFX_BF16, 0x7fc0, 0xff80, 0xff7f },
        { DFX_F64, 0x7ff0000000000001, 0xfff0000000000000, 0xffefffffffffffff },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char data[5 * 7 * 8 + 1] = { 0 }, *first = data + 1; /* not aligned */
        size_t size = dfx_dtype_size(cases[i].dtype);
        int good = 1;
        for (size_t n = 1; n <= 35; n++) {
            memcpy(first + (n - 1) * size, &cases[i].largest, size);
            good &= dfx__is_finite(first, cases[i].dtype, n);
            memcpy(first + (n - 1) * size, &cases[i].nan, size);
            good &= !dfx__is_finite(first, cases[i].dtype, n);
            memcpy(first + (n - 1) * size, &cases[i].infinite, size);
            good &= !dfx__is_finite(first, cases[i].dtype, n);
            memset(first, 0, sizeof data - 1);
        }
        ok(good, "NaN and infinity are told from other numbers in %s",
           dfx_dtype_name(cases[i].dtype));
    }
    float numbers[35] = { 0 };
    numbers[34] = NAN;
    dfx_weight w = { "w", "file", { DFX_F32, 2, { 5, 7 } }, numbers, 0, NULL, 0 };
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_value *x = dfx_input(s, "x", DFX_F32, 2, (int64_t[]){ 3, 7 });
    dfx_output(dfx_linear(x, dfx_constant(s, &w), NULL), "y");
    ok(dfx_sequence_prepare(s) == DFX_ERROR_FORMAT && strstr(dfx_error(), "file: w: has numbers"),
       "a weight with NaN is refused: %s", dfx_error());
    dfx_sequence_free(s);
}

static void test_limits(void)
{
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_input(s, "x", DFX_F32, 2, (int64_t[]){ 0, 4 });
    ok(dfx_sequence_prepare(s) == DFX_ERROR_ARGUMENT, "an empty shape: %s", dfx_error());
    dfx_sequence_free(s);
    dfx_sequence_new(&s, device, DFX_F32);
    int64_t huge[] = { 1 << 20, 1 << 20 };
    dfx_output(dfx_silu(dfx_input(s, "x", DFX_F32, 2, huge)), "y");
    ok(dfx_sequence_prepare(s) == DFX_ERROR_MEMORY, "4 TiB are refused: %s", dfx_error());
    dfx_sequence_free(s);
    ok(dfx_sequence_new(&s, device, DFX_I8) == DFX_ERROR_ARGUMENT && !s, "a dtype: %s",
       dfx_error());
}

static void test_interrupt(void)
{
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_output(dfx_silu(dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 4 })), "y");
    dfx_sequence_prepare(s);
    dfx_interrupt();
    ok(dfx_sequence_run(s) == DFX_ERROR_INTERRUPTED, "an interrupt stops a run");
    ok(dfx_sequence_run(s) == DFX_OK, "the next one runs");
    dfx_sequence_free(s);
}

/* y = 2 x + ((3 t + 1) 2 + 1), where t is invariant, and a sum of x that takes all memory that is
 * free before that is read. */
static dfx_sequence *record_invariant(int marked)
{
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_value *x = dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 64 }), *sum = x;
    dfx_value *t = dfx_input(s, "t", DFX_F32, 1, (int64_t[]){ 64 });
    if (marked)
        dfx_invariant(t);
    for (int i = 0; i < 4; i++)
        sum = dfx_add(sum, dfx_scale(sum, -1, 0));
    t = dfx_scale(dfx_reshape(dfx_scale(t, 3, 1), 2, (int64_t[]){ 8, 8 }), 2, 1);
    dfx_output(t, "of t");
    dfx_output(dfx_add(dfx_scale(dfx_add(x, sum), 2, 0), dfx_reshape(t, 1, (int64_t[]){ 64 })),
               "y");
    ok(dfx_sequence_prepare(s) == DFX_OK, "prepared: %s", dfx_error());
    return s;
}

static int writes(dfx_sequence *s, const char *name, float first)
{
    float data[64];
    for (int i = 0; i < 64; i++)
        data[i] = first + (float)i;
    return dfx_sequence_write(s, name, data, sizeof data) == DFX_OK;
}

/* Whether a run with inputs that begin so gives what it should, and how often the calls on t alone
 * and the others ran until now. */
static int runs_to(dfx_sequence *s, float x, float t, int steady, int others)
{
    float y[64], of_t[64];
    int good = dfx_sequence_run(s) == DFX_OK && dfx_sequence_read(s, "y", y, sizeof y) == DFX_OK &&
               dfx_sequence_read(s, "of t", of_t, sizeof of_t) == DFX_OK;
    for (int i = 0; i < 64 && good; i++) {
        float want = (3 * (t + (float)i) + 1) * 2 + 1;
        good = of_t[i] == want && y[i] == 2 * (x + (float)i) + want;
    }
    for (int k = 0; k < s->calls; k++)
        good &= s->call[k]->runs == (k < s->kept_calls ? steady : others);
    return good;
}

static void test_invariant(void)
{
    dfx_sequence_info all, kept;
    dfx_sequence *s = record_invariant(0);
    dfx_sequence_get_info(s, &all);
    ok(writes(s, "x", 5) && writes(s, "t", 9) && runs_to(s, 5, 9, 1, 1) && runs_to(s, 5, 9, 2, 2),
       "what is not marked is computed in each run");
    dfx_sequence_free(s);
    s = record_invariant(1);
    dfx_sequence_get_info(s, &kept);
    ok(s->kept_calls == 2 && all.flops - kept.flops == 2 * 64,
       "what is kept is not counted: %g of %g", kept.flops, all.flops);
    writes(s, "x", 1);
    writes(s, "t", 2);
    dfx_interrupt();
    ok(dfx_sequence_run(s) == DFX_ERROR_INTERRUPTED && runs_to(s, 1, 2, 1, 1),
       "after a run that came to nothing all is computed");
    ok(writes(s, "x", 3) && runs_to(s, 3, 2, 1, 2) && runs_to(s, 3, 2, 1, 3),
       "what follows from the invariant input alone is not computed again");
    ok(writes(s, "t", 7) && runs_to(s, 3, 7, 2, 4) && runs_to(s, 3, 7, 2, 5),
       "but when it is written");
    dfx_sequence_free(s);
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_value *y = dfx_silu(dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 4 }));
    dfx_invariant(y);
    dfx_output(y, "y");
    ok(dfx_sequence_prepare(s) == DFX_ERROR_ARGUMENT && strstr(dfx_error(), "invariant"),
       "only inputs are invariant by word: %s", dfx_error());
    dfx_sequence_free(s);
}

/* Whether a value of that shape can be recorded in f16, and its silu. */
static int is_recorded(int rank, const int64_t *dim)
{
    dfx_sequence *s;
    dfx_sequence_new(&s, device, DFX_F16);
    int good = dfx_value_spec(dfx_silu(dfx_input(s, "x", DFX_F16, rank, dim)))->rank == rank;
    dfx_sequence_free(s);
    return good;
}

/* OpenCL kernels number elements with 64 bits, but pixels and channels with 32. A recording, which
 * needs no memory, refuses what they cannot count. */
static void test_counts(void)
{
    const int64_t side = 1 << 16, native = device->is_native;
    dfx_sequence *s;
    ok(is_recorded(4, (int64_t[]){ 1, side, side / 4, 4096 }), "2^42 elements are recorded");
    ok(is_recorded(3, (int64_t[]){ side, side, 1 }) == native,
       "2^32 rows where they can be counted");
    ok(is_recorded(2, (int64_t[]){ 1, INT32_MAX }) == native, "2^31 - 1 channels, too");
    dfx_sequence_new(&s, device, DFX_F16);
    dfx_value *x = dfx_input(s, "x", DFX_F16, 2, (int64_t[]){ side, side });
    x = dfx_silu(dfx_reshape(x, 3, (int64_t[]){ side, side, 1 }));
    if (native)
        ok(dfx_value_spec(x)->rank == 3, "a result of 2^32 rows is recorded");
    else
        ok(dfx_sequence_prepare(s) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), "silu: its result [65536, 65536, 1] is larger than OpenCL"),
           "a result of 2^32 rows is refused: %s", dfx_error());
    dfx_sequence_free(s);
}

/* On OpenCL the check mode compares each call, and finds an operator that is wrong. */
static void test_check_mode(void)
{
    dfx_sequence *s;
    float x[6] = { 0 };
    if (device->is_native) {
        skip("the native CPU is the reference", "check mode");
        return;
    }
    setenv("DFX_DEBUG", "check", 1);
    dfx_sequence_new(&s, device, DFX_F32);
    dfx_output(dfx_silu(dfx_input(s, "x", DFX_F32, 1, (int64_t[]){ 6 })), "y");
    dfx_sequence_prepare(s);
    for (int i = 0; i < 6; i++)
        x[i] = (float)i - 2;
    dfx_sequence_write(s, "x", x, sizeof x);
    ok(dfx_sequence_run(s) == DFX_OK, "check mode passes what is right: %s", dfx_error());
    dfx_op wrong = *s->call[0]->op;
    wrong.cpu = dfx__gelu.cpu;
    s->call[0]->op = &wrong;
    ok(dfx_sequence_run(s) == DFX_ERROR_DEVICE, "and finds what is not: %s", dfx_error());
    dfx_sequence_free(s);
    unsetenv("DFX_DEBUG");
}

int main(void)
{
    const char *name = getenv("DFX_DEVICE");
    if (dfx_device_open(&device, name) != DFX_OK) {
        printf("Bail out! %s\n", dfx_error());
        return 1;
    }
    printf("# device %s\n", dfx_device_get_info(device)->name);
    test_errors_stick();
    test_names();
    test_plan();
    test_shared_weights();
    test_not_finite();
    test_limits();
    test_interrupt();
    test_invariant();
    test_counts();
    test_check_mode();
    dfx_device_free(device);
    return done();
}
