/* test_scheduler.c - schedules and steps against diffusers' own (gen/schedulers.py), and what is
 * refused. */
#include "dfxcl/scheduler.h"
#include "dfxcl/tensors.h"

#include "tap.h"

#include <math.h>
#include <unistd.h>

enum { BATCH = 2, EACH = 12, COUNT = BATCH * EACH, TRACE_STEPS = 7 };

/* The generator's pseudo(): floats with 16 bits in -1..1. */
static void pseudo(uint32_t stream, uint32_t index, float *out)
{
    for (uint32_t k = 0; k < COUNT; k++) {
        uint32_t h = k * 2654435761u + stream * 40503 * (index + 1);
        h ^= h >> 15;
        h *= 2246822519u;
        h ^= h >> 13;
        out[k] = (float)(h & 0xffff) / 32768 - 1;
    }
}

static void first_sample(float *x)
{
    pseudo(1, 0, x);
    for (int k = 0; k < COUNT; k++)
        x[k] *= 2;
}

static void model_output(int i, float *out)
{
    float change[COUNT];
    pseudo(2, 0, out);
    pseudo(3, (uint32_t)i, change);
    for (int k = 0; k < COUNT; k++)
        out[k] += change[k] / 8;
}

static void draw(void *user, float *out, size_t n)
{
    float noise[COUNT];
    pseudo(4, *(uint32_t *)user, noise);
    memcpy(out, noise, n * sizeof *out);
}

/* The largest difference over the largest value that is wanted. */
static double error_of(const float *got, const float *want, int n)
{
    double worst = 0, scale = 1e-30;
    for (int i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - want[i]);
        if (!isnan(got[i]) || !isnan(want[i]))
            worst = difference <= worst ? worst : difference;
        scale = isfinite(want[i]) ? fmax(scale, fabs(want[i])) : scale;
    }
    return worst / scale;
}

/* The largest difference of a value over itself. */
static double relative_error(const float *got, const float *want, int n)
{
    double worst = 0;
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            worst = fmax(worst, fabs((double)got[i] - want[i]) / fabs(want[i]));
    return worst;
}

/* Opens a config text through a file. */
static dfx_status open_text(dfx_scheduler **out, const char *text, size_t length,
                            const char *choice)
{
    char path[] = "/tmp/dfx-scheduler-XXXXXX";
    int file = mkstemp(path);
    if (file < 0 || write(file, text, length) != (ssize_t)length)
        return DFX_ERROR_FILE;
    close(file);
    dfx_status status = dfx_scheduler_open(out, path, choice);
    unlink(path);
    return status;
}

/* A case's config with its call settings, which follow after a newline, as a choice. */
static dfx_status open_case(dfx_scheduler **out, const dfx_tensor *config)
{
    const char *text = config->data, *end = memchr(text, '\n', config->bytes);
    dfx_status status = open_text(out, text, (size_t)(end - text), NULL);
    char choice[256];
    if (status != DFX_OK || end + 1 == text + config->bytes)
        return status;
    snprintf(choice, sizeof choice, "%s,%.*s", dfx_scheduler_class(*out),
             (int)(text + config->bytes - end - 1), end + 1);
    dfx_scheduler_free(*out);
    return open_text(out, text, (size_t)(end - text), choice);
}

/* The worst of each kind over all steps of a case. */
struct errors {
    double timesteps, sigmas, steps, levels;
    int shapes;
};

static void run_steps(dfx_scheduler *s, const float *trace, const float *final, struct errors *e)
{
    float x[COUNT], output[COUNT];
    first_sample(x);
    for (int i = 0; i < dfx_scheduler_calls(s); i++) {
        uint32_t index = (uint32_t)i;
        model_output(i, output);
        e->shapes += dfx_scheduler_step(s, i, output, x, BATCH, EACH, draw, &index) != DFX_OK;
        if (trace)
            e->steps = fmax(e->steps, error_of(x, trace + i * COUNT, COUNT));
    }
    e->steps = fmax(e->steps, error_of(x, final, COUNT));
}

static void check_levels(const dfx_scheduler *s, const float *want, struct errors *e)
{
    float x[COUNT], noise[COUNT], got[COUNT];
    int middle = dfx_scheduler_calls(s) / 2;
    first_sample(x);
    pseudo(4, 0, noise);
    dfx_scheduler_scale_model_input(s, middle, x, got, BATCH, EACH);
    e->levels = fmax(e->levels, error_of(got, want, COUNT));
    dfx_scheduler_add_noise(s, middle, x, noise, got, BATCH, EACH);
    e->levels = fmax(e->levels, error_of(got, want + COUNT, COUNT));
}

