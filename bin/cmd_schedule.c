/* cmd_schedule.c - dfx schedule: a scheduler's timesteps and sigmas, and its steps on given
 * outputs. */
#include "cmd.h"
#include "output.h"
#include "print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *config, *scheduler, *out, *sample, *outputs, *noise;
    int steps, list, json;
    float mu; /* NaN: not given */
};

static const struct settings defaults = { .mu = NAN };

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "config", OPTION_STRING, AT(config), "FILE", "a scheduler_config.json, or its folder", 0, 0 },
    { "scheduler", OPTION_STRING, AT(scheduler), "NAME[,key=value...]",
      "a class or short name instead of the config's,\nand keys that replace the config's", 0, 0 },
    { "steps", OPTION_INT, AT(steps), "N", "inference steps", 1, 100000 },
    { "mu", OPTION_FLOAT, AT(mu), "X",
      "the shift of a dynamic-shifting schedule, which\npipelines compute", -100, 100 },
    { "out", OPTION_STRING, AT(out), "T.safetensors",
      "receives timesteps, sigmas, init_noise_sigma, and\n"
      "sample.0000 ... after each step; - is standard\n"
      "output; without it the schedule is printed",
      0, 0 },
    { "sample", OPTION_STRING, AT(sample), "X.safetensors",
      "\"sample\": runs step() on it, over all calls", 0, 0 },
    { "outputs", OPTION_STRING, AT(outputs), "E.safetensors",
      "\"output.0000\" ...: the model's outputs", 0, 0 },
    { "noise", OPTION_STRING, AT(noise), "N.safetensors",
      "\"noise.0000\" ...: what a stochastic scheduler\ndraws, numbered by the step", 0, 0 },
    { "list", OPTION_FLAG, AT(list), NULL, "show every scheduler, its short names and its use", 0,
      0 },
    { "json", OPTION_FLAG, AT(json), NULL, "print JSON, of --list or of the schedule", 0, 0 },
    { .name = NULL },
};
#undef AT

static const struct positional positionals[] = { { .name = NULL } };

static json_object *list_json(const dfx_scheduler_info *info)
{
    json_object *o = json_object_new_object(), *names = json_object_new_object();
    for (const dfx_scheduler_name *n = info->names; n->name; n++)
        print_put(names, n->name, json_object_new_string(n->keys));
    print_put(o, "class", json_object_new_string(info->class_name));
    print_put(o, "names", names);
    print_put(o, "when", json_object_new_string(info->when));
    print_put(o, "keys", json_object_new_string(info->keys));
    print_put(o, "call_keys", json_object_new_string(info->call_keys));
    return o;
}

static int print_list(int json)
{
    dfx_scheduler_info info;
    json_object *array = json ? json_object_new_array() : NULL;
    for (int i = 0; dfx_scheduler_describe(i, &info); i++) {
        if (json) {
            print_append(array, list_json(&info));
            continue;
        }
        printf("%s (", info.class_name);
        for (const dfx_scheduler_name *n = info.names; n->name; n++)
            printf("%s%s", n == info.names ? "" : ", ", n->name);
        printf(")\n    %s\n", info.when);
    }
    return json ? print_json(array) : EXIT_DONE;
}

