/* test_memory.c - sizes, limits, plans beside what runs take, and what gives way where memory is
 * short. */
#include "log_test.h"
#include "pipeline_test.h"

#include "core/status.h"

#include <inttypes.h>

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        { "0", 0 },
        { "4096", 4096 },
        { "1.5K", 1536 },
        { "800M", 800u << 20 },
        { "2GiB", UINT64_C(2) << 30 },
        { "3gb", UINT64_C(3) << 30 },
        { "1T", UINT64_C(1) << 40 },
    };
    static const char *const bad[] = {
        "", "M", "-1", "1.5.5G", "12X", "1 G", "1Gx", "nan", "9e9T"
    };
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ok(dfx_bytes_parse(&bytes, good[i].text) == DFX_OK && bytes == good[i].bytes,
           "%s is %" PRIu64, good[i].text, good[i].bytes);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(dfx_bytes_parse(&bytes, bad[i]) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
}

/* A driver that has less memory than its device. */
static dfx_status (*honest_allocate)(dfx__buffer **out, dfx_device *d, size_t bytes);
static uint64_t driver_has;

static dfx_status poor_allocate(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    if (d->used + bytes > driver_has)
        return dfx__fail(DFX_ERROR_MEMORY, "nothing left");
    return honest_allocate(out, d, bytes);
}

static void make_poor(dfx_device *d, uint64_t has)
{
    static dfx__device_class poor;
    poor = *d->class;
    honest_allocate = poor.allocate;
    poor.allocate = poor_allocate;
    driver_has = has;
    d->class = &poor;
}

/* A run on a pipeline of its own under a limit. */
struct trial {
    const char *model, *device;
    int width, height;
    uint64_t limit, has; /* has: what the driver really has; 0: none, all */
    int stop_at;         /* -1: never */
    dfx_status status;
    dfx_result *result;
    int calls;
    dfx_plan *plan;
    uint64_t peak;
};

static void draw(struct trial *t)
{
    struct watch w = { NULL, t->model, 0, 1, 0, t->stop_at, 0, 0 };
    dfx_pipeline_options open = { .device = t->device, .dtype = "f32", .memory_limit = t->limit };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p;
    logged[0] = '\0';
    t->result = NULL;
    t->plan = NULL;
    t->status = dfx_pipeline_open(&p, data(t->model), &open);
    if (t->status != DFX_OK)
        return;
    if (t->has)
        make_poor((dfx_device *)dfx_pipeline_device(p), t->has);
    o.prompt = "a cat";
    o.steps = 3;
    o.seed = 5;
    o.width = t->width;
    o.height = t->height;
    o.on_step = on_step;
    o.user = &w;
    o.last = 1;
    t->status = dfx_pipeline_plan(&t->plan, p, &o);
    if (t->status == DFX_OK)
        t->status = dfx_pipeline_generate(&t->result, p, &o);
    t->calls = w.calls;
    t->peak = dfx_device_memory_peak(dfx_pipeline_device(p));
    dfx_pipeline_free(p);
}

static void end(struct trial *t)
{
    dfx_result_free(t->result);
    dfx_plan_free(t->plan);
}

static double distance(const dfx_result *a, const dfx_result *b)
{
    const dfx_tensor *x = dfx_result_floats(a), *y = dfx_result_floats(b);
    double most = 0;
    if (x->bytes != y->bytes)
        return INFINITY;
    for (size_t i = 0; i < x->bytes / sizeof(float); i++)
        most = fmax(most, fabs((double)((const float *)x->data)[i] - ((const float *)y->data)[i]));
    return most;
}

static const dfx_plan_part *part(const dfx_plan *plan, const char *component)
{
    for (int i = 0; plan && i < plan->count; i++)
        if (strcmp(plan->parts[i].component, component) == 0)
            return &plan->parts[i];
    return NULL;
}

static void check_plan(const struct trial *t)
{
    const dfx_plan_part *unet = part(t->plan, "unet");
    double planned = (double)t->plan->peak, taken = (double)t->peak;
    ok(fabs(planned - taken) <= 0.05 * taken, "%s on %s: %.0f bytes planned, %.0f taken", t->model,
       t->device, planned, taken);
    ok(unet && unet->flops > 0 && unet->calls > 10 && strstr(unet->kernels, "conv2d:"),
       "the plan has the UNet's work: %s", unet ? unet->kernels : "none");
    ok(unet && unet->weight_bytes && unet->activation_bytes && unet->largest_buffer &&
           !unet->streamed_bytes,
       "and its memory");
    ok(t->peak <= t->plan->limit, "no more than the limit is taken");
}

