/* test_scheduler.c - schedules and steps against diffusers' own, a file for each class
 * (gen/schedulers says what is in it). */
#include "dfxcl/tensors.h"

#include "scheduler_test.h"

enum { TRACE_STEPS = 7 };
static const uint64_t GENERATOR_SEED = (1ull << 33) + 7;

/* A class of diffusers' with a file. What is 0 takes the common tolerance: timesteps are equal,
 * sigmas within 1e-6 of themselves, steps within 1e-5 of the sample's largest value. */
struct tested {
    const char *class;
    double timesteps, sigmas, steps;
};

static const struct tested tested[] = {
    { "CMStochasticIterativeScheduler", 0, 0, 0 },
    { "CogVideoXDDIMScheduler", 0, 0, 0 },
    { "CogVideoXDPMScheduler", 0, 0, 0 },
    { "CosineDPMSolverMultistepScheduler", 1e-6, 0, 0 }, /* timesteps are arc tangents */
    { "DDIMInverseScheduler", 0, 0, 0 },
    { "DDIMParallelScheduler", 0, 0, 0 },
    { "DDIMScheduler", 0, 0, 0 },
    { "DDPMParallelScheduler", 0, 0, 0 },
    { "DDPMScheduler", 0, 0, 0 },
    { "DEISMultistepScheduler", 0, 0, 0 },
    { "DPMSolverMultistepInverseScheduler", 0, 0, 0 },
    { "DPMSolverMultistepScheduler", 0, 0, 0 },
    /* its timesteps are logarithms, of which numpy's f32 has one ulp more */
    { "DPMSolverSDEScheduler", 1e-6, 0, 0 },
    { "DPMSolverSinglestepScheduler", 0, 0, 0 },
    /* torch's f32 logarithm is one ulp off for a twentieth of the sigmas */
    { "EDMDPMSolverMultistepScheduler", 1e-6, 0, 0 },
    { "EDMEulerScheduler", 1e-6, 0, 0 },
    { "EulerAncestralDiscreteScheduler", 0, 0, 0 },
    /* timesteps are logarithms of sigmas, of which torch's f32 square root has one ulp more */
    { "EulerDiscreteScheduler", 1e-5, 0, 0 },
    { "FlowMapEulerDiscreteScheduler", 0, 0, 0 },
    { "FlowMatchEulerDiscreteScheduler", 0, 0, 0 },
    { "FlowMatchHeunDiscreteScheduler", 0, 0, 0 },
    { "FlowMatchLCMScheduler", 0, 0, 0 },
    /* as Euler, and some have logarithms in f32 too */
    { "HeunDiscreteScheduler", 1e-5, 0, 0 },
    { "IPNDMScheduler", 1e-6, 0, 0 }, /* a square root, which ends in an angle */
    { "KDPM2AncestralDiscreteScheduler", 1e-5, 0, 0 },
    { "KDPM2DiscreteScheduler", 1e-5, 0, 0 },
    { "LCMScheduler", 0, 0, 0 },
    { "LMSDiscreteScheduler", 1e-5, 0, 0 },
    { "PNDMScheduler", 0, 0, 0 },
    { "RePaintScheduler", 0, 0, 0 },
    { "SASolverScheduler", 0, 0, 0 },
    { "SCMScheduler", 0, 0, 0 },
    { "ScoreSdeVeScheduler", 0, 0, 0 },
    { "TCDScheduler", 0, 0, 0 },
    { "UniPCMultistepScheduler", 0, 0, 0 },
};

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

/* [BATCH, parts * EACH]: with 2 parts a variance follows the mean. */
static void model_output(int i, int parts, float *out)
{
    float mean[COUNT], change[COUNT], variance[COUNT];
    pseudo(2, 0, mean);
    pseudo(3, (uint32_t)i, change);
    pseudo(100, (uint32_t)i, variance);
    for (int b = 0; b < BATCH; b++, out += parts * EACH)
        for (int k = 0; k < EACH; k++) {
            out[k] = mean[b * EACH + k] + change[b * EACH + k] / 8;
            if (parts == 2)
                out[EACH + k] = fabsf(variance[b * EACH + k]);
        }
}