/* mu is a key of a choice, for which the class must be named. */
static int open_scheduler(dfx_scheduler **out, const struct settings *s)
{
    dfx_scheduler *plain = NULL;
    char *choice = NULL;
    if (isnan(s->mu)) {
        dfx_status status = dfx_scheduler_open(out, s->config, s->scheduler);
        return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
    }
    dfx_status status = s->scheduler ? DFX_OK : dfx_scheduler_open(&plain, s->config, NULL);
    if (status != DFX_OK)
        return cmd_fail(status);
    int length =
        asprintf(&choice, "%s,mu=%.9g", plain ? dfx_scheduler_class(plain) : s->scheduler, s->mu);
    dfx_scheduler_free(plain);
    if (length < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    status = dfx_scheduler_open(out, s->config, choice);
    free(choice);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

static json_object *floats_json(const float *values, int count)
{
    json_object *array = json_object_new_array();
    char text[32];
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%.9g", values[i]);
        print_append(array, json_object_new_double_s(values[i], text));
    }
    return array;
}

static int print_schedule_json(const dfx_scheduler *scheduler)
{
    int count;
    const float *sigmas = dfx_scheduler_sigmas(scheduler, &count);
    json_object *o = json_object_new_object();
    print_put(o, "class", json_object_new_string(dfx_scheduler_class(scheduler)));
    print_put(o, "init_noise_sigma",
              json_object_new_double(dfx_scheduler_init_noise_sigma(scheduler)));
    print_put(o, "timesteps",
              floats_json(dfx_scheduler_timesteps(scheduler), dfx_scheduler_calls(scheduler)));
    if (sigmas)
        print_put(o, "sigmas", floats_json(sigmas, count));
    return print_json(o);
}

static void print_schedule(const dfx_scheduler *scheduler)
{
    const float *timesteps = dfx_scheduler_timesteps(scheduler);
    int count, calls = dfx_scheduler_calls(scheduler);
    const float *sigmas = dfx_scheduler_sigmas(scheduler, &count);
    printf("%s, init_noise_sigma %.9g\ncall  timestep%s\n", dfx_scheduler_class(scheduler),
           dfx_scheduler_init_noise_sigma(scheduler), sigmas ? "  sigma" : "");
    for (int i = 0; i < calls || i < count; i++) {
        if (i < calls)
            printf("%4d  %8.9g", i, timesteps[i]);
        else
            printf("%4s  %8s", "", "");
        printf(sigmas && i < count ? "  %.9g\n" : "\n", sigmas && i < count ? sigmas[i] : 0);
    }
}

static dfx_status add_vector(dfx_tensors *t, const char *name, const float *values, int count)
{
    dfx_spec spec = { .dtype = DFX_F32, .rank = 1, .dim = { count } };
    return dfx_tensors_add(t, name, &spec, values);
}

static dfx_status add_schedule(dfx_tensors *t, const dfx_scheduler *scheduler)
{
    int count;
    const float *sigmas = dfx_scheduler_sigmas(scheduler, &count);
    float initial = dfx_scheduler_init_noise_sigma(scheduler);
    dfx_status status = add_vector(t, "timesteps", dfx_scheduler_timesteps(scheduler),
                                   dfx_scheduler_calls(scheduler));
    if (status == DFX_OK && sigmas)
        status = add_vector(t, "sigmas", sigmas, count);
    if (status == DFX_OK)
        status = add_vector(t, "init_noise_sigma", &initial, 1);
    return status;
}

/* The files of a run of steps. */
struct inputs {
    dfx_tensors *sample, *outputs, *noise;
    const struct settings *settings;
    const dfx_spec *spec; /* of the sample, and of every other tensor */
    int parts;            /* of an output: 2 with a learned variance in more channels */
    int step, missing;    /* missing: the noise of this step */
};

/* Tensor NAME.STEP when it is f32 and of the sample's shape with `parts` times the channels, else
 * NULL. */
static const float *find(const struct inputs *in, const dfx_tensors *t, const char *name, int parts)
{
    char numbered[32];
    snprintf(numbered, sizeof numbered, "%s.%04d", name, in->step);
    const dfx_tensor *tensor = t ? dfx_tensors_find(t, numbered) : NULL;
    if (!tensor || tensor->spec.dtype != DFX_F32 || tensor->spec.rank != in->spec->rank)
        return NULL;
    for (int d = 0; d < in->spec->rank; d++)
        if (tensor->spec.dim[d] != in->spec->dim[d] * (d == 1 ? parts : 1))
            return NULL;
    return tensor->data;
}

static void take_noise(void *user, float *out, size_t n)
{
    struct inputs *in = user;
    const float *noise = find(in, in->noise, "noise", 1);
    in->missing = !noise;
    if (noise)
        memcpy(out, noise, n * sizeof *out);
    else
        memset(out, 0, n * sizeof *out);
}

static int fail_missing(const char *path, const char *name, int step, int parts)
{
    return cmd_fail_with(EXIT_FAILED, "%s: must have %s.%04d in f32 and the sample's shape%s", path,
                         name, step, parts == 2 ? " with twice its channels" : "");
}

static int fail_noise(const struct inputs *in, const dfx_scheduler *scheduler)
{
    if (in->noise)
        return fail_missing(in->settings->noise, "noise", in->step, 1);
    return cmd_fail_with(EXIT_USAGE, "--noise is missing: %s draws noise in step %d",
                         dfx_scheduler_class(scheduler), in->step);
}

static int step_once(struct inputs *in, dfx_scheduler *scheduler, dfx_tensors *out, float *x,
                     size_t batch, size_t n)
{
    char name[32];
    const float *output = find(in, in->outputs, "output", in->parts);
    if (!output)
        return fail_missing(in->settings->outputs, "output", in->step, in->parts);
    dfx_status status =
        dfx_scheduler_step(scheduler, in->step, output, x, batch, n, take_noise, in);
    if (status == DFX_OK && in->missing)
        return fail_noise(in, scheduler);
    snprintf(name, sizeof name, "sample.%04d", in->step);
    if (status == DFX_OK)
        status = dfx_tensors_add(out, name, in->spec, x);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

static int run_steps(struct inputs *in, dfx_scheduler *scheduler, dfx_tensors *out)
{
    const dfx_tensor *sample = dfx_tensors_find(in->sample, "sample");
    if (!sample || sample->spec.dtype != DFX_F32 || sample->spec.rank < 2 || !sample->bytes)
        return cmd_fail_with(EXIT_FAILED, "%s: must have a tensor \"sample\" [B, ...] in f32",
                             in->settings->sample);
    size_t batch = (size_t)sample->spec.dim[0], n = sample->bytes / sizeof(float) / batch;
    float *x = malloc(sample->bytes);
    if (!x)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    memcpy(x, sample->data, sample->bytes);
    in->spec = &sample->spec;
    in->parts = dfx_scheduler_output_parts(scheduler);
    int code = EXIT_DONE;
    for (; in->step < dfx_scheduler_calls(scheduler) && code == EXIT_DONE; in->step++)
        code = step_once(in, scheduler, out, x, batch, n);
    free(x);
    return code;
}

static int run_files(const struct settings *s, dfx_scheduler *scheduler, dfx_tensors *out)
{
    struct inputs in = { .settings = s };
    dfx_status status = dfx_tensors_open(&in.sample, s->sample);
    if (status == DFX_OK)
        status = dfx_tensors_open(&in.outputs, s->outputs);
    if (status == DFX_OK && s->noise)
        status = dfx_tensors_open(&in.noise, s->noise);
    int code = status == DFX_OK ? run_steps(&in, scheduler, out) : cmd_fail(status);
    dfx_tensors_free(in.sample);
    dfx_tensors_free(in.outputs);
    dfx_tensors_free(in.noise);
    return code;
}

static int write_schedule(const struct settings *s, dfx_scheduler *scheduler)
{
    dfx_tensors *out;
    int code = output_check(s->out);
    if (code != EXIT_DONE)
        return code;
    dfx_status status = dfx_tensors_new(&out);
    if (status == DFX_OK)
        status = add_schedule(out, scheduler);
    if (status == DFX_OK && s->sample)
        code = run_files(s, scheduler, out);
    if (status == DFX_OK && code == EXIT_DONE)
        status = dfx_tensors_save(out, strcmp(s->out, "-") == 0 ? "/dev/stdout" : s->out);
    dfx_tensors_free(out);
    return status == DFX_OK ? code : cmd_fail(status);
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_scheduler *scheduler;
    if (s->list)
        return print_list(s->json);
    if (!s->steps || (!s->config && !s->scheduler))
        return cmd_fail_with(EXIT_USAGE, "--%s is missing; `dfx schedule --help` shows the usage",
                             s->steps ? "config" : "steps");
    if (s->json && s->out)
        return cmd_fail_with(EXIT_USAGE, "--json prints the schedule, which --out writes: choose");
    if (!s->sample != !s->outputs || (s->noise && !s->sample) || (s->sample && !s->out))
        return cmd_fail_with(EXIT_USAGE, "--sample and --outputs go together, with --out, and "
                                         "--noise only with them");
    int code = open_scheduler(&scheduler, s);
    if (code != EXIT_DONE)
        return code;
    dfx_status status = dfx_scheduler_set_timesteps(scheduler, s->steps);
    if (status != DFX_OK)
        code = cmd_fail(status);
    else if (s->out)
        code = write_schedule(s, scheduler);
    else if (s->json)
        code = print_schedule_json(scheduler);
    else
        print_schedule(scheduler);
    dfx_scheduler_free(scheduler);
    return code;
}

const struct command cmd_schedule = {
    .name = "schedule",
    .summary = "show a scheduler's timesteps and sigmas, or run its steps",
    .example = "  dfx schedule --config model/scheduler --scheduler dpmpp_2m_karras --steps 20\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
