/* cmd_generate.c - dfx generate: pictures, from a prompt where the model takes one. */
#include "cmd.h"
#include "depth.h"
#include "generate_settings.h"
#include "output.h"
#include "preview.h"
#include "print.h"
#include "progress.h"
#include "record.h"
#include "trace.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#define HAND_OVER 0.8 /* from SDXL's base to its refiner, as its makers have it */

/* One run of the command. */
struct job {
    const struct generate_settings *s;
    dfx_generate_options g;
    struct progress progress;
    dfx_tensors *latents, *init_latents;
    struct trace trace;
    dfx_image *image, *mask;
    struct depth depth;
    struct preview preview;
    dfx_pipeline *pipeline, *refiner;
    dfx_result *result;
    char *name[BATCH_MAX]; /* of the pictures */
    int names;
    double start, opened, first, last; /* clock: model ready, before step 1, after the last step */
};

/* The seed is short enough to type again: torch uses its low 32 bits only. */
static int choose_seed(uint64_t *seed)
{
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return cmd_fail_with(EXIT_FAILED, "--seed: no random numbers: %s", strerror(errno));
    *seed = random;
    return EXIT_DONE;
}

/* The tensor "latents" of a file that is kept open; *batch becomes its number of pictures, or stays
 * where --batch is a multiple of it and `repeats`. */
static int read_latents(struct job *job, const char *path, int repeats, dfx_tensors **file,
                        const dfx_tensor **out)
{
    int batch = job->s->batch;
    dfx_status status = dfx_tensors_open(file, path);
    if (status != DFX_OK)
        return cmd_fail(status);
    const dfx_tensor *t = dfx_tensors_find(*file, "latents");
    if (!t || t->spec.rank != 4 || t->spec.dtype != DFX_F32)
        return cmd_fail_with(EXIT_FAILED, "%s: needs a tensor \"latents\" [B, C, H, W] in f32",
                             path);
    if (t->spec.dim[0] < 1 || t->spec.dim[0] > BATCH_MAX)
        return cmd_fail_with(EXIT_FAILED, "%s: latents for %lld pictures; 1 to %d can be drawn",
                             path, (long long)t->spec.dim[0], BATCH_MAX);
    if (batch && (repeats ? batch % t->spec.dim[0] != 0 : batch != t->spec.dim[0]))
        return cmd_fail_with(EXIT_USAGE, "--batch: %d, but %s has latents for %lld", batch, path,
                             (long long)t->spec.dim[0]);
    if (!repeats || !batch)
        job->g.batch = (int)t->spec.dim[0];
    *out = t;
    return EXIT_DONE;
}

static int read_images(struct job *job)
{
    const struct generate_settings *s = job->s;
    dfx_status status = DFX_OK;
    if (s->init_image)
        status = dfx_image_read(&job->image, s->init_image, 3);
    if (status == DFX_OK && s->mask)
        status = dfx_image_read(&job->mask, s->mask, 1);
    job->g.image = job->image;
    job->g.mask = job->mask;
    if (status != DFX_OK)
        return cmd_fail(status);
    return s->depth ? depth_read(&job->depth, s->depth, &job->g.depth) : EXIT_DONE;
}

/* Names every file that will be written and finds out whether it can be. */
static int check_outputs(struct job *job)
{
    const struct generate_settings *s = job->s;
    int code = s->save_latents ? output_check(s->save_latents) : EXIT_DONE;
    if (code == EXIT_DONE && s->preview)
        code = output_check(s->preview);
    if (code != EXIT_DONE)
        return code;
    if (job->g.only_latents)
        return s->trace ? output_check(s->trace) : EXIT_DONE;
    if (s->output && strcmp(s->output, "-") == 0 && job->g.batch > 1)
        return cmd_fail_with(EXIT_USAGE, "--output: one picture fits on standard output, not %d",
                             job->g.batch);
    for (; job->names < job->g.batch; job->names++) {
        char *name = output_name(s->output, job->g.prompt ? job->g.prompt : "", job->g.seed,
                                 job->names, job->g.batch);
        if (!name)
            return cmd_fail_with(EXIT_FAILED, "out of memory");
        job->name[job->names] = name;
        code = output_check(name);
        if (code != EXIT_DONE) {
            job->names++;
            return code;
        }
    }
    return s->trace ? output_check(s->trace) : EXIT_DONE;
}

