/* test_rng.c - torch's CPU generator against draws of torch itself (gen/rng.py). */
#include "dfxcl/rng.h"
#include "dfxcl/tensors.h"

#include "tap.h"

#include <math.h>

enum { MOST = 4096 };

/* The largest difference from the fixture's tensor, infinite when it has another length. */
static double difference(const dfx_tensors *t, const char *name, const float *got, size_t n)
{
    const dfx_tensor *want = dfx_tensors_find(t, name);
    double worst = 0;
    if (!want || want->bytes != n * sizeof(float))
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)got[i] - ((const float *)want->data)[i]));
    return worst;
}

/* Whether the generator goes on as torch's did after the draw of that name. */
static int goes_on(const dfx_tensors *t, const char *name, dfx_rng *rng)
{
    char next[48];
    float got[2];
    snprintf(next, sizeof next, "%s.next", name);
    dfx_rng_uniform(rng, got, 2);
    return difference(t, next, got, 2) == 0;
}

/* Draws n numbers of a type twice: by its own function into floats, and as torch's. */
static void test_draw(const dfx_tensors *t, int normal, const char *type, size_t n)
{
    static uint16_t halves[MOST];
    static float out[MOST];
    char name[32];
    dfx_rng rng;
    dfx_dtype dtype = DFX_F32;
    dfx_status status = dfx_dtype_parse(&dtype, type);
    void *to = dtype == DFX_F32 ? (void *)out : halves;
    dfx_rng_seed(&rng, 1234);
    if (status == DFX_OK)
        status =
            normal ? dfx_rng_normal_as(&rng, dtype, to, n) : dfx_rng_uniform_as(&rng, dtype, to, n);
    snprintf(name, sizeof name, "%s.%s.%zu", normal ? "normal" : "uniform", type, n);
    const dfx_tensor *want = dfx_tensors_find(t, name);
    int known = want && want->spec.dtype == dtype && want->spec.dim[0] == (int64_t)n;
    if (!ok(status == DFX_OK && known, "%s", name))
        return;
    double worst = 0;
    if (dtype == DFX_F32)
        worst = difference(t, name, out, n) / 2e-6;
    for (size_t i = 0; i < n && dtype != DFX_F32; i++) /* in units of the last place */
        worst = fmax(worst, abs(halves[i] - ((const uint16_t *)want->data)[i]));
    ok(worst <= normal, "is torch's (%.1f)", worst);
    ok(goes_on(t, name, &rng), "and leaves the generator where torch does");
}

static void test_counts(const dfx_tensors *t)
{
    static const size_t counts[] = { 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, MOST };
    static const char *const types[] = { "f32", "f16", "bf16" };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            test_draw(t, 1, types[k], counts[i]);
            test_draw(t, 0, types[k], counts[i]);
        }
    dfx_rng rng;
    double d;
    dfx_rng_seed(&rng, 1);
    ok(dfx_rng_normal_as(&rng, DFX_F64, &d, 1) == DFX_ERROR_ARGUMENT &&
           dfx_rng_uniform_as(&rng, DFX_I64, &d, 1) == DFX_ERROR_ARGUMENT,
       "refused: %s", dfx_error());
}

static void test_integers(const dfx_tensors *t)
{
    static const struct {
        int64_t low, high;
    } ranges[] = { { 0, 10 },
                   { -5, 100 },
                   { 0, (1 << 28) - 1 },
                   { 0, 1 << 28 },
                   { INT32_MIN, INT32_MAX },
                   { 0, (int64_t)1 << 32 },
                   { -((int64_t)1 << 62), (int64_t)1 << 62 },
                   { INT64_MIN, INT64_MAX } };
    int64_t out[20];
    dfx_rng rng;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        char name[32];
        snprintf(name, sizeof name, "integers.%zu", i);
        const dfx_tensor *want = dfx_tensors_find(t, name);
        dfx_rng_seed(&rng, 1234);
        ok(dfx_rng_integers(&rng, ranges[i].low, ranges[i].high, out, 20) == DFX_OK && want &&
               want->bytes == sizeof out && memcmp(out, want->data, sizeof out) == 0 &&
               goes_on(t, name, &rng),
           "%s from %lld to %lld", name, (long long)ranges[i].low, (long long)ranges[i].high);
    }
    ok(dfx_rng_integers(&rng, 3, 3, out, 1) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
}

static void test_seeds(const dfx_tensors *t)
{
    static const uint64_t seeds[] = { ((uint64_t)1 << 32) + 42, UINT64_MAX,        -(uint64_t)42,
                                      (uint64_t)1 << 63,        (uint64_t)1 << 63, UINT64_MAX };
    float out[5];
    dfx_rng rng;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        char name[32];
        snprintf(name, sizeof name, "seed.%zu", i);
        dfx_rng_seed(&rng, seeds[i]);
        dfx_rng_normal(&rng, out, 5);
        ok(difference(t, name, out, 5) <= 2e-6, "%s, %016llx", name, (unsigned long long)seeds[i]);
    }
}

static void test_mixed(const dfx_tensors *t)
{
    static const struct {
        char kind;
        size_t n;
    } mixed[] = { { 'n', 3 },  { 'n', 17 }, { 'n', 1 },   { 'u', 5 },  { 'n', 1 },
                  { 'n', 16 }, { 'n', 4 },  { 'u', 700 }, { 'n', 33 }, { 'n', 2 } };
    float out[700];
    dfx_rng rng;
    dfx_rng_seed(&rng, 7);
    for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++) {
        char name[32];
        snprintf(name, sizeof name, "mixed.%zu", i);
        int normal = mixed[i].kind == 'n';
        if (normal)
            dfx_rng_normal(&rng, out, mixed[i].n);
        else
            dfx_rng_uniform(&rng, out, mixed[i].n);
        ok(difference(t, name, out, mixed[i].n) <= (normal ? 2e-6 : 0), "%s: %s of %zu", name,
           normal ? "normal" : "uniform", mixed[i].n);
    }
}

int main(void)
{
    dfx_tensors *t;
    if (!ok(dfx_tensors_open(&t, data("rng.safetensors")) == DFX_OK, "the fixture opens"))
        return done();
    test_counts(t);
    test_integers(t);
    test_seeds(t);
    test_mixed(t);
    dfx_tensors_free(t);
    return done();
}