/* With half of the UNet's weights less than it needs. */
static void test_streaming(const struct trial *whole)
{
    const dfx_plan_part *unet = part(whole->plan, "unet");
    struct trial t = *whole;
    t.limit = unet->activation_bytes + unet->weight_bytes / 2;
    draw(&t);
    const dfx_plan_part *streamed = part(t.plan, "unet");
    ok(t.status == DFX_OK, "%s on %s within %" PRIu64 " bytes: %s", t.model, t.device, t.limit,
       t.status ? dfx_error() : "runs");
    if (t.status == DFX_OK) {
        ok(streamed->streamed_bytes > unet->weight_bytes / 2 &&
               strncmp(streamed->device, t.device, strlen(t.device)) == 0,
           "more than half of the weights are streamed");
        ok(streamed->moved_bytes < streamed->streamed_bytes && streamed->moved_bytes,
           "some of them once: %" PRIu64 " in each run of %" PRIu64, streamed->moved_bytes,
           streamed->streamed_bytes);
        ok(t.peak <= t.limit &&
               fabs((double)t.plan->peak - (double)t.peak) <= 0.05 * (double)t.peak,
           "as planned: %" PRIu64 " bytes, %" PRIu64 " taken", t.plan->peak, t.peak);
        ok(distance(t.result, whole->result) == 0, "the picture is the same");
        ok(strstr(logged, "unet: ") && strstr(logged, "move to device"), "said: %.*s",
           (int)strcspn(logged, "\n"), logged);
    }
    end(&t);
    t.stop_at = 1;
    draw(&t);
    ok(t.status == DFX_ERROR_INTERRUPTED, "stopped between steps that stream");
    end(&t);
}

/* What the driver does not have is found out by trying. */
static void test_poor_driver(const struct trial *whole)
{
    const dfx_plan_part *unet = part(whole->plan, "unet");
    struct trial t = *whole;
    t.has = unet->activation_bytes + unet->weight_bytes * 2 / 3;
    draw(&t);
    ok(t.status == DFX_OK && t.peak <= t.has && distance(t.result, whole->result) == 0,
       "%s on a driver with less memory: %s", t.model, t.status ? dfx_error() : "the same picture");
    ok(strstr(logged, "has no more than") && strstr(logged, "move to device"), "said: %.*s",
       (int)strcspn(logged, "\n"), logged);
    end(&t);
}

/* Where nothing fits the CPU takes over; on the CPU itself the run ends before it begins. */
static void test_nothing_fits(const struct trial *whole)
{
    struct trial t = *whole;
    t.limit = 20000;
    draw(&t);
    if (strcmp(t.device, "cpu") == 0) {
        ok(t.status == DFX_ERROR_MEMORY && t.calls == 0 && !strchr(dfx_error(), '\n') &&
               strstr(dfx_error(), "the limit is"),
           "nothing fits: %s", dfx_error());
    } else {
        const dfx_plan_part *unet = part(t.plan, "unet");
        ok(t.status == DFX_OK && unet && strcmp(unet->device, "cpu") == 0, "the CPU takes over");
        ok(t.status == DFX_OK && distance(t.result, whole->result) < 1e-3, "with the same picture");
        ok(strstr(logged, "unet does not fit into device"), "said: %.*s",
           (int)strcspn(logged, "\n"), logged);
    }
    end(&t);
}

static void test_model(const char *device, const char *model, int streams)
{
    struct trial t = { .model = model, .device = device, .width = 32, .height = 32 };
    t.stop_at = -1;
    draw(&t);
    ok(t.status == DFX_OK, "%s on %s: %s", model, device, t.status ? dfx_error() : "runs");
    ok(!strstr(logged, "fit") && !strstr(logged, "move"), "nothing is said where all fits: %s",
       logged);
    if (t.status == DFX_OK) {
        check_plan(&t);
        if (streams) {
            test_streaming(&t);
            test_poor_driver(&t);
        }
        test_nothing_fits(&t);
    }
    end(&t);
}

/* A plan between two runs changes nothing but what is kept. */
static void test_between(const char *device)
{
    dfx_pipeline_options open = { .device = device, .dtype = "f32" };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *a = NULL, *b = NULL;
    dfx_plan *plan = NULL, *again = NULL;
    dfx_pipeline *p;
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK, "opens: %s", dfx_error()))
        return;
    o.prompt = "a cat";
    o.steps = 2;
    o.seed = 1;
    dfx_status status = dfx_pipeline_generate(&a, p, &o);
    uint64_t kept = dfx_device_memory_used(dfx_pipeline_device(p));
    uint64_t peak = dfx_device_memory_peak(dfx_pipeline_device(p));
    status = status == DFX_OK ? dfx_pipeline_plan(&plan, p, &o) : status;
    ok(status == DFX_OK && kept > 0 && dfx_device_memory_used(dfx_pipeline_device(p)) == 0,
       "what was kept goes for a plan");
    ok(dfx_device_memory_peak(dfx_pipeline_device(p)) == peak, "the peak is that of real runs");
    status = status == DFX_OK ? dfx_pipeline_generate(&b, p, &o) : status;
    ok(status == DFX_OK && distance(a, b) == 0, "the next run draws the same");
    o.width = 128;
    o.last = 1;
    status = status == DFX_OK ? dfx_pipeline_plan(&again, p, &o) : status;
    ok(status == DFX_OK &&
           part(again, "unet")->activation_bytes > part(plan, "unet")->activation_bytes,
       "a larger picture needs more");
    dfx_plan_free(again);
    o.width = 100;
    ok(dfx_pipeline_plan(&again, p, &o) == DFX_ERROR_ARGUMENT && !again, "refused: %s",
       dfx_error());
    dfx_plan_free(plan);
    dfx_result_free(a);
    dfx_result_free(b);
    dfx_pipeline_free(p);
}

