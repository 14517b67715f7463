/* pipeline_test.h - what tests of pipelines share: runs beside the latents and pictures that a
 * fixture has under "RUN/step.NN" and "RUN/image". */
#ifndef PIPELINE_TEST_H
#define PIPELINE_TEST_H

#include "tap.h"

#include "device/device.h"
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

/* A fixture's bytes [H, W, 3] or [H, W] as a picture; pixels NULL: name is NULL, or it has none. */
static inline dfx_image picture_of(const dfx_tensors *all, const char *name)
{
    const dfx_tensor *t = name ? dfx_tensors_find(all, name) : NULL;
    if (!t)
        return (dfx_image){ 0, 0, 0, NULL };
    return (dfx_image){ (int)t->spec.dim[1], (int)t->spec.dim[0], t->spec.rank == 3 ? 3 : 1,
                        (uint8_t *)t->data };
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

/* Draws with the settings and the callback. */
static inline int run_watched(dfx_result **out, dfx_pipeline *p, dfx_generate_options *o,
                              struct watch *w)
{
    o->on_step = on_step;
    o->user = w;
    dfx_status status = dfx_pipeline_generate(out, p, o);
    return ok(status == DFX_OK, "%s on %s: %s", w->name,
              dfx_device_get_info(dfx_pipeline_device(p))->id, status ? dfx_error() : "runs");
}

/* After a run: whether its calls came in order, and its latents and pictures are the fixture's. */
static inline void check_run(const struct watch *w, int calls, int compared, const dfx_result *r)
{
    const dfx_tensor *image = find(w->all, w->name, "image");
    ok(w->in_order && w->calls == calls + 1, "%s: %d calls in order", w->name, calls);
    ok(compared && w->worst_norm < 1e-3 && w->worst_one < 1e-3,
       "%s: the latents of %d steps (%.0e, at most %.0e)", w->name, w->compared, w->worst_norm,
       w->worst_one);
    double error = image_error(dfx_result_floats(r), image);
    ok(error < 1, "%s: the pictures (%.3f/255)", w->name, error);
}

/* A run that must fail for its settings, in one line with the word. */
static inline void refused(dfx_pipeline *p, const dfx_generate_options *o, const char *word)
{
    dfx_result *r;
    ok(dfx_pipeline_generate(&r, p, o) == DFX_ERROR_ARGUMENT && !r && strstr(dfx_error(), word) &&
           !strchr(dfx_error(), '\n'),
       "refused: %s", dfx_error());
}

/* The pipeline's device computes as on one core: some kernels take memory for each, which would
 * decide what fits. */
static inline void use_one_core(dfx_pipeline *p)
{
    if (p)
        ((dfx_device *)dfx_pipeline_device(p))->info.units = 1;
}

/* What to open for "cpu" or "opencl": $DFX_DEVICE where that is of the kind. NULL: the tests are
 * not for it, or it is not there. */
static inline const char *device_of_kind(const char *kind)
{
    const char *only = getenv("DFX_DEVICE"), *device = only && *only ? only : kind;
    dfx_device *d;
    if (strncmp(device, kind, strlen(kind)) != 0)
        return NULL;
    if (dfx_device_open(&d, device) != DFX_OK) {
        skip(dfx_error(), "%s", kind);
        return NULL;
    }
    dfx_device_free(d);
    return device;
}

#endif
