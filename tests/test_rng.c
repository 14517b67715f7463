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

static void test_counts(const dfx_tensors *t)
{
    static const size_t counts[] = { 1, 2, 3, 15, 16, 17, 31, 32, 100, MOST };
    static float out[MOST];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char name[32];
        dfx_rng rng;
        dfx_rng_seed(&rng, 1234);
        dfx_rng_normal(&rng, out, counts[i]);
        snprintf(name, sizeof name, "normal.%zu", counts[i]);
        double error = difference(t, name, out, counts[i]);
        ok(error <= 2e-6, "%s within 2e-6 (%.1e)", name, error);
        dfx_rng_seed(&rng, 1234);
        dfx_rng_uniform(&rng, out, counts[i]);
        snprintf(name, sizeof name, "uniform.%zu", counts[i]);
        ok(difference(t, name, out, counts[i]) == 0, "%s exact", name);
    }
}

static void test_seeds(const dfx_tensors *t)
{
    dfx_rng high, low, negative;
    float a[5], b[5];
    dfx_rng_seed(&high, 42 + ((uint64_t)1 << 32));
    dfx_rng_seed(&low, 42);
    dfx_rng_normal(&high, a, 5);
    dfx_rng_normal(&low, b, 5);
    ok(difference(t, "high_seed", a, 5) <= 2e-6, "a seed over 32 bits");
    ok(memcmp(a, b, sizeof a) == 0, "only the low 32 bits count");
    dfx_rng_seed(&low, UINT32_MAX);
    dfx_rng_seed(&negative, (uint64_t)-1);
    ok(memcmp(&low, &negative, sizeof low) == 0, "-1 is 2^64 - 1");
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
    test_seeds(t);
    test_mixed(t);
    dfx_tensors_free(t);
    return done();
}
