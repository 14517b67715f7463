/* tune.c - where there are several ways to do a call, the fastest measured on the device.
 *
 * The ways of a call are recorded as the calls of a small sequence, on inputs of its own, and take
 * turns, so that a disturbance meets all of them. What was measured is kept (device/choices.h): the
 * same call on the same device and driver is done the same way from then on. */
#include "core/clock.h"
#include "core/dtype.h"
#include "core/noise.h"
#include "device/choices.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Smaller calls take the first way: there are many of them, and little to gain. On devices other
 * than CPUs even small ones matter, because they leave most of it idle. */
static const double least_flops = 2e8, least_flops_gpu = 5e6;

/* A later way has to be faster than an earlier one by this, or noise would choose. */
static const double margin = 0.90;

/* A way is given up when its first rounds took this many times as long as the best one's. */
static const double too_slow = 2;

/* Seconds: of all rounds but the first, until fast calls need no more of them, and of measuring
 * before a word is said. */
static const double limit = 0.3, enough = 0.02, patience = 2;

/* Of all ways those that are usually slower, perhaps a hundred times, are tried where the best one
 * takes so many seconds. */
static const double short_call = 0.05;

enum { ROUNDS = 3, FAST_ROUNDS = 10, BLOCK = 1 << 16 };

/* Of a key with as many inputs and integers as there can be. */
enum { KEY = 64 + (DFX__MAX_INPUTS + 1) * (DFX__SHAPE_TEXT + 8) + DFX__MAX_INTS * 24 };

struct tuner {
    dfx_sequence *s;
    double least_flops;
    int all; /* every way is measured and checked */
    dfx__tune_report *report;
    void *user;
    double began; /* of the first measurement; 0: none yet */
    int told;
};

/* DFX_TUNE: "off" takes the first way, "all" measures the smallest calls too. */
static double read_setting(const dfx_device *d)
{
    const char *text = getenv("DFX_TUNE");
    if (text && strcmp(text, "off") == 0)
        return INFINITY;
    if (text && strcmp(text, "all") == 0)
        return 0;
    return d->info.is_cpu || d->is_native ? least_flops : least_flops_gpu;
}

static size_t add_spec(char *key, size_t n, dfx_dtype dtype, const dfx_spec *spec)
{
    char shape[DFX__SHAPE_TEXT];
    int more = snprintf(key + n, KEY - n, " %s%s", dfx_dtype_name(dtype),
                        dfx__shape_text(shape, spec->rank, spec->dim));
    return n + (size_t)more;
}

/* What a call's time depends on: "linear f32[2, 4096, 320] f16[640, 320] f32[640] ->
 * f32[2, 4096, 640] INTEGERS". Of constants the dtype of the file: in some formats they keep it. */
static void key_of(char key[KEY], const dfx_call *c)
{
    size_t n = (size_t)snprintf(key, KEY, "%s", c->op->name);
    int inputs = DFX__MAX_INPUTS, ints = DFX__MAX_INTS;
    while (inputs > 0 && !c->in[inputs - 1])
        inputs--;
    while (ints > 0 && !c->i[ints - 1])
        ints--;
    for (int i = 0; i < inputs; i++) {
        const dfx_value *v = c->in[i];
        if (v)
            n = add_spec(key, n, v->root->weight ? v->root->weight->spec.dtype : v->spec.dtype,
                         &v->spec);
        else
            n += (size_t)snprintf(key + n, KEY - n, " -");
    }
    n += (size_t)snprintf(key + n, KEY - n, " ->");
    n = add_spec(key, n, c->out->spec.dtype, &c->out->spec);
    for (int i = 0; i < ints; i++)
        n += (size_t)snprintf(key + n, KEY - n, " %lld", (long long)c->i[i]);
}

/* An input of the call in the trial: the same constant, or memory of the same shape. */
static dfx_value *same_input(dfx_sequence *trial, const dfx_value *v, int i)
{
    char name[] = { 'i', 'n', (char)('0' + i), 0 };
    if (!v->root->weight)
        return dfx_input(trial, name, v->spec.dtype, v->spec.rank, v->spec.dim);
    dfx_value *w = dfx_constant(trial, v->root->weight);
    return v == v->root ? w : dfx_reshape(w, v->spec.rank, v->spec.dim);
}

