/* pipeline_test.h - what tests of pipelines share: runs beside the latents and pictures that a
 * fixture has under "RUN/step.NN" and "RUN/image". */
#ifndef PIPELINE_TEST_H
#define PIPELINE_TEST_H

#include "tap.h"

#include "dfxcl.h"

#include <math.h>

/* What a run's callback sees. */
struct watch {
    const dfx_tensors *all;
    const char *name;
    int calls, in_order, compared;
    int stop_at;                  /* -1: never */
    double worst_norm, worst_one; /* of the latents, as parts of their norm and of their largest */
};

static inline void compare(struct watch *w, const float *x, const dfx_tensor *wanted)
{
    const float *y = wanted->data;
    double difference = 0, norm = 0, most = 0, largest = 0;
    for (size_t i = 0; i < wanted->bytes / sizeof *y; i++) {
        double d = fabs((double)x[i] - y[i]);
        difference += d * d;
        norm += (double)y[i] * y[i];
        most = fmax(most, isnan(d) ? INFINITY : d);
        largest = fmax(largest, fabs(y[i]));
    }
    w->worst_norm = fmax(w->worst_norm, sqrt(difference / norm));
    w->worst_one = fmax(w->worst_one, most / largest);
    w->compared++;
}

static inline int same_shape(const dfx_spec *a, const dfx_spec *b)
{
    int same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

static inline int on_step(void *user, int step, int steps, const float *latents,
                          const dfx_spec *spec)
{
    struct watch *w = user;
    char name[64];
    snprintf(name, sizeof name, "%s/step.%02d", w->name, step);
    const dfx_tensor *wanted = w->all ? dfx_tensors_find(w->all, name) : NULL;
    w->in_order = w->in_order && step == w->calls && step <= steps && !latents == !step;
    w->calls++;
    if (wanted && same_shape(spec, &wanted->spec))
        compare(w, latents, wanted);
    return step == w->stop_at;
}

static inline const dfx_tensor *find(const dfx_tensors *all, const char *run, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "%s/%s", run, what);
    return dfx_tensors_find(all, name);
}

/* Mean distance of a picture's floats in 0..1 from bytes, in 1/255. */
static inline double image_error(const dfx_tensor *got, const dfx_tensor *wanted)
{
    size_t n = wanted->bytes;
    double sum = 0;
    if (!same_shape(&got->spec, &wanted->spec))
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        sum += fabs(255.0 * ((const float *)got->data)[i] - ((const uint8_t *)wanted->data)[i]);
    return sum / (double)n;
}

#endif