static int on_step(void *user, int step, int steps, const float *latents, const dfx_spec *spec)
{
    struct job *job = user;
    double taken = job->last - job->first; /* by an earlier run */
    job->last = progress_clock();
    if (step == 0)
        job->first = job->last - taken;
    progress_step(&job->progress, step, steps);
    if (preview_step(&job->preview, job->refiner ? job->refiner : job->pipeline, &job->progress,
                     step, steps, latents, spec))
        return 1;
    return step ? trace_step(&job->trace, latents, spec) : 0;
}

static void prepare_xl(struct job *job)
{
    const struct generate_settings *s = job->s;
    dfx_generate_options *g = &job->g;
    g->prompt_2 = s->prompt_2;
    g->negative_prompt_2 = s->negative_prompt_2;
    g->size = (dfx_size_condition){ s->original_size[0], s->original_size[1], s->crop[0],
                                    s->crop[1],          s->target_size[0],   s->target_size[1] };
    g->negative_size =
        (dfx_size_condition){ s->negative_original_size[0], s->negative_original_size[1],
                              s->negative_crop[0],          s->negative_crop[1],
                              s->negative_target_size[0],   s->negative_target_size[1] };
    g->aesthetic_score = s->aesthetic_score;
    g->negative_aesthetic_score = s->negative_aesthetic_score;
    g->denoising_start = s->denoising_start;
    g->denoising_end = s->denoising_end > 0 ? s->denoising_end : s->refiner ? HAND_OVER : 0;
    g->only_latents = s->save_latents && !s->output;
}

static int prepare(struct job *job)
{
    const struct generate_settings *s = job->s;
    job->g = (dfx_generate_options)DFX_GENERATE_DEFAULT;
    job->g.prompt = s->prompt ? s->prompt : s->positional_prompt;
    job->g.negative_prompt = s->negative_prompt;
    job->g.steps = s->steps;
    job->g.guidance_scale = s->guidance;
    job->g.guidance_rescale = s->guidance_rescale;
    job->g.padding_mask_crop = s->padding_mask_crop;
    job->g.clip_skip = s->clip_skip;
    job->g.long_prompts = s->long_prompts;
    job->g.max_embeddings_multiples = s->max_multiples;
    job->g.no_boseos_middle = s->no_boseos_middle;
    job->g.strength = s->strength;
    job->g.image_guidance_scale = s->image_guidance;
    job->g.noise_level = s->noise_level;
    if (s->class_label >= 0) {
        job->g.class_labels = &s->class_label;
        job->g.class_label_count = 1;
    }
    job->g.width = s->width;
    job->g.height = s->height;
    job->g.scheduler = s->scheduler;
    job->g.batch = s->batch ? s->batch : 1;
    job->g.seed = s->seed.value;
    job->g.on_step = on_step;
    job->g.user = job;
    job->g.last = 1;
    prepare_xl(job);
    int code = s->seed.given ? EXIT_DONE : choose_seed(&job->g.seed);
    if (code == EXIT_DONE && s->latents)
        code = read_latents(job, s->latents, 0, &job->latents, &job->g.latents);
    if (code == EXIT_DONE && s->init_latents)
        code = read_latents(job, s->init_latents, 1, &job->init_latents, &job->g.init_latents);
    if (code == EXIT_DONE)
        code = read_images(job);
    job->preview.path = s->preview;
    job->preview.every = s->preview_every;
    if (code == EXIT_DONE)
        code = preview_open(&job->preview, s->preview_model);
    return code == EXIT_DONE ? check_outputs(job) : code;
}