static void record_ways(dfx_sequence *trial, const dfx_call *c, const dfx__variant *const *way,
                        int ways)
{
    dfx__inputs in = { { NULL } };
    dfx__ints i;
    dfx__floats f;
    for (int k = 0; k < DFX__MAX_INPUTS; k++)
        if (c->in[k])
            in.v[k] = same_input(trial, c->in[k], k);
    memcpy(i.v, c->i, sizeof i.v);
    memcpy(f.v, c->f, sizeof f.v);
    for (int k = 0; k < ways; k++) {
        dfx__record(c->op, in, i, f);
        if (trial->calls > k)
            trial->call[k]->variant = way[k];
    }
}

/* Numbers between -1 and 1, or zeros for indices: what lies in new memory may be NaN or denormal,
 * which some devices are slow with. */
static dfx_status fill(const dfx_value *v, float *random, void *stored)
{
    const dfx__place *p = &v->place;
    size_t bytes = dfx__spec_bytes(&v->spec), room = BLOCK * dfx_dtype_size(v->spec.dtype);
    if (dfx__dtype_is_float(v->spec.dtype))
        dfx__from_f32(stored, v->spec.dtype, random, BLOCK);
    else
        memset(stored, 0, room);
    for (size_t at = 0; at < bytes; at += room)
        DFX__TRY(p->buffer->device->class->write(p->buffer, p->offset + at, stored,
                                                 bytes - at < room ? bytes - at : room));
    return DFX_OK;
}

static dfx_status fill_inputs(dfx_sequence *trial)
{
    float *random = dfx__alloc(BLOCK, sizeof *random);
    void *stored = dfx__alloc(BLOCK, sizeof(int64_t));
    dfx_status status = random && stored ? DFX_OK : dfx__no_memory();
    if (random)
        dfx__noise(random, BLOCK, 1);
    for (const dfx_value *v = trial->values; v && status == DFX_OK; v = v->next)
        if (v->is_input)
            status = fill(v, random, stored);
    free(random);
    free(stored);
    return status;
}

/* One run of a way, timed. */
static dfx_status run(struct tuner *t, dfx_call *way)
{
    if (dfx__interrupted())
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    way->seconds = 0;
    dfx_status status = dfx__run_call(way);
    if (status == DFX_ERROR_DEVICE && !t->s->device->is_native)
        dfx__do_without(way);
    DFX__TRY(status);
    if (!t->told && dfx__seconds() - t->began > patience) {
        dfx__log("measuring kernels for %s; the result is kept for the next run",
                 t->s->device->info.name);
        t->told = 1;
    }
    return DFX_OK;
}

static double least_of(const double *seconds, int ways)
{
    double best = INFINITY;
    for (int k = 0; k < ways; k++)
        if (seconds[k] < best)
            best = seconds[k];
    return best;
}

/* One run of each way that is still in the race. */
static dfx_status run_round(struct tuner *t, dfx_sequence *trial, double *seconds, int ways)
{
    double best = least_of(seconds, ways);
    for (int k = 0; k < ways; k++) {
        if (!(seconds[k] <= too_slow * best))
            continue;
        DFX__TRY(run(t, trial->call[k]));
        if (trial->call[k]->seconds < seconds[k])
            seconds[k] = trial->call[k]->seconds;
    }
    return DFX_OK;
}

/* The first run of a way. It does not count on OpenCL devices, some of whose drivers compile when a
 * kernel is first run; but where all are measured, one that fails or is wrong is out. */
static dfx_status run_first(struct tuner *t, dfx_call *way, double *seconds)
{
    dfx__difference d = { 0, 0, 0, 0 };
    dfx_status status = run(t, way);
    *seconds = t->s->device->is_native ? way->seconds : INFINITY;
    if (!t->all || status == DFX_ERROR_INTERRUPTED)
        return status;
    if (status == DFX_OK)
        status = dfx__check_call(way, &d);
    if (status != DFX_OK || d.worst > 1)
        *seconds = NAN;
    return status == DFX_ERROR_MEMORY ? status : DFX_OK;
}