/* The generator's Noise: draw k of call i is pseudo(4 + k, i). */
struct noise {
    uint32_t call, drawn;
};

static void draw(void *user, float *out, size_t n)
{
    struct noise *noise = user;
    float values[COUNT];
    pseudo(4 + noise->drawn++, noise->call, values);
    memcpy(out, values, n * sizeof *out);
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

/* RePaint's picture and mask. */
static void give_picture(dfx_scheduler *s)
{
    float picture[COUNT], mask[COUNT];
    pseudo(1000, 0, picture);
    pseudo(1001, 0, mask);
    for (int k = 0; k < COUNT; k++)
        mask[k] = mask[k] / 2 + 0.5f;
    dfx_scheduler_set_inpaint(s, picture, mask, COUNT);
}

static void run_steps(dfx_scheduler *s, const float *trace, const float *final, struct errors *e)
{
    float x[COUNT], output[2 * COUNT];
    dfx_rng rng;
    dfx_rng_seed(&rng, GENERATOR_SEED);
    dfx_scheduler_set_generator(s, &rng);
    first_sample(x);
    for (int i = 0; i < dfx_scheduler_calls(s); i++) {
        struct noise noise = { .call = (uint32_t)i };
        model_output(i, dfx_scheduler_output_parts(s), output);
        e->shapes += dfx_scheduler_step(s, i, output, x, BATCH, EACH, draw, &noise) != DFX_OK;
        if (trace)
            e->steps = fmax(e->steps, error_of(x, trace + i * COUNT, COUNT));
    }
    e->steps = fmax(e->steps, error_of(x, final, COUNT));
    dfx_scheduler_set_generator(s, NULL);
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
    if (!isnan(want[COUNT])) /* else the class has no add_noise */
        e->levels = fmax(e->levels, error_of(got, want + COUNT, COUNT));
}

/* The lists that a case passes to set_timesteps; NULL for both in most. */
struct lists {
    const dfx_tensor *timesteps, *sigmas;
};

static dfx_status set_timesteps(dfx_scheduler *s, const struct lists *lists, int n)
{
    if (!lists->timesteps && !lists->sigmas)
        return dfx_scheduler_set_timesteps(s, n);
    return dfx_scheduler_set_custom(s, lists->timesteps ? lists->timesteps->data : NULL,
                                    lists->sigmas ? lists->sigmas->data : NULL, n);
}

/* One number of steps; returns where the next one's values are. */
static const float *check_steps(dfx_scheduler *s, const struct lists *lists, const int32_t *counts,
                                const float *want, const float *trace, struct errors *e)
{
    int calls = counts[1], sigma_count = counts[2], found;
    if (set_timesteps(s, lists, counts[0]) != DFX_OK || dfx_scheduler_calls(s) != calls) {
        printf("# %d steps, %d calls for %d: %s\n", counts[0], dfx_scheduler_calls(s), calls,
               dfx_error());
        e->shapes++;
        return want + calls + sigma_count + 1 + COUNT;
    }
    e->timesteps = fmax(e->timesteps, relative_error(dfx_scheduler_timesteps(s), want, calls));
    want += calls;
    const float *sigmas = dfx_scheduler_sigmas(s, &found);
    e->shapes += found != sigma_count || !sigmas != !sigma_count;
    if (found == sigma_count)
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
            *traced = k; /* the first one if all are longer */
    }
    return values;
}

static int has(const dfx_tensor *config, const char *word)
{
    return memmem(config->data, config->bytes, word, strlen(word)) != NULL;
}

static const dfx_tensor *find(const dfx_tensors *t, int number, const char *what)
{
    char name[32];
    snprintf(name, sizeof name, "%03d.%s", number, what);
    return dfx_tensors_find(t, name);
}