/* The refiner goes on with the latents of job->result, which becomes its own. */
static dfx_status refine(struct job *job)
{
    const struct generate_settings *s = job->s;
    const dfx_pipeline_options open = {
        .dtype = s->dtype, .variant = s->variant, .on = job->pipeline, .tile = generate_tile(s)
    };
    dfx_generate_options g = job->g;
    dfx_result *base = job->result;
    g.latents = NULL;
    g.image = NULL;
    g.init_latents = dfx_result_latents(base);
    g.scheduler = s->scheduler;
    g.denoising_start = g.denoising_end;
    g.denoising_end = 0;
    job->result = NULL;
    dfx_status status = dfx_pipeline_open(&job->refiner, s->refiner, &open);
    if (status == DFX_OK && !dfx_pipeline_hash(job->refiner))
        status = DFX_ERROR_FILE;
    if (status == DFX_OK)
        status = dfx_pipeline_generate(&job->result, job->refiner, &g);
    dfx_result_free(base);
    return status;
}

static dfx_status draw_base(struct job *job)
{
    dfx_generate_options g = job->g;
    g.only_latents = g.only_latents || job->s->refiner;
    return dfx_pipeline_generate(&job->result, job->pipeline, &g);
}

static dfx_status draw(struct job *job)
{
    const struct generate_settings *s = job->s;
    const dfx_pipeline_options open = { .device = s->device,
                                        .dtype = s->dtype,
                                        .variant = s->variant,
                                        .memory_limit = s->memory_limit,
                                        .tile = generate_tile(s) };
    dfx_status status = dfx_pipeline_open(&job->pipeline, s->model, &open);
    job->opened = progress_clock();
    if (status == DFX_OK)
        status = dfx_pipeline_settings(job->pipeline, &job->g);
    if (status == DFX_OK && !dfx_pipeline_hash(job->pipeline)) /* for the record */
        status = DFX_ERROR_FILE;
    if (status == DFX_OK && cmd_interrupted())
        status = DFX_ERROR_INTERRUPTED;
    if (status == DFX_OK && !s->quiet && !s->seed.given)
        fprintf(stderr, "seed %llu\n", (unsigned long long)job->g.seed);
    if (status == DFX_OK && s->trace)
        status = dfx_tensors_new(&job->trace.file);
    if (status == DFX_OK)
        status = draw_base(job);
    if (status == DFX_OK && s->refiner)
        status = refine(job);
    return status;
}

static dfx_status write_latents(const struct job *job)
{
    const dfx_tensor *latents = dfx_result_latents(job->result);
    dfx_tensors *file;
    dfx_status status = dfx_tensors_new(&file);
    if (status != DFX_OK)
        return status;
    status = dfx_tensors_add(file, "latents", &latents->spec, latents->data);
    if (status == DFX_OK)
        status = dfx_tensors_save(file, job->s->save_latents);
    dfx_tensors_free(file);
    return status;
}

static int write_pictures(struct job *job)
{
    int code = EXIT_DONE;
    for (int i = 0; i < job->names && code == EXIT_DONE; i++) {
        struct record record;
        record_make(&record, job->pipeline, job->refiner, &job->g, job->result, i, job->names);
        if (record.failed)
            code = cmd_fail_with(EXIT_FAILED, "out of memory");
        else if (dfx_image_write(dfx_result_image(job->result, i), job->name[i], record.text,
                                 record.count) != DFX_OK)
            code = cmd_fail_with(EXIT_FAILED, "%s", dfx_error());
        record_free(&record);
    }
    return code;
}

static uint64_t host_peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

static double steps_per_second(const struct job *job)
{
    return job->last > job->first ? job->g.steps / (job->last - job->first) : 0;
}