/* The best of a few runs of each of the first ways. */
static dfx_status time_ways(struct tuner *t, dfx_sequence *trial, double *seconds, int ways)
{
    for (int k = 0; k < ways; k++)
        DFX__TRY(run_first(t, trial->call[k], &seconds[k]));
    double begin = dfx__seconds(), spent = 0;
    for (int round = 0; round < ROUNDS || (round < FAST_ROUNDS && spent < enough); round++) {
        DFX__TRY(run_round(t, trial, seconds, ways));
        spent = dfx__seconds() - begin;
        if (spent > limit)
            break;
    }
    return DFX_OK;
}

/* The fastest of the ways that are right; an earlier one where noise would choose. */
static int fastest(const double *seconds, int ways)
{
    int chosen = 0;
    for (int k = 1; k < ways; k++)
        if (isnan(seconds[chosen]) ? !isnan(seconds[k]) : seconds[k] < margin * seconds[chosen])
            chosen = k;
    return chosen;
}

/* Rounds of one more way beside the best one, so that a disturbance meets both; it is given up when
 * it is slower. */
static dfx_status run_beside(struct tuner *t, dfx_sequence *trial, double *seconds, int best, int k)
{
    const int pair[] = { k, best };
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            DFX__TRY(run(t, trial->call[pair[i]]));
            seconds[pair[i]] = fmin(seconds[pair[i]], trial->call[pair[i]]->seconds);
            if (seconds[k] > too_slow * seconds[best])
                return DFX_OK;
        }
    return DFX_OK;
}

/* The other ways, one after the other. */
static dfx_status time_others(struct tuner *t, dfx_sequence *trial, double *seconds, int ways)
{
    for (int k = ways; k < trial->calls; k++) {
        int best = fastest(seconds, k);
        seconds[k] = INFINITY;
        if (seconds[best] > short_call)
            continue;
        DFX__TRY(run_first(t, trial->call[k], &seconds[k]));
        if (!isnan(seconds[k]) && !isnan(seconds[best]))
            DFX__TRY(run_beside(t, trial, seconds, best, k));
    }
    return DFX_OK;
}

static dfx_status measure(struct tuner *t, const dfx_call *c, const dfx__variant *const *way,
                          int ways, int all, double *seconds)
{
    dfx_sequence *trial;
    if (t->began == 0)
        t->began = dfx__seconds();
    DFX__TRY(dfx_sequence_new(&trial, t->s->device, t->s->dtype));
    trial->check = 0;
    trial->settled = 1;
    trial->time = 1;
    record_ways(trial, c, way, all);
    dfx_status status = dfx_sequence_prepare(trial);
    if (status == DFX_OK)
        status = fill_inputs(trial);
    if (status == DFX_OK)
        status = time_ways(t, trial, seconds, ways);
    if (status == DFX_OK)
        status = time_others(t, trial, seconds, ways);
    trial->time = 0; /* or its end would print a profile */
    dfx_sequence_free(trial);
    return status;
}

static void log_times(const char *key, const char *const *name, const double *seconds, int ways,
                      int chosen)
{
    char text[512] = "";
    size_t n = 0;
    for (int k = 0; k < ways && n < sizeof text; k++)
        n += (size_t)snprintf(text + n, sizeof text - n, ", %s %.3f ms", name[k], 1e3 * seconds[k]);
    dfx__log("tune: %s: %s%s", key, name[chosen], text);
}

/* Reports a call that was measured in all ways. */
static dfx_status tell(struct tuner *t, const char *key, const char *const *name,
                       const double *seconds, int ways, int chosen)
{
    const char *shapes = strchr(key, ' ');
    char op[64];
    snprintf(op, sizeof op, "%.*s", shapes ? (int)(shapes - key) : 0, key);
    dfx__tuned_call row = { .op = op,
                            .call = shapes ? shapes + 1 : key,
                            .variant = name[chosen],
                            .ways = ways,
                            .seconds = seconds[chosen],
                            .first = seconds[0] };
    for (int k = 0; k < ways; k++)
        row.wrong += isnan(seconds[k]);
    return t->report(t->user, &row) ? dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted") : DFX_OK;
}

