/* brownian.c - Brownian motion over an interval that is halved down to the times asked for (Li et
 * al. 2020), each half by a Brownian bridge of a seed of its own: torchsde's BrownianInterval with
 * halfway_tree, tol 1e-6 and pool_size 24, which diffusers takes. */
#include "scheduler/brownian.h"

#include "dfxcl/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 24, SEED_WORDS = 5 };

/* numpy's SeedSequence (O'Neill 2015's seed_seq_fe): hashes that change with each use. */
static uint32_t hash(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t hash_in(uint32_t value, uint32_t *constant)
{
    return hash(value, constant, 0x931e8875);
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    uint32_t z = 0xca01f9dd * x - 0x4973f715 * y;
    return z ^ z >> 16;
}

/* SeedSequence(words, pool_size=24).generate_state(1), where the words past the pool are a spawn
 * key. */
static uint32_t seed_of(const uint32_t *words, int count)
{
    uint32_t pool[POOL], constant = 0x43b0d7e5;
    for (int i = 0; i < POOL; i++)
        pool[i] = hash_in(i < count ? words[i] : 0, &constant);
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix(pool[to], hash_in(pool[from], &constant));
    for (int from = POOL; from < count; from++)
        for (int to = 0; to < POOL; to++)
            pool[to] = mix(pool[to], hash_in(words[from], &constant));
    constant = 0x8b51f9dd;
    return hash(pool[0], &constant, 0x58f38ded);
}

/* A Python integer's words, the low one first; 0 has one. */
static int put_words(uint32_t *words, uint64_t value)
{
    words[0] = (uint32_t)value;
    words[1] = (uint32_t)(value >> 32);
    return words[1] ? 2 : 1;
}

/* A part of the interval: the path to it from the top, in bits, and how long that is. */
struct part {
    double start, end;
    uint64_t path;
    uint32_t depth;
};

static uint32_t seed_of_part(const dfx__brownian *b, const struct part *p)
{
    uint32_t words[POOL + SEED_WORDS] = { 0 };
    int count = POOL;
    put_words(words, b->seed);
    count += put_words(words + count, p->path);
    count += put_words(words + count, p->depth);
    return seed_of(words, count);
}

static void draw(uint32_t seed, float *out, size_t n)
{
    dfx_rng rng;
    dfx_rng_seed(&rng, seed);
    dfx_rng_normal(&rng, out, n);
}

/* Python's round(x, 6), to the nearest decimal of the exact value. */
static double quantise(double x)
{
    char text[400]; /* a double has up to 309 digits before its point */
    snprintf(text, sizeof text, "%.6f", x);
    return strtod(text, NULL);
}

static struct part half_of(const struct part *p, double middle, int right)
{
    struct part half = *p;
    *(right ? &half.start : &half.end) = middle;
    half.path = 2 * p->path + (uint64_t)right;
    half.depth++;
    return half;
}

/* left = the increment over the part's left half, a bridge in its increment w. */
static void bridge(const dfx__brownian *b, const struct part *p, double middle, const float *w,
                   float *left, size_t n)
{
    double one = 1 / (p->end - p->start), before = middle - p->start, after = p->end - middle;
    float share = (float)before, length = (float)one;
    float deviation = (float)sqrt(before * after * one);
    draw(seed_of_part(b, p), left, n);
    for (size_t k = 0; k < n; k++)
        left[k] = share * w[k] * length + deviation * left[k];
}

static void add(float *sum, const float *w, size_t n)
{
    for (size_t k = 0; k < n; k++)
        sum[k] += w[k];
}

static void subtract(float *w, const float *left, size_t n)
{
    for (size_t k = 0; k < n; k++)
        w[k] -= left[k];
}

/* sum += the increment over [from, to] in the part, whose own is w. `left` and `other` are room; w
 * goes too. */
static void add_increment(const dfx__brownian *b, struct part p, double from, double to, float *w,
                          float *left, float *other, float *sum, size_t n)
{
    while (from != p.start || to != p.end) {
        double middle = quantise(0.5 * (p.start + p.end));
        int right = to > middle && (from >= middle || to != p.end || from == p.start);
        bridge(b, &p, middle, w, left, n);
        subtract(w, left, n); /* now it is the right half's */
        if (from < middle && to > middle) {
            if (from == p.start)
                add(sum, left, n);
            else if (to == p.end)
                add(sum, w, n);
            else /* once: both halves have an end of the interval then */
                add_increment(b, half_of(&p, middle, 0), from, middle, left, other, NULL, sum, n);
            *(right ? &from : &to) = middle;
        }
        if (!right)
            memcpy(w, left, n * sizeof *w);
        p = half_of(&p, middle, right);
    }
    add(sum, w, n);
}

static double clamp(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

void dfx__brownian_noise(const dfx__brownian *b, float from, float to, float *out,
                         float *const work[3], size_t n)
{
    struct part top = { .start = quantise(b->start), .end = quantise(b->end) };
    double first = quantise(clamp(to, top.start, top.end));
    double last = quantise(clamp(from, top.start, top.end));
    memset(out, 0, n * sizeof *out);
    if (first < last) { /* where both are the same torchsde may halve without end */
        float deviation = (float)sqrt(b->end - b->start), *w = work[0];
        uint32_t words[2];
        draw(seed_of(words, put_words(words, b->seed)), w, n);
        for (size_t k = 0; k < n; k++)
            w[k] *= deviation;
        add_increment(b, top, first, last, w, work[1], work[2], out, n);
    }
    float divisor = -sqrtf(from - to);
    for (size_t k = 0; k < n; k++)
        out[k] /= divisor;
}