/* One number of steps; returns where the next one's values are. */
static const float *check_steps(dfx_scheduler *s, const int32_t *counts, const float *want,
                                const float *trace, struct errors *e)
{
    int calls = counts[1], sigma_count = counts[2], found;
    if (dfx_scheduler_set_timesteps(s, counts[0]) != DFX_OK || dfx_scheduler_calls(s) != calls) {
        e->shapes++;
        return want + calls + sigma_count + 1 + COUNT;
    }
    e->timesteps = fmax(e->timesteps, relative_error(dfx_scheduler_timesteps(s), want, calls));
    want += calls;
    const float *sigmas = dfx_scheduler_sigmas(s, &found);
    e->shapes += found != sigma_count || !sigmas != !sigma_count;
    e->sigmas = fmax(e->sigmas, relative_error(sigmas, want, found));
    want += sigma_count;
    float initial = dfx_scheduler_init_noise_sigma(s);
    e->sigmas = fmax(e->sigmas, relative_error(&initial, want, 1));
    want += 1;
    run_steps(s, trace, want, e);
    if (trace)
        check_levels(s, trace + calls * COUNT, e);
    return want + COUNT;
}

/* Where a case's trace is, behind the values of every number of steps; *traced is which of them. */
static const float *find_trace(const int32_t *counts, int64_t n, const float *values,
                               int64_t *traced)
{
    for (int64_t k = 0; k < n; k++) {
        values += counts[3 * k + 1] + counts[3 * k + 2] + 1 + COUNT;
        if (counts[3 * k] <= TRACE_STEPS)
            *traced = k;
    }
    return values;
}

static int has(const dfx_tensor *config, const char *word)
{
    return memmem(config->data, config->bytes, word, strlen(word)) != NULL;
}

static void test_case(const dfx_tensors *t, int number)
{
    char name[32];
    snprintf(name, sizeof name, "%03d.config", number);
    const dfx_tensor *config = dfx_tensors_find(t, name);
    snprintf(name, sizeof name, "%03d.counts", number);
    const dfx_tensor *counts = dfx_tensors_find(t, name);
    snprintf(name, sizeof name, "%03d.values", number);
    const float *values = dfx_tensors_find(t, name)->data;
    dfx_scheduler *s;
    if (open_case(&s, config) != DFX_OK) {
        ok(0, "%03d opens: %s", number, dfx_error());
        return;
    }
    int64_t traced = 0, n = counts->spec.dim[0];
    const float *trace = find_trace(counts->data, n, values, &traced);
    struct errors e = { 0 };
    for (int64_t k = 0; k < n; k++)
        values = check_steps(s, (const int32_t *)counts->data + 3 * k, values,
                             k == traced ? trace : NULL, &e);
    /* torch's f32 square root is one ulp off for a fifth of the sigmas; it shows in timesteps that
     * are not whole, and rescaling betas to zero SNR magnifies it */
    int rescaled = has(config, "rescale_betas_zero_snr"), whole = !has(config, "Euler");
    ok(e.shapes == 0 && e.timesteps <= (whole ? 0 : 1e-5) && e.sigmas <= (rescaled ? 5e-6 : 1e-6) &&
           e.steps <= 1e-5 && e.levels <= 1e-6,
       "%03d: timesteps %.0e, sigmas %.0e, steps %.0e, levels %.0e: %.*s", number, e.timesteps,
       e.sigmas, e.steps, e.levels, (int)(config->bytes < 160 ? config->bytes - 1 : 160),
       (const char *)config->data);
    dfx_scheduler_free(s);
}

/* A config that must be refused with that status and a word in the message. */
struct refused {
    const char *config, *choice; /* config NULL: none */
    dfx_status status;
    const char *word;
};

