/* tune_gemm.c - searching parameters of CLBlast's kernels, each by a product that needs it. */
#include "bench/gemm.h"
#include "bench/search.h"
#include "bench/tune.h"

#include "core/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A candidate that takes so many times the best one's time for a small product is not tried on the
 * large one: a bad one would take minutes. */
static const double too_slow = 3;

/* And one whose large product takes so many times the best one's cannot be faster by noise alone.
 */
static const double worth_turns = 2.5;

/* So much of a kernel's time is too much for one candidate. */
static const double most_of_time = 0.3;

/* What a kernel is timed by, after a small product of the same kind; least: the
 * XGEMM_MIN_INDIRECT_SIZE that makes CLBlast take it; its share of the time. Of weights, which are
 * transposed, copying is most of the work where there are few rows. CLBlast's Copy is not among
 * them: a matrix that it could copy is taken as it lies. */
struct problem {
    const char *kernel;
    dfx__gemm_sizes small, large;
    int least;
    double share;
};

static const struct problem problems[] = {
    { "Xgemm", { 256, 256, 256, 0, 1 }, { 1024, 1024, 1024, 0, 1 }, 0, 0.50 },
    { "XgemmDirect", { 256, 160, 160, 1, 1 }, { 1024, 640, 640, 1, 1 }, DFX__NEVER, 0.26 },
    { "Transpose", { 64, 256, 256, 1, 1 }, { 64, 1024, 1024, 1, 1 }, 0, 0.08 },
    { "Pad", { 60, 250, 250, 0, 1 }, { 60, 1000, 1000, 0, 1 }, 0, 0.08 },
    { "Padtranspose", { 60, 250, 250, 1, 1 }, { 60, 1000, 1000, 1, 1 }, 0, 0.08 },
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

/* Sizes that are multiples of nothing, and several products at once: the best has to be right there
 * too. */
static const dfx__gemm_sizes odd[] = { { 37, 83, 101, 0, 1 },
                                       { 131, 67, 45, 1, 1 },
                                       { 37, 83, 101, 1, 2 } };
enum { ODD = sizeof odd / sizeof *odd };

static const char routine[] = "GemmRoutine";

struct state {
    const dfx__tuner *tuner;
    dfx__gemm_bench gemm;
    double small; /* seconds of the small product with the best parameters */
    dfx__search search;
    const struct problem *problem;
};

static dfx_status set(dfx_device *d, const dfx__space *space, const int *value)
{
    json_object *parameters = dfx__space_write(space, value);
    dfx_status status = d->class->set_parameters(d, space->kernel, parameters);
    json_object_put(parameters);
    return status;
}

static dfx_status set_least(dfx_device *d, int least)
{
    return set(d, dfx__space_of(routine), (int[DFX__SPACE_PARAMETERS]){ least });
}

/* The seconds of a problem's large product, INFINITY where one is wrong or the small one is too
 * slow.
 */
static dfx_status time_sizes(struct state *s, const struct problem *p, double *small,
                             double *seconds)
{
    *small = *seconds = INFINITY;
    DFX__TRY(dfx__gemm_time(&s->gemm, &p->small, small));
    if (!isfinite(*small) || *small > too_slow * s->small)
        return DFX_OK;
    return dfx__gemm_time(&s->gemm, &p->large, seconds);
}

/* Makes seconds INFINITY where a product of odd sizes is wrong. */
static dfx_status check_odd(struct state *s, double *seconds)
{
    for (int i = 0; i < ODD && isfinite(*seconds); i++) {
        double unused;
        DFX__TRY(dfx__gemm_time(&s->gemm, &odd[i], &unused));
        if (!isfinite(unused))
            *seconds = INFINITY;
    }
    return DFX_OK;
}

static dfx_status time_problem(struct state *s, const struct problem *p, double *small,
                               double *seconds)
{
    DFX__TRY(time_sizes(s, p, small, seconds));
    return check_odd(s, seconds);
}

/* ---- reports ---- */

static void describe(char *text, size_t size, const dfx__search *s)
{
    size_t n = 0;
    *text = '\0';
    for (int i = 0; s->has_best && i < dfx__space_parameters(s->space) && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s=%d", i ? " " : "",
                              s->space->parameter[i].name, s->best[i]);
}

static dfx_status report(const struct state *s, const dfx__gemm_sizes *sizes, int done)
{
    char best[512], shape[64];
    const dfx__search *search = &s->search;
    describe(best, sizeof best, search);
    snprintf(shape, sizeof shape, "%zu x %zu x %zu", sizes->m, sizes->n, sizes->k);
    dfx_tune_row row = { .what = search->space->kernel,
                         .shape = shape,
                         .best = best,
                         .tried = search->tried,
                         .wrong = search->wrong,
                         .seconds = search->seconds,
                         .before = search->before,
                         .done = done };
    return dfx__tuner_report(s->tuner, &row);
}

/* ---- a kernel ---- */

/* What is to be beaten. CLBlast's own parameters are timed when nothing was found yet; after that
 * what the file says of them stays. */
static dfx_status begin_kernel(struct state *s, const struct problem *p)
{
    dfx__search *search = &s->search;
    dfx_device *d = s->tuner->device;
    double before = search->before, now;
    s->problem = p;
    s->small = INFINITY;
    if (search->has_best)
        DFX__TRY(set(d, search->space, search->best));
    DFX__TRY(set_least(d, p->least));
    DFX__TRY(time_sizes(s, p, &s->small, &now));
    if (!isfinite(now) && search->has_best)
        dfx__log("CLBlast's %s: its parameters in the file are wrong: not used any more",
                 p->kernel);
    dfx__search_start(search, before > 0 ? before : now, now);
    return DFX_OK;
}

static double ops(const dfx__gemm_sizes *s)
{
    return 2 * (double)s->m * (double)s->n * (double)s->k;
}

/* The seconds of a candidate that are to be compared with the best one's: on a machine that does
 * other things too, those of both by turns. CLBlast keeps what it compiled for either. */
static dfx_status time_by_turns(struct state *s, const int *value, double *seconds)
{
    enum { TURNS = 2 };
    const dfx__search *search = &s->search;
    double best = INFINITY, mine = INFINITY, now;
    if (!search->has_best || *seconds > worth_turns * search->seconds)
        return DFX_OK;
    for (int i = 0; i < TURNS; i++) {
        DFX__TRY(set(s->tuner->device, search->space, search->best));
        DFX__TRY(dfx__gemm_time(&s->gemm, &s->problem->large, &now));
        best = fmin(best, now);
        DFX__TRY(set(s->tuner->device, search->space, value));
        DFX__TRY(dfx__gemm_time(&s->gemm, &s->problem->large, &now));
        mine = fmin(mine, now);
    }
    *seconds = isfinite(best) ? search->seconds * mine / best : mine;
    return DFX_OK;
}

static dfx_status time_candidate(struct state *s, const int *value, double *small, double *seconds)
{
    const struct problem *p = s->problem;
    DFX__TRY(set(s->tuner->device, s->search.space, value));
    DFX__TRY(time_sizes(s, p, small, seconds));
    if (isfinite(*seconds))
        DFX__TRY(time_by_turns(s, value, seconds));
    else if (isfinite(*small) && *small > too_slow * s->small) /* right, and about so slow */
        *seconds = *small * ops(&p->large) / ops(&p->small);
    return *seconds < s->search.seconds ? check_odd(s, seconds) : DFX_OK;
}

static dfx_status try_one(struct state *s, const int *value)
{
    double small = INFINITY, seconds = INFINITY, before = s->search.seconds;
    if (time_candidate(s, value, &small, &seconds) == DFX_ERROR_MEMORY)
        return DFX_ERROR_MEMORY;
    dfx__search_note(&s->search, value, seconds);
    if (s->search.seconds < before)
        s->small = small;
    return DFX_OK;
}

/* After parameters that took too much of the time, to compile mostly, those with more sums are not
 * tried any more, unless the best has as many. */
static void limit_sums(dfx__search *search, const int *value, double spent, double time)
{
    int (*sums)(const int *) = search->space->sums;
    if (!sums || spent < most_of_time * time)
        return;
    search->most_sums = sums(value) > 1 ? sums(value) - 1 : 1;
    if (search->has_best && sums(search->best) > search->most_sums)
        search->most_sums = sums(search->best);
}

static dfx_status end_kernel(const struct state *s)
{
    const dfx__search *search = &s->search;
    return set(s->tuner->device, search->space,
               search->has_best ? search->best : search->space->start[0]);
}

static dfx_status tune_kernel(struct state *s, const struct problem *p, double until)
{
    int value[DFX__SPACE_PARAMETERS];
    const dfx__tuner *t = s->tuner;
    dfx__search *search = &s->search;
    dfx__search_open(search, t->device, dfx__space_of(p->kernel));
    if (!search->has_best)
        search->has_first = dfx__tuning_find(search->first, t->device, search->space);
    double begin = dfx__tuner_spent(t);
    DFX__TRY(begin_kernel(s, p));
    dfx_status status = report(s, &p->large, 0);
    while (status == DFX_OK && dfx__tuner_spent(t) < until && dfx__search_next(search, value)) {
        double start = dfx__tuner_spent(t);
        status = try_one(s, value);
        limit_sums(search, value, dfx__tuner_spent(t) - start, until - begin);
        if (status == DFX_OK)
            status = report(s, &p->large, 0);
    }
    DFX__TRY(end_kernel(s));
    return status == DFX_OK ? report(s, &p->large, 1) : status;
}

/* ---- which kernel ---- */

enum { LEAST_SIDE = 64, SIDES = 5 };

/* Seconds of products of 64, 128 ... each way with one of the two kernels. */
static dfx_status time_sides(struct state *s, int least, double seconds[SIDES])
{
    DFX__TRY(set_least(s->tuner->device, least));
    for (size_t i = 0, n = LEAST_SIDE; i < SIDES; i++, n *= 2)
        DFX__TRY(dfx__gemm_time(&s->gemm, &(dfx__gemm_sizes){ n, n, n, 1, 1 }, &seconds[i]));
    return DFX_OK;
}

/* The smallest size from which tiles win over matrices as they lie. */
static dfx_status tune_routine(struct state *s)
{
    static const dfx__gemm_sizes shown = { DFX__GEMM_SIDE, DFX__GEMM_SIDE, DFX__GEMM_SIDE, 1, 1 };
    int least[DFX__SPACE_PARAMETERS] = { 2 * DFX__GEMM_SIDE };
    double indirect[SIDES], direct[SIDES];
    DFX__TRY(time_sides(s, 0, indirect));
    DFX__TRY(time_sides(s, DFX__NEVER, direct));
    for (int i = SIDES - 1; i >= 0 && indirect[i] < direct[i]; i--)
        least[0] = LEAST_SIDE << i;
    dfx__search_open(&s->search, s->tuner->device, dfx__space_of(routine));
    dfx__search_choose(&s->search, least, direct[SIDES - 1],
                       fmin(indirect[SIDES - 1], direct[SIDES - 1]));
    DFX__TRY(set_least(s->tuner->device, least[0]));
    return report(s, &shown, 1);
}

/* The kernel of which the least was tried for its share of the time, of those that are not done. */
static int next_problem(const struct state *s, const int *done)
{
    int next = -1;
    double least = INFINITY;
    for (int i = 0; i < PROBLEMS; i++) {
        dfx__search known;
        dfx__search_open(&known, s->tuner->device, dfx__space_of(problems[i].kernel));
        if (!done[i] && known.known / problems[i].share < least) {
            least = known.known / problems[i].share;
            next = i;
        }
    }
    return next;
}

static dfx_status tune(struct state *s, double until)
{
    const dfx__tuner *t = s->tuner;
    double begin = dfx__tuner_spent(t), end = begin;
    int done[PROBLEMS] = { 0 };
    DFX__TRY(t->device->class->set_parameters(t->device, NULL, NULL));
    for (int k = 0; k < PROBLEMS; k++) {
        int i = next_problem(s, done);
        done[i] = 1;
        end += problems[i].share * (until - begin);
        if (dfx__tuner_spent(t) < end)
            DFX__TRY(tune_kernel(s, &problems[i], end));
    }
    return dfx__tuner_spent(t) < 2 * until ? tune_routine(s) : DFX_OK;
}

static dfx_status check(struct state *s, const dfx__space *space, const int *value, double *before,
                        double *seconds)
{
    const struct problem *p = problems + PROBLEMS;
    dfx_device *d = s->gemm.device;
    double small;
    while (--p > problems && strcmp(p->kernel, space->kernel) != 0)
        continue;
    DFX__TRY(d->class->set_parameters(d, NULL, NULL));
    DFX__TRY(set_least(d, p->least));
    DFX__TRY(time_problem(s, p, &small, before));
    return set(d, space, value) == DFX_OK ? time_problem(s, p, &small, seconds) : DFX_OK;
}

dfx_status dfx__tune_check(dfx_device *d, const dfx__space *space, const int *value, double *before,
                           double *seconds)
{
    struct state s = { .small = INFINITY };
    *before = *seconds = INFINITY;
    dfx_status status = dfx__gemm_open(&s.gemm, d);
    if (status == DFX_OK)
        status = check(&s, space, value, before, seconds);
    dfx__gemm_close(&s.gemm);
    return status;
}

dfx_status dfx__tune_gemm(const dfx__tuner *t, double until)
{
    struct state s = { .tuner = t };
    dfx_status status = dfx__gemm_open(&s.gemm, t->device);
    if (status == DFX_OK)
        status = tune(&s, until);
    dfx__gemm_close(&s.gemm);
    return status;
}