static void test_case(const struct tested *class, const dfx_tensors *t, int number)
{
    const dfx_tensor *config = find(t, number, "config"), *counts = find(t, number, "counts");
    struct lists lists = { find(t, number, "timesteps"), find(t, number, "sigmas") };
    const float *values = find(t, number, "values")->data;
    const char *text = config->data;
    dfx_scheduler *s;
    if (open_case(&s, config) != DFX_OK) {
        ok(0, "%s %03d opens: %s", class->class, number, dfx_error());
        return;
    }
    if (strcmp(class->class, "RePaintScheduler") == 0)
        give_picture(s);
    int64_t traced = 0, n = counts->spec.dim[0];
    const float *trace = find_trace(counts->data, n, values, &traced);
    struct errors e = { 0 };
    for (int64_t k = 0; k < n; k++)
        values = check_steps(s, &lists, (const int32_t *)counts->data + 3 * k, values,
                             k == traced ? trace : NULL, &e);
    /* torch's f32 square root is one ulp off for a fifth of the sigmas; rescaling betas to zero
     * SNR magnifies it */
    double sigmas = has(config, "rescale_betas_zero_snr") ? 5e-6 : 1e-6;
    ok(e.shapes == 0 && e.timesteps <= class->timesteps &&
           e.sigmas <= fmax(sigmas, class->sigmas) && e.steps <= fmax(1e-5, class->steps) &&
           e.levels <= 1e-6,
       "%s %03d: timesteps %.0e, sigmas %.0e, steps %.0e, levels %.0e: %.*s", class->class, number,
       e.timesteps, e.sigmas, e.steps, e.levels, (int)strcspn(text, "\n"), text);
    dfx_scheduler_free(s);
}

static void test_class(const struct tested *class)
{
    char file[128];
    dfx_tensors *t;
    snprintf(file, sizeof file, "schedulers/%s.safetensors", class->class);
    if (!ok(dfx_tensors_open(&t, data(file)) == DFX_OK, "%s opens", file))
        return;
    for (int i = 0; find(t, i, "config"); i++)
        test_case(class, t, i);
    dfx_tensors_free(t);
}

/* Every class of the library has its line in `tested`, and every key of it says what it does. */
static void test_all_classes(void)
{
    dfx_scheduler_info info;
    dfx_scheduler_key key;
    for (int i = 0; dfx_scheduler_describe(i, &info); i++) {
        size_t k = 0;
        while (k < sizeof tested / sizeof *tested && strcmp(tested[k].class, info.class_name) != 0)
            k++;
        ok(k < sizeof tested / sizeof *tested && *info.when, "%s is tested", info.class_name);
        int keys = 0, told = 0;
        for (; dfx_scheduler_describe_key(info.class_name, keys, &key); keys++)
            told +=
                key.does && *key.does && strstr(key.call ? info.call_keys : info.keys, key.name);
        ok(keys > 0 && told == keys, "and its %d keys are described", keys);
    }
}

static void test_sigmoid(void)
{
    dfx_tensors *t;
    if (!ok(dfx_tensors_open(&t, data("schedulers/DDIMScheduler.safetensors")) == DFX_OK, "opens"))
        return;
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
    dfx_tensors_free(t);
}

/* The lists of Align Your Steps, and a choice that names one. */
static void test_ays(void)
{
    static const char *const names[] = { "StableDiffusionTimesteps", "StableDiffusionSigmas",
                                         "StableDiffusionXLTimesteps", "StableDiffusionXLSigmas",
                                         "StableDiffusionVideoSigmas" };
    dfx_tensors *t;
    if (!ok(dfx_tensors_open(&t, data("schedulers/EulerDiscreteScheduler.safetensors")) == DFX_OK,
            "opens"))
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const dfx_tensor *want = dfx_tensors_find(t, names[i]);
        int count = 0, found, sigmas = strstr(names[i], "Sigmas") != NULL;
        const float *list = dfx_scheduler_ays(names[i], &count);
        ok(list && count == want->spec.dim[0] &&
               memcmp(list, want->data, (size_t)count * sizeof *list) == 0,
           "%s is diffusers' list", names[i]);
        char choice[64];
        dfx_scheduler *s;
        snprintf(choice, sizeof choice, "euler,%s=%s", sigmas ? "sigmas" : "timesteps", names[i]);
        ok(dfx_scheduler_open(&s, NULL, choice) == DFX_OK &&
               dfx_scheduler_set_timesteps(s, 10) == DFX_OK && dfx_scheduler_calls(s) == 10,
           "%s", choice);
        const float *got = sigmas ? dfx_scheduler_sigmas(s, &found) : dfx_scheduler_timesteps(s);
        ok(memcmp(got, list, (size_t)count * sizeof *list) == 0, "the scheduler has them");
        dfx_scheduler_free(s);
    }
    int count;
    ok(!dfx_scheduler_ays("none", &count), "no other list");
    dfx_tensors_free(t);
}