#define DPM "{\"_class_name\": \"DPMSolverMultistepScheduler\""
#define EULER "{\"_class_name\": \"EulerDiscreteScheduler\""
static const struct refused refused[] = {
    { NULL, NULL, DFX_ERROR_ARGUMENT, "config" },
    { NULL, "", DFX_ERROR_UNSUPPORTED, "DDIMScheduler" },
    { NULL, "heun", DFX_ERROR_UNSUPPORTED, "EulerDiscreteScheduler (euler" },
    { NULL, "euler,foo=1", DFX_ERROR_ARGUMENT, "'foo'" },
    { NULL, "euler,foo", DFX_ERROR_ARGUMENT, "key=value" },
    { NULL, "euler,=1", DFX_ERROR_ARGUMENT, "key=value" },
    { NULL, "euler,beta_start=x", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,beta_start=NaN", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,beta_start=", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,timestep_spacing=odd", DFX_ERROR_ARGUMENT, "leading" },
    { NULL, "euler,use_karras_sigmas=1", DFX_ERROR_ARGUMENT, "true or false" },
    { NULL, "euler,use_karras_sigmas=true,use_beta_sigmas=true", DFX_ERROR_ARGUMENT, "only one" },
    { NULL, "pndm,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "dpmpp_2m,solver_order=4", DFX_ERROR_ARGUMENT, "solver_order" },
    { NULL, "dpmpp_2m,algorithm_type=dpmsolver", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "dpmpp_2m,algorithm_type=deis", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "dpmpp_2m,mu=1.1", DFX_ERROR_ARGUMENT, "use_dynamic_shifting" },
    { "[]", NULL, DFX_ERROR_FORMAT, "object" },
    { "{", NULL, DFX_ERROR_FORMAT, "" },
    { "{}", NULL, DFX_ERROR_FORMAT, "_class_name" },
    { "{\"_class_name\": 3}", NULL, DFX_ERROR_FORMAT, "_class_name" },
    { "{\"_class_name\": \"LCMScheduler\"}", NULL, DFX_ERROR_UNSUPPORTED, "'LCMScheduler'" },
    { EULER ", \"num_train_timesteps\": 2000000000}", NULL, DFX_ERROR_FORMAT,
      "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": 0}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": \"1000\"}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": null}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"beta_end\": NaN}", NULL, DFX_ERROR_FORMAT, "beta_end" },
    { EULER ", \"beta_end\": Infinity}", NULL, DFX_ERROR_FORMAT, "beta_end" },
    { EULER ", \"beta_schedule\": 3}", NULL, DFX_ERROR_FORMAT, "scaled_linear" },
    { EULER ", \"trained_betas\": \"all\"}", NULL, DFX_ERROR_FORMAT, "trained_betas" },
    { EULER ", \"trained_betas\": []}", NULL, DFX_ERROR_FORMAT, "trained_betas" },
    { EULER ", \"trained_betas\": [0.1, null]}", NULL, DFX_ERROR_FORMAT, "trained_betas[1]" },
    { EULER ", \"trained_betas\": [0.1, [2]]}", NULL, DFX_ERROR_FORMAT, "trained_betas[1]" },
    { EULER ", \"rescale_betas_zero_snr\": true, \"num_train_timesteps\": 1}", NULL,
      DFX_ERROR_ARGUMENT, "beta" },
    { DPM ", \"use_karras_sigmas\": true, \"use_exponential_sigmas\": true}", NULL,
      DFX_ERROR_ARGUMENT, "only one" },
    { DPM ", \"lambda_min_clipped\": \"-inf\"}", NULL, DFX_ERROR_FORMAT, "lambda_min_clipped" },
};

static void test_refused(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct refused *r = &refused[i];
        dfx_scheduler *s;
        dfx_status status = r->config ? open_text(&s, r->config, strlen(r->config), r->choice)
                                      : dfx_scheduler_open(&s, NULL, r->choice);
        ok(status == r->status && !s && strstr(dfx_error(), r->word), "refused: %s", dfx_error());
        dfx_scheduler_free(s);
    }
}

/* The step counts that a scheduler cannot take. */
static void test_steps_refused(void)
{
    static const struct {
        const char *choice;
        int n;
        const char *word;
    } wrong[] = {
        { "euler", 0, "1 to" },
        { "euler", -5, "1 to" },
        { "euler", 1001, "1000" },
        { "pndm", 3, "skip_prk_steps" },
        { "ddim,steps_offset=1", 1000, "steps_offset" },
        { "dpmpp_2m,lambda_min_clipped=100", 5, "lambda_min_clipped" },
        { "dpmpp_2m,beta_start=0,beta_end=0,use_exponential_sigmas=true", 5, "sigma" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dfx_scheduler *s;
        float x[COUNT] = { 0 };
        if (!ok(dfx_scheduler_open(&s, NULL, wrong[i].choice) == DFX_OK, "%s", wrong[i].choice))
            continue;
        ok(dfx_scheduler_set_timesteps(s, wrong[i].n) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), wrong[i].word),
           "refused: %s", dfx_error());
        ok(dfx_scheduler_calls(s) == 0 &&
               dfx_scheduler_step(s, 0, x, x, BATCH, EACH, NULL, NULL) == DFX_ERROR_ARGUMENT,
           "no step without a schedule");
        dfx_scheduler_free(s);
    }
}