static void add(dfx_tensors *in, const char *name, dfx_spec spec)
{
    static float zeros[77 * 32];
    dfx_tensors_add(in, name, &spec, zeros);
}

/* A component on its own streams too. */
static void test_forward(const char *name)
{
    dfx_tensors *in, *whole, *streamed;
    dfx_device *d;
    dfx_model *m;
    dfx_tensors_new(&in);
    dfx_tensors_new(&whole);
    dfx_tensors_new(&streamed);
    if (!ok(dfx_device_open(&d, name) == DFX_OK && dfx_model_open(&m, data("tiny/unet")) == DFX_OK,
            "a UNet and a device: %s", dfx_error()))
        return;
    add(in, "sample", (dfx_spec){ DFX_F32, 4, { 1, 4, 8, 8 } });
    add(in, "timestep", (dfx_spec){ DFX_F32, 1, { 1 } });
    add(in, "encoder_hidden_states", (dfx_spec){ DFX_F32, 3, { 1, 77, 32 } });
    dfx_status status = dfx_model_forward(m, d, DFX_F32, in, whole);
    dfx_device_set_memory_limit(d, dfx_device_memory_peak(d) * 3 / 4);
    if (status == DFX_OK)
        status = dfx_model_forward(m, d, DFX_F32, in, streamed);
    const dfx_tensor *a = dfx_tensors_find(whole, "sample");
    const dfx_tensor *b = dfx_tensors_find(streamed, "sample");
    ok(status == DFX_OK && a && b && memcmp(a->data, b->data, a->bytes) == 0,
       "a component on its own streams: %s", status ? dfx_error() : "the same");
    dfx_tensors_free(in);
    dfx_tensors_free(whole);
    dfx_tensors_free(streamed);
    dfx_model_free(m);
    dfx_device_free(d);
}

/* What a device can do is tried with real memory, even when a plan asks first. */
static void test_features(const char *device)
{
    dfx_pipeline_options open = { .device = device, .dtype = "bf16" };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_plan *plan[2] = { NULL, NULL };
    o.prompt = "a cat";
    for (int i = 0; i < 2; i++) {
        dfx_pipeline *p;
        if (!ok(dfx_pipeline_open(&p, data("tiny"), &open) == DFX_OK, "opens in bf16"))
            return;
        for (int f = 0; i && f < DFX__FEATURES; f++)
            dfx__has((dfx_device *)dfx_pipeline_device(p), (dfx__feature)f);
        ok(dfx_pipeline_plan(&plan[i], p, &o) == DFX_OK, "is planned in bf16");
        dfx_pipeline_free(p);
    }
    ok(plan[0] && plan[1] &&
           strcmp(part(plan[0], "unet")->kernels, part(plan[1], "unet")->kernels) == 0,
       "a plan takes the kernels that a run takes: %s",
       plan[0] ? part(plan[0], "unet")->kernels : "");
    dfx_plan_free(plan[0]);
    dfx_plan_free(plan[1]);
}

/* Devices take the limit from the environment. */
static void test_environment(void)
{
    dfx_device *d;
    setenv("DFX_MEMORY_LIMIT", "10M", 1);
    ok(dfx_device_open(&d, "cpu") == DFX_OK && dfx_device_memory_limit(d) == 10 << 20, "10 MiB");
    dfx_device_set_memory_limit(d, UINT64_MAX);
    ok(dfx_device_memory_limit(d) == dfx_device_get_info(d)->memory, "no more than there is");
    dfx_device_free(d);
    setenv("DFX_MEMORY_LIMIT", "much", 1);
    ok(dfx_device_open(&d, "cpu") == DFX_ERROR_ARGUMENT && !d, "refused: %s", dfx_error());
    unsetenv("DFX_MEMORY_LIMIT");
}

int main(void)
{
    static const char *const kinds[] = { "cpu", "opencl" };
    test_sizes();
    test_environment();
    dfx_set_log(keep_log, NULL);
    for (int i = 0; i < 2; i++) {
        const char *device = device_of_kind(kinds[i]);
        if (!device)
            continue;
        test_model(device, "tiny", 1);
        test_model(device, "tiny_xl", 0);
        test_between(device);
        test_forward(device);
        test_features(device);
    }
    return done();
}