static void print_summary(const struct job *job, double seconds)
{
    const dfx_device *device = dfx_pipeline_device(job->pipeline);
    char on_device[DFX_BYTES_TEXT], on_host[DFX_BYTES_TEXT];
    fprintf(stderr,
            "%.2f s (model ready after %.2f s), %d steps at %.2f steps/s, on %s (%s) in %s, "
            "peak memory %s on the device, %s on the host\n",
            seconds, job->opened - job->start, job->g.steps, steps_per_second(job),
            dfx_device_get_info(device)->id, dfx_device_get_info(device)->name,
            dfx_dtype_name(dfx_pipeline_dtype(job->pipeline)),
            dfx_bytes_text(on_device, dfx_device_memory_peak(device)),
            dfx_bytes_text(on_host, host_peak()));
}

static int print_result_json(const struct job *job, double seconds)
{
    json_object *o = record_json(job->pipeline, job->refiner, &job->g, job->result),
                *files = json_object_new_array();
    for (int i = 0; i < job->names; i++)
        print_append(files, json_object_new_string(job->name[i]));
    if (job->s->save_latents)
        print_append(files, json_object_new_string(job->s->save_latents));
    print_put(o, "files", files);
    print_put(o, "seconds", json_object_new_double(seconds));
    print_put(o, "steps_per_second", json_object_new_double(steps_per_second(job)));
    print_put(o, "device_memory_peak",
              json_object_new_uint64(dfx_device_memory_peak(dfx_pipeline_device(job->pipeline))));
    print_put(o, "host_memory_peak", json_object_new_uint64(host_peak()));
    return print_json(o);
}

static int report(struct job *job, double seconds)
{
    if (!job->s->quiet)
        print_summary(job, seconds);
    if (job->s->json)
        return print_result_json(job, seconds);
    for (int i = 0; i < job->names; i++)
        if (strcmp(job->name[i], "-") != 0)
            puts(job->name[i]);
    if (job->s->save_latents)
        puts(job->s->save_latents);
    return EXIT_DONE;
}

static int generate(struct job *job)
{
    const struct generate_settings *s = job->s;
    job->start = progress_clock();
    cmd_catch_interrupt();
    progress_start(&job->progress, s->quiet);
    dfx_status status = draw(job);
    progress_end(&job->progress);
    if (job->preview.failure[0])
        return cmd_fail_with(EXIT_FAILED, "%s", job->preview.failure);
    if (job->trace.failed)
        return cmd_fail_with(EXIT_FAILED, "%s: out of memory for the latents of every step",
                             s->trace);
    if (status != DFX_OK)
        return cmd_fail(status);
    int code = write_pictures(job);
    if (code != EXIT_DONE)
        return code;
    if (s->trace && (status = trace_save(&job->trace, job->result, s->trace)) != DFX_OK)
        return cmd_fail(status);
    if (s->save_latents && (status = write_latents(job)) != DFX_OK)
        return cmd_fail(status);
    return report(job, progress_clock() - job->start);
}

static int run(void *settings)
{
    struct job job = { .s = settings };
    int code = generate_check(job.s);
    if (code == EXIT_DONE)
        code = prepare(&job);
    if (code == EXIT_DONE)
        code = generate(&job);
    for (int i = 0; i < job.names; i++)
        free(job.name[i]);
    dfx_result_free(job.result);
    dfx_tensors_free(job.trace.file);
    dfx_pipeline_free(job.refiner);
    dfx_pipeline_free(job.pipeline);
    dfx_tensors_free(job.latents);
    dfx_tensors_free(job.init_latents);
    dfx_image_free(job.image);
    dfx_image_free(job.mask);
    depth_free(&job.depth);
    preview_close(&job.preview);
    return code;
}

const struct command cmd_generate = {
    .name = "generate",
    .summary = "draw pictures from a prompt",
    .example = "  dfx generate \"red apple\" --seed 42 --steps 20 --output apple.png\n"
               "  dfx inspect apple.png\n"
               "  dfx generate \"a lion\" --model SDXL --refiner SDXL_REFINER\n",
    .options = generate_options,
    .positionals = generate_positionals,
    .defaults = &generate_defaults,
    .size = sizeof generate_defaults,
    .run = run,
};