static void test_order(void)
{
    dfx_scheduler *s;
    float x[COUNT] = { 0 }, output[COUNT] = { 0 };
    dfx_scheduler_open(&s, NULL, "dpmpp_2m_sde");
    dfx_scheduler_set_timesteps(s, 5);
    uint32_t index = 0;
    ok(dfx_scheduler_step(s, 0, output, x, BATCH, EACH, NULL, NULL) == DFX_ERROR_ARGUMENT,
       "a stochastic step needs noise: %s", dfx_error());
    ok(dfx_scheduler_step(s, 2, output, x, BATCH, EACH, draw, &index) == DFX_OK,
       "starts at call 2");
    ok(dfx_scheduler_step(s, 2, output, x, BATCH, EACH, draw, &index) == DFX_ERROR_ARGUMENT,
       "steps are in order: %s", dfx_error());
    ok(dfx_scheduler_step(s, 3, output, x, 1, EACH, draw, &index) == DFX_ERROR_ARGUMENT,
       "the size stays: %s", dfx_error());
    ok(dfx_scheduler_step(s, 3, output, x, BATCH, EACH, draw, &index) == DFX_OK, "call 3 follows");
    dfx_scheduler_set_timesteps(s, 2);
    ok(dfx_scheduler_step(s, 0, output, x, 1, EACH, draw, &index) == DFX_OK,
       "a new schedule takes another size");
    dfx_scheduler_free(s);
}

/* The first timestep of 20 that a config and a choice give. */
static float first_timestep(const char *config, const char *choice)
{
    dfx_scheduler *s;
    float first = -1;
    if (open_text(&s, config, strlen(config), choice) == DFX_OK &&
        dfx_scheduler_set_timesteps(s, 20) == DFX_OK)
        first = dfx_scheduler_timesteps(s)[0];
    dfx_scheduler_free(s);
    return first;
}

static void test_from_config(void)
{
    const char *published = "{\"_class_name\": \"FlaxPNDMScheduler\", \"skip_prk_steps\": true, "
                            "\"steps_offset\": 1, \"eta\": 3, \"other\": [1], \"clip_sample\": 0}";
    const char *saved = "{\"_class_name\": \"PNDMScheduler\", \"timestep_spacing\": \"leading\", "
                        "\"steps_offset\": 1, \"use_karras_sigmas\": null}";
    ok(first_timestep(published, NULL) == 951, "PNDM spaces leading by itself; Flax is dropped");
    ok(first_timestep(published, "euler") == 999, "Euler takes its own default, linspace");
    ok(first_timestep(saved, "euler") == 951, "but what the file carries goes over");
    ok(first_timestep(saved, "EulerDiscreteScheduler,steps_offset=3") == 953, "keys of the choice");
    ok(first_timestep(saved, "dpmpp_2m,timestep_spacing=trailing") == 999, "DPM++ trailing");
    ok(first_timestep(published, "dpmpp_2m") == 999, "a class ignores foreign keys");
}

static void test_sigmoid(const dfx_tensors *t)
{
    const dfx_tensor *betas = dfx_tensors_find(t, "sigmoid_betas");
    dfx_scheduler *s;
    float x0 = 1, noise = 0, got;
    double product = 1, worst = 0;
    dfx_scheduler_open(&s, NULL, "ddim,beta_schedule=sigmoid,num_train_timesteps=50");
    dfx_scheduler_set_timesteps(s, 50);
    for (int t50 = 0; t50 < 50; t50++) {
        product *= 1 - ((const float *)betas->data)[t50];
        dfx_scheduler_add_noise(s, 49 - t50, &x0, &noise, &got, 1, 1);
        worst = fmax(worst, fabs(got - sqrt(product)));
    }
    ok(worst < 2e-7, "sigmoid betas are DDPM's (%.0e)", worst);
    dfx_scheduler_free(s);
}

int main(void)
{
    dfx_tensors *t;
    if (!ok(dfx_tensors_open(&t, data("schedulers.safetensors")) == DFX_OK, "the fixture opens"))
        return done();
    for (int i = 0; i < dfx_tensors_count(t) / 3; i++)
        test_case(t, i);
    test_sigmoid(t);
    dfx_tensors_free(t);
    test_refused();
    test_steps_refused();
    test_order();
    test_from_config();
    return done();
}
