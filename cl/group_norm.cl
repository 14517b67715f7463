/* group_norm.cl - group normalisation of channels-last images x [images, pixels, channels].
 *
 * moments  mean and sum of squared deviations of every channel over a range of pixels
 * finish   joins the ranges and the channels of a group: mean, factor and shift of each channel
 * apply    y = (x - mean) factor + shift, and silu of that WITH_SILU
 *
 * WIDTH divides the channels. On a CPU a work-item takes all channels, on a GPU WIDTH of them, so that
 * neighbours read neighbouring memory. */

#include "group_sum.cl"

#if WIDTH == 1
#define F32_LOADV(p, i) ((p)[i])
#define F32_STOREV(p, i, v) ((p)[i] = (v))
#else
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define F32_LOADV(p, i) JOIN(vload, WIDTH)(0, (p) + (i))
#define F32_STOREV(p, i, v) JOIN(vstore, WIDTH)(v, 0, (p) + (i))
#endif

#if WITH_SILU
#define ACTIVATE(v) SILU(v)
#else
#define ACTIVATE(v) (v)
#endif

/* Pixels are taken in blocks, each with its first pixel as the origin: whatever that is, the sum of
 * squares then loses no more than a factor of BLOCK to cancellation. Blocks are joined as by Chan,
 * Golub and LeVeque (1983). */
#define BLOCK 8

/* Of an image's parts, which are all its channels in some of its pixels: this work-item's part and
 * the channels that it takes there. */
struct task {
    int part, first, end;
};

static inline struct task find_task(int channels)
{
#if LANES == 1
    return (struct task){ get_global_id(0), 0, channels };
#else
    int columns = channels / WIDTH, first = get_global_id(0) % columns * WIDTH;
    return (struct task){ get_global_id(0) / columns, first, first + WIDTH };
#endif
}

/* partial [images, ranges, 2, channels]. A part is `range` pixels, `step` of them at once in each
 * channel: all on a GPU, one block on a CPU, which then reads memory in its order. */
WORK_GROUP(LANES, 1, 1)
void moments(int pixels, int channels, int ranges, int range, int step,
             __global const T *restrict x, __global float *restrict partial)
{
    struct task t = find_task(channels);
    int begin = t.part * range, end = begin + min(range, pixels - begin);
    size_t image = get_global_id(1), next = channels; /* from pixel to pixel */
    __global float *mean = partial + (image * ranges + t.part) * 2 * channels;
    __global float *squares = mean + channels;
    if (t.part >= ranges)
        return;
    x += image * pixels * channels;
    for (int from = begin; from < end; from += step) {
        int to = from + min(step, end - from);
        for (int c = t.first; c < t.end; c += WIDTH) {
            VEC m = (VEC)(0.0f), q = (VEC)(0.0f);
            if (from > begin) {
                m = F32_LOADV(mean, c);
                q = F32_LOADV(squares, c);
            }
            for (int p = from; p < to; p += BLOCK) {
                __global const T *block = x + (size_t)p * channels + c;
                int count = min(to - p, BLOCK), seen = p - begin;
                VEC origin = LOADV(block, 0), sum = (VEC)(0.0f), sum2 = (VEC)(0.0f), d;
                if (count == BLOCK) {
#pragma unroll
                    for (int k = 1; k < BLOCK; k++) {
                        d = LOADV(block, k * next) - origin;
                        sum += d;
                        sum2 = fma(d, d, sum2);
                    }
                } else {
                    for (int k = 1; k < count; k++) {
                        d = LOADV(block, k * next) - origin;
                        sum += d;
                        sum2 = fma(d, d, sum2);
                    }
                }
                float share = (float)count / (float)(seen + count);
                d = origin + sum * (1.0f / count) - m;
                m += d * share;
                q += sum2 - sum * sum * (1.0f / count) + d * d * (seen * share);
            }
            F32_STOREV(mean, c, m);
            F32_STOREV(squares, c, q);
        }
    }
}

/* plan [images, 3, channels]: mean, factor, shift; by [images, 2, channels] or NULL; given [images,
 * groups, 2]: mean and variance, or NULL: they are those of `partial`. A group takes the `n` channels
 * of one of get_num_groups(0) groups. */
WORK_GROUP(LANES, 1, 1)
void finish(int pixels, int n, int ranges, int range, float eps,
            __global const float *restrict partial, __global const float *restrict scale,
            __global const float *restrict shift, __global const T *restrict by,
            __global const float *restrict given, __global float *restrict plan)
{
    __local float room[LANES];
    int channels = n * get_num_groups(0), first = n * get_group_id(0), lane = get_local_id(0);
    float all = (float)n * pixels, sum = 0.0f;
    partial += get_group_id(1) * (size_t)ranges * 2 * channels + first;
    plan += get_group_id(1) * (size_t)3 * channels;
    if (by)
        by += get_group_id(1) * (size_t)2 * channels;

    float group_mean, variance;
    if (given) {
        given += (get_group_id(1) * get_num_groups(0) + get_group_id(0)) * 2;
        group_mean = given[0];
        variance = given[1];
    } else {
        float origin = partial[0]; /* near the mean, so that the means lose nothing */
        for (int i = lane; i < ranges * n; i += LANES) {
            int r = i / n;
            __global const float *mean = partial + (size_t)r * 2 * channels + i % n;
            sum += min(range, pixels - r * range) * (*mean - origin);
        }
        group_mean = origin + group_sum(sum, room) / all;

        sum = 0.0f;
        for (int i = lane; i < ranges * n; i += LANES) {
            int r = i / n;
            __global const float *mean = partial + (size_t)r * 2 * channels + i % n;
            float d = *mean - group_mean;
            sum += mean[channels] + min(range, pixels - r * range) * d * d;
        }
        variance = group_sum(sum, room) / all;
    }
    float factor = 1.0f / sqrt(variance + eps);

    for (int c = first + lane; c < first + n; c += LANES) {
        plan[c] = group_mean;
        float s = scale ? scale[c] * factor : factor, t = shift ? shift[c] : 0.0f;
        float m = by ? 1.0f + LOAD(by, c) : 1.0f;
        plan[(size_t)channels + c] = m * s;
        plan[(size_t)2 * channels + c] = by ? m * t + LOAD(by, (size_t)channels + c) : t;
    }
}

WORK_GROUP(LANES, 1, 1)
void apply(int pixels, int channels, __global const T *restrict x,
           __global const float *restrict plan, __global T *restrict y)
{
    struct task t = find_task(channels);
    int first = t.part * BLOCK, count = min(BLOCK, pixels - first);
    size_t next = channels, at = (get_global_id(1) * (size_t)pixels + first) * next;
    if (count <= 0)
        return;
    plan += get_global_id(1) * (size_t)3 * channels;
    x += at;
    y += at;
    for (int c = t.first; c < t.end; c += WIDTH) {
        VEC mean = F32_LOADV(plan, c), factor = F32_LOADV(plan, next + c);
        VEC shift = F32_LOADV(plan, 2 * next + c);
        if (count == BLOCK) {
#pragma unroll
            for (int k = 0; k < BLOCK; k++) {
                VEC v = fma(LOADV(x, k * next + c) - mean, factor, shift);
                STOREV(y, k * next + c, ACTIVATE(v));
            }
        } else {
            for (int k = 0; k < count; k++) {
                VEC v = fma(LOADV(x, k * next + c) - mean, factor, shift);
                STOREV(y, k * next + c, ACTIVATE(v));
            }
        }
    }
}