/* Measures and chooses; the first way where that fails. */
static dfx_status choose_now(struct tuner *t, const char *key, dfx_call *c,
                             const dfx__variant *const *way, int ways, int all, int *chosen)
{
    const char *name[DFX__MAX_WAYS];
    double seconds[DFX__MAX_WAYS];
    *chosen = 0;
    for (int k = 0; k < all; k++)
        name[k] = way[k]->name;
    dfx_status status = measure(t, c, way, ways, all, seconds);
    if (status != DFX_OK && status != DFX_ERROR_INTERRUPTED && all > ways)
        status = measure(t, c, way, ways, all = ways, seconds);
    if (status != DFX_OK && dfx__debug("tune"))
        dfx__log("tune: %s: cannot be measured: %s", key, dfx_error());
    DFX__TRY(status);
    *chosen = fastest(seconds, all);
    dfx__choice_add(t->s->device, key, name, seconds, all, *chosen);
    if (dfx__debug("tune"))
        log_times(key, name, seconds, all, *chosen);
    return t->all ? tell(t, key, name, seconds, all, *chosen) : DFX_OK;
}

/* Whether a way turned out to fail on the device. */
static int has_fewer(const dfx_call *c, int before)
{
    const dfx__variant *way[DFX__MAX_WAYS];
    int all;
    dfx__variant_list_all(way, c, &all);
    return all < before;
}

/* Where measuring fails, for want of memory say, the first way is taken, and fails for itself if it
 * is the cause. DFX_ERROR_DEVICE: there are fewer ways now. */
static dfx_status choose_measured(struct tuner *t, dfx_call *c, const dfx__variant *const *way,
                                  int ways, int all)
{
    const char *name[DFX__MAX_WAYS];
    char key[KEY];
    key_of(key, c);
    for (int k = 0; k < all; k++)
        name[k] = way[k]->name;
    int needed = t->all ? all : ways;
    int chosen = dfx__choice_find(t->s->device, key, name, needed, all);
    dfx_status status = DFX_OK;
    if (chosen < 0 && needed > 1 && !t->s->device->rehearses)
        status = choose_now(t, key, c, way, ways, needed, &chosen);
    if (status == DFX_ERROR_INTERRUPTED || (status == DFX_ERROR_DEVICE && has_fewer(c, all)))
        return status;
    c->variant = way[chosen < 0 ? 0 : chosen];
    return DFX_OK;
}

static dfx_status choose(struct tuner *t, dfx_call *c)
{
    for (;;) {
        const dfx__variant *way[DFX__MAX_WAYS];
        int all, ways = dfx__variant_list_all(way, c, &all);
        dfx_status status = DFX_OK;
        if (all > 1 && dfx__call_flops(c) >= t->least_flops)
            status = choose_measured(t, c, way, ways, all);
        else if (ways > 0)
            c->variant = way[0];
        if (status != DFX_ERROR_DEVICE)
            return status;
    }
}

static dfx_status choose_all(struct tuner *t)
{
    dfx_sequence *s = t->s;
    dfx_status status = DFX_OK;
    for (int k = 0; k < s->calls && status == DFX_OK; k++)
        if (!s->call[k]->variant)
            status = choose(t, s->call[k]);
    if (t->began != 0) /* what was measured before an interrupt counts too */
        dfx__choices_save(s->device);
    return status;
}

dfx_status dfx__tune(dfx_sequence *s)
{
    struct tuner t = { .s = s, .least_flops = read_setting(s->device) };
    return choose_all(&t);
}

dfx_status dfx__tune_all(dfx_sequence *s, dfx__tune_report *report, void *user)
{
    struct tuner t = { .s = s, .all = 1, .report = report, .user = user, .told = 1 };
    t.least_flops = s->device->info.is_cpu || s->device->is_native ? least_flops : least_flops_gpu;
    if (s->status != DFX_OK)
        return dfx__fail(s->status, "%s", s->message);
    if (report(user, NULL))
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return choose_all(&t);
}
