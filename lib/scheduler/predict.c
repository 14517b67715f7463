/* predict.c - from a model's output to x0 or noise, by prediction type, and what bounds x0. */
#include "scheduler/scheduler.h"

#include <math.h>
#include <string.h>

void dfx__predict_x0(float *x0, int prediction, float alpha, float sigma, const float *x,
                     const float *model_output, size_t count)
{
    switch (prediction) {
    case DFX__EPSILON:
        for (size_t k = 0; k < count; k++)
            x0[k] = (x[k] - sigma * model_output[k]) / alpha;
        break;
    case DFX__V_PREDICTION:
    case DFX__TRIGFLOW:
        for (size_t k = 0; k < count; k++)
            x0[k] = alpha * x[k] - sigma * model_output[k];
        break;
    case DFX__FLOW_PREDICTION:
        for (size_t k = 0; k < count; k++)
            x0[k] = x[k] - sigma * model_output[k];
        break;
    default: /* the sample itself */
        memmove(x0, model_output, count * sizeof *x0);
    }
}

void dfx__predict_noise(float *noise, int prediction, float alpha, float sigma, const float *x,
                        const float *model_output, size_t count)
{
    switch (prediction) {
    case DFX__EPSILON:
        memmove(noise, model_output, count * sizeof *noise);
        break;
    case DFX__V_PREDICTION:
        for (size_t k = 0; k < count; k++)
            noise[k] = alpha * model_output[k] + sigma * x[k];
        break;
    default:
        for (size_t k = 0; k < count; k++)
            noise[k] = (x[k] - alpha * model_output[k]) / sigma;
    }
}

void dfx__predict(float *x0, float *noise, int prediction, float a, const float *x,
                  const float *model_output, size_t count)
{
    float alpha = sqrtf(a), sigma = sqrtf(1 - a);
    dfx__predict_x0(x0, prediction, alpha, sigma, x, model_output, count);
    dfx__predict_noise(noise, prediction, alpha, sigma, x, model_output, count);
}

void dfx__mix(float *x, float of_a, const float *a, float of_b, const float *b, size_t count)
{
    for (size_t k = 0; k < count; k++)
        x[k] = of_a * a[k] + of_b * b[k];
}

/* The bits of |x|: they are in the order of the magnitudes. */
static uint32_t magnitude(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffff;
}

static size_t count_up_to(const float *x, size_t n, uint32_t bound)
{
    size_t count = 0;
    for (size_t k = 0; k < n; k++)
        count += magnitude(x[k]) <= bound;
    return count;
}

/* The magnitude with `rank` others below it, found by its bits: 31 passes, no memory, no sorting.
 */
static uint32_t magnitude_of_rank(const float *x, size_t n, size_t rank)
{
    uint32_t low = 0, high = 0x7fffffff;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (count_up_to(x, n, middle) > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* torch.quantile(|x|, q): linear between the two nearest, in f32. */
static float magnitude_quantile(const float *x, size_t n, float q)
{
    float rank = q * (float)(n - 1), weight = rank - floorf(rank);
    size_t below = (size_t)rank < n ? (size_t)rank : n - 1;
    uint32_t low_bits = magnitude_of_rank(x, n, below), high_bits = low_bits;
    if (weight > 0 && below + 1 < n && count_up_to(x, n, low_bits) <= below + 1)
        high_bits = magnitude_of_rank(x, n, below + 1);
    float low = float_of(low_bits), high = float_of(high_bits);
    return weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1 - weight);
}

/* As torch.clamp: a value that is not a number stays. */
static float clamp(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

void dfx__threshold(const dfx__scheduler_config *c, float *x0, size_t batch, size_t n)
{
    for (size_t b = 0; b < batch && n > 0; b++, x0 += n) {
        float s = magnitude_quantile(x0, n, (float)c->dynamic_thresholding_ratio);
        s = fminf(fmaxf(s, 1), (float)c->sample_max_value);
        for (size_t k = 0; k < n; k++)
            x0[k] = clamp(x0[k], -s, s) / s;
    }
}

void dfx__clip(const dfx__scheduler_config *c, float *x0, size_t count)
{
    float range = (float)c->clip_sample_range;
    for (size_t k = 0; k < count; k++)
        x0[k] = clamp(x0[k], -range, range);
}

void dfx__bound(const dfx__scheduler_config *c, float *x0, size_t batch, size_t n)
{
    if (c->thresholding)
        dfx__threshold(c, x0, batch, n);
    else if (c->clip_sample)
        dfx__clip(c, x0, batch * n);
}