static void test_order(void)
{
    dfx_scheduler *s;
    float x[COUNT] = { 0 }, output[COUNT] = { 0 };
    dfx_scheduler_open(&s, NULL, "dpmpp_2m_sde");
    dfx_scheduler_set_timesteps(s, 5);
    struct noise index = { 0 };
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

/* A learned variance below 0 is one of another kind. */
static void test_negative_variance(void)
{
    dfx_scheduler *s;
    float x[COUNT] = { 0 }, output[2 * COUNT] = { 0 };
    struct noise noise = { 0 };
    output[2 * COUNT - 1] = -0.5f;
    dfx_scheduler_open(&s, NULL, "ddpm,variance_type=learned");
    dfx_scheduler_set_timesteps(s, 5);
    ok(dfx_scheduler_step(s, 0, output, x, BATCH, EACH, draw, &noise) == DFX_ERROR_ARGUMENT,
       "refused: %s", dfx_error());
    dfx_scheduler_free(s);
}

/* The picture that RePaint completes. */
static void test_inpaint(void)
{
    dfx_scheduler *s;
    float x[COUNT] = { 0 }, output[COUNT] = { 0 }, mask[COUNT];
    struct noise noise = { 0 };
    dfx_scheduler_open(&s, NULL, "ddpm");
    ok(dfx_scheduler_set_inpaint(s, x, x, COUNT) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
    dfx_scheduler_free(s);
    dfx_scheduler_open(&s, NULL, "repaint");
    dfx_scheduler_set_timesteps(s, 5);
    ok(dfx_scheduler_step(s, 0, output, x, BATCH, EACH, draw, &noise) == DFX_ERROR_ARGUMENT,
       "refused: %s", dfx_error());
    ok(dfx_scheduler_set_inpaint(s, x, x, EACH) == DFX_OK &&
           dfx_scheduler_step(s, 0, output, x, BATCH, EACH, draw, &noise) == DFX_ERROR_ARGUMENT,
       "refused: %s", dfx_error());
    float picture[COUNT];
    pseudo(1000, 0, picture);
    for (int k = 0; k < COUNT; k++)
        mask[k] = k % 2 == 0;
    ok(dfx_scheduler_set_inpaint(s, picture, mask, COUNT) == DFX_OK, "it is given anew");
    for (int i = 0; i < dfx_scheduler_calls(s); i++)
        dfx_scheduler_step(s, i, output, x, BATCH, EACH, draw, &noise);
    int kept = 0;
    for (int k = 0; k < COUNT; k++)
        kept += x[k] == picture[k];
    ok(kept == COUNT / 2, "the known part is the picture's at the end");
    dfx_scheduler_free(s);
}

int main(void)
{
    for (size_t i = 0; i < sizeof tested / sizeof *tested; i++)
        test_class(&tested[i]);
    test_all_classes();
    ok(!dfx_scheduler_describe_key("none", 0, &(dfx_scheduler_key){ 0 }) &&
           !dfx_scheduler_describe_key("euler", -1, &(dfx_scheduler_key){ 0 }),
       "no keys of an unknown class, nor before the first");
    test_sigmoid();
    test_ays();
    test_order();
    test_negative_variance();
    test_inpaint();
    return done();
}
