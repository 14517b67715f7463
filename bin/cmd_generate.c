/* cmd_generate.c - dfx generate: pictures, from a prompt where the model takes one. */
#include "cmd.h"
#include "depth.h"
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
enum { BATCH_MAX = 256, SIDE_MAX = 32768, STEPS_MAX = 10000 };

struct settings {
    const char *positional_prompt, *prompt, *negative_prompt;
    const char *model, *variant, *device, *dtype, *scheduler;
    const char *latents, *trace, *output, *init_image, *mask, *depth;
    const char *prompt_2, *negative_prompt_2, *init_latents, *save_latents, *refiner;
    const char *preview, *preview_model;
    int original_size[2], crop[2], target_size[2]; /* width, height; left, top */
    int negative_original_size[2], negative_crop[2], negative_target_size[2];
    float aesthetic_score, negative_aesthetic_score;
    double denoising_start, denoising_end;
    int padding_mask_crop, preview_every, clip_skip, long_prompts, max_multiples, no_boseos_middle,
        steps, width, height, batch, quiet, json;
    float guidance, guidance_rescale, image_guidance;
    int class_label;
    double strength;
    struct option_uint64 seed;
    const char *later; /* where a later version's options go */
    uint64_t later_size;
};

static const struct settings defaults = {
    .guidance = -1, .strength = -1, .image_guidance = -1, .class_label = -1, .padding_mask_crop = -1
};

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "model", OPTION_STRING, AT(model), "MODEL",
      "a Diffusers folder, a file that holds a model\n"
      "(.dduf, .safetensors, .ckpt), or ORG/NAME in the\n"
      "Hugging Face cache (DFX_MODEL, else the model that\n"
      "ships with dfx)",
      0, 0 },
    { "prompt", OPTION_STRING, AT(prompt), "P", "the prompt, instead of PROMPT", 0, 0 },
    { "negative-prompt", OPTION_STRING, AT(negative_prompt), "N", "what the picture should not be",
      0, 0 },
    { "steps", OPTION_INT, AT(steps), "N", "inference steps (the model's, else 50)", 1, STEPS_MAX },
    { "guidance", OPTION_FLOAT, AT(guidance), "G",
      "guidance scale; acts above 1 (the model's, else 7.5;\nSDXL 5)", 0, 1000 },
    { "seed", OPTION_UINT64, AT(seed), "S", "of the noise, as in torch (random)", 0, 0 },
    { "width", OPTION_INT, AT(width), "W",
      "pixels, a multiple of the VAE's factor, 8 in Stable\nDiffusion (the model's)", 1, SIDE_MAX },
    { "height", OPTION_INT, AT(height), "H", "likewise", 1, SIDE_MAX },
    { "scheduler", OPTION_STRING, AT(scheduler), "NAME[,key=value...]",
      "euler, ddim, dpmpp_2m, a class name of diffusers ...,\nwith changed keys of its config "
      "(the model's)",
      0, 0 },
    { "batch", OPTION_INT, AT(batch), "N",
      "pictures in one run; O.png becomes O-1.png, O-2.png ...", 1, BATCH_MAX },
    { "init-image", OPTION_STRING, AT(init_image), "F.png",
      "image to image: the picture to start from", 0, 0 },
    { "strength", OPTION_DOUBLE, AT(strength), "X",
      "how much of it is painted anew, 0 to 1 (0.8, with a\nmask 1; SDXL 0.3, with a mask 0.9999)",
      0, 1 },
    { "mask", OPTION_STRING, AT(mask), "F.png", "inpainting: what is white in it is painted anew",
      0, 0 },
    { "padding-mask-crop", OPTION_INT, AT(padding_mask_crop), "N",
      "inpainting: paint only the part around what is white,\nN pixels wider, and lay it into the "
      "picture",
      0, SIDE_MAX },
    { "image-guidance", OPTION_FLOAT, AT(image_guidance), "G",
      "InstructPix2Pix: how much of the picture stays; both\nguidances act if it is 1 or more "
      "(1.5)",
      0, 1000 },
    { "depth", OPTION_STRING, AT(depth), "F",
      "depth to image: the picture's depth, near is light; a\nPNG, or \"depth\" [H,W] f32 in "
      "F.safetensors",
      0, 0 },
    { "class-label", OPTION_INT, AT(class_label), "N",
      "models trained with classes: which to draw, from 0 on\n(by the seed)", 0, INT_MAX },
    { "guidance-rescale", OPTION_FLOAT, AT(guidance_rescale), "X",
      "0 to 1, against overexposure by large guidance (0)", 0, 1 },
    { "clip-skip", OPTION_INT, AT(clip_skip), "N",
      "last layers of the text encoder to leave out (0)", 0, 64 },
    { "long-prompts", OPTION_FLAG, AT(long_prompts), NULL,
      "prompts of any length, with weights: \"a (red:1.3) [apple]\"", 0, 0 },
    { "max-embeddings-multiples", OPTION_INT, AT(max_multiples), "N",
      "of long prompts, times 75 tokens (3; SDXL: any)", 1, 1024 },
    { "no-boseos-middle", OPTION_FLAG, AT(no_boseos_middle), NULL,
      "of long prompts, no BOS and EOS between their parts", 0, 0 },
    { "prompt-2", OPTION_STRING, AT(prompt_2), "P", "of SDXL's second text encoder (the prompt)", 0,
      0 },
    { "negative-prompt-2", OPTION_STRING, AT(negative_prompt_2), "N", "likewise", 0, 0 },
    { "original-size", OPTION_PAIR, AT(original_size), "WxH",
      "what SDXL is told the picture's size was (its own)", 1, SIDE_MAX },
    { "crop", OPTION_PAIR, AT(crop), "X,Y", "and how much of it was cut off, left and top (0,0)",
      -SIDE_MAX, SIDE_MAX },
    { "target-size", OPTION_PAIR, AT(target_size), "WxH", "and how large the rest was (its own)", 1,
      SIDE_MAX },
    { "negative-original-size", OPTION_PAIR, AT(negative_original_size), "WxH",
      "the same three for what the picture should not be", 1, SIDE_MAX },
    { "negative-crop", OPTION_PAIR, AT(negative_crop), "X,Y", "likewise", -SIDE_MAX, SIDE_MAX },
    { "negative-target-size", OPTION_PAIR, AT(negative_target_size), "WxH", "likewise", 1,
      SIDE_MAX },
    { "refiner", OPTION_STRING, AT(refiner), "MODEL",
      "a refiner of SDXL, which takes over from --model at\n--denoising-end (0.8)", 0, 0 },
    { "aesthetic-score", OPTION_FLOAT, AT(aesthetic_score), "X",
      "what a refiner is told the picture is worth (6)", 0.001, 100 },
    { "negative-aesthetic-score", OPTION_FLOAT, AT(negative_aesthetic_score), "X",
      "and what it should not be worth (2.5)", 0.001, 100 },
    { "denoising-end", OPTION_DOUBLE, AT(denoising_end), "X",
      "stop after this part of the denoising, 0 to 1", 0, 1 },
    { "denoising-start", OPTION_DOUBLE, AT(denoising_start), "X",
      "go on from there with --init-latents or --init-image", 0, 1 },
    { "init-latents", OPTION_STRING, AT(init_latents), "F.safetensors",
      "\"latents\" [B,C,H,W] f32 instead of --init-image", 0, 0 },
    { "save-latents", OPTION_STRING, AT(save_latents), "F.safetensors",
      "write the last latents; without --output no picture", 0, 0 },
    { "latents", OPTION_STRING, AT(latents), "F.safetensors",
      "the noise to start from: \"latents\" [B,C,H,W] f32", 0, 0 },
    { "trace", OPTION_STRING, AT(trace), "F.safetensors",
      "write latents.0000 ... after each step,\nprompt_embeds and image", 0, 0 },
    { "preview", OPTION_STRING, AT(preview), "F.png",
      "show the run: replaced by its picture after each step", 0, 0 },
    { "preview-every", OPTION_INT, AT(preview_every), "N", "only after every Nth one and the last",
      1, STEPS_MAX },
    { "preview-model", OPTION_STRING, AT(preview_model), "MODEL",
      "what decodes previews, best an AutoencoderTiny such as\n"
      "madebyollin/taesd: a folder, or ORG/NAME (the model's\nown VAE, which takes long)",
      0, 0 },
    { "device", OPTION_STRING, AT(device), "D", "cpu, opencl, opencl:N or auto (DFX_DEVICE)", 0,
      0 },
    { "dtype", OPTION_STRING, AT(dtype), "T", "f32, f16, bf16 or auto (DFX_DTYPE)", 0, 0 },
    { "variant", OPTION_STRING, AT(variant), "NAME",
      "weight files *.NAME.safetensors or *.NAME.bin, of\n"
      "fp16 or ema; plain ones for components without",
      0, 0 },
    { "output", OPTION_STRING, AT(output), "O.png",
      "- is standard output (the prompt's words and the\nseed: red-apple-42.png)", 0, 0 },
    { "quiet", OPTION_FLAG, AT(quiet), NULL, "no progress and no messages but errors", 0, 0 },
    { "json", OPTION_FLAG, AT(json), NULL, "print the files and settings as JSON", 0, 0 },
    { "tile", OPTION_STRING, AT(later), "auto|on|off", NULL, 0, 0 },
    { "memory-limit", OPTION_SIZE, AT(later_size), "SIZE", NULL, 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "PROMPT", AT(positional_prompt), 0,
      "what to draw, in quotes; unconditional models take none" },
    { .name = NULL },
};
#undef AT

/* One run of the command. */
struct job {
    const struct settings *s;
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

static int check_dtype(const char *name)
{
    dfx_dtype dtype;
    if (!name || strcmp(name, "auto") == 0 ||
        (dfx_dtype_parse(&dtype, name) == DFX_OK && dtype <= DFX_BF16))
        return EXIT_DONE;
    return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16, bf16 or auto", name);
}

/* A mistyped scheduler is found before a large model is loaded. */
static int check_scheduler(const char *choice)
{
    dfx_scheduler *scheduler;
    dfx_status status = choice ? dfx_scheduler_open(&scheduler, NULL, choice) : DFX_ERROR_FILE;
    if (status == DFX_OK)
        dfx_scheduler_free(scheduler);
    if (status == DFX_ERROR_UNSUPPORTED)
        return cmd_fail_with(EXIT_USAGE, "--scheduler: %s", dfx_error());
    return EXIT_DONE;
}

static int check_settings(const struct settings *s)
{
    if (s->prompt && s->positional_prompt)
        return cmd_fail_with(EXIT_USAGE, "--prompt: the prompt is already given as \"%s\"",
                             s->positional_prompt);
    const char *start = s->init_image ? s->init_image : s->init_latents;
    if (s->mask && !start)
        return cmd_fail_with(EXIT_USAGE, "--mask: needs --init-image, the picture it selects from");
    if (s->padding_mask_crop >= 0 && !s->mask)
        return cmd_fail_with(EXIT_USAGE, "--padding-mask-crop: needs --mask");
    if (s->strength >= 0 && !start)
        return cmd_fail_with(EXIT_USAGE, "--strength: needs --init-image");
    if (s->denoising_start > 0 && !start)
        return cmd_fail_with(EXIT_USAGE, "--denoising-start: needs --init-latents");
    if (s->init_image && s->init_latents)
        return cmd_fail_with(EXIT_USAGE, "--init-latents: there is --init-image too");
    if (s->refiner && s->mask)
        return cmd_fail_with(EXIT_USAGE, "--refiner: it refines whole pictures, without --mask");
    if ((s->max_multiples || s->no_boseos_middle) && !s->long_prompts)
        return cmd_fail_with(EXIT_USAGE, "%s: needs --long-prompts",
                             s->max_multiples ? "--max-embeddings-multiples"
                                              : "--no-boseos-middle");
    if (s->output && strcmp(s->output, "-") == 0 && s->json)
        return cmd_fail_with(EXIT_USAGE, "--json: standard output is taken by --output -");
    if (s->trace && strcmp(s->trace, "-") == 0)
        return cmd_fail_with(EXIT_USAGE, "--trace: needs a file's name");
    if (s->preview && strcmp(s->preview, "-") == 0)
        return cmd_fail_with(EXIT_USAGE, "--preview: needs a file's name");
    if (!s->preview && (s->preview_every || s->preview_model))
        return cmd_fail_with(EXIT_USAGE, "%s: needs --preview",
                             s->preview_every ? "--preview-every" : "--preview-model");
    int code = check_dtype(s->dtype);
    return code == EXIT_DONE ? check_scheduler(s->scheduler) : code;
}

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
    const struct settings *s = job->s;
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
    const struct settings *s = job->s;
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
    const struct settings *s = job->s;
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
    const struct settings *s = job->s;
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
    const struct settings *s = job->s;
    const dfx_pipeline_options open = { .dtype = s->dtype,
                                        .variant = s->variant,
                                        .on = job->pipeline };
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
    const struct settings *s = job->s;
    const dfx_pipeline_options open = { .device = s->device,
                                        .dtype = s->dtype,
                                        .variant = s->variant };
    dfx_status status = dfx_pipeline_open(&job->pipeline, s->model, &open);
    job->opened = progress_clock();
    if (status == DFX_OK)
        status = dfx_pipeline_settings(job->pipeline, &job->g);
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
        record_make(&record, job->pipeline, job->refiner, &job->g, i, job->names);
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
    char on_device[SIZE_TEXT], on_host[SIZE_TEXT];
    fprintf(stderr,
            "%.2f s (model ready after %.2f s), %d steps at %.2f steps/s, on %s (%s) in %s, "
            "peak memory %s on the device, %s on the host\n",
            seconds, job->opened - job->start, job->g.steps, steps_per_second(job),
            dfx_device_get_info(device)->id, dfx_device_get_info(device)->name,
            dfx_dtype_name(dfx_pipeline_dtype(job->pipeline)),
            print_size(on_device, dfx_device_memory_peak(device)),
            print_size(on_host, host_peak()));
}

static int print_result_json(const struct job *job, double seconds)
{
    json_object *o = record_json(job->pipeline, job->refiner, &job->g),
                *files = json_object_new_array();
    if (!o || !files)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    for (int i = 0; i < job->names; i++)
        json_object_array_add(files, json_object_new_string(job->name[i]));
    if (job->s->save_latents)
        json_object_array_add(files, json_object_new_string(job->s->save_latents));
    json_object_object_add(o, "files", files);
    json_object_object_add(o, "seconds", json_object_new_double(seconds));
    json_object_object_add(o, "steps_per_second", json_object_new_double(steps_per_second(job)));
    json_object_object_add(
        o, "device_memory_peak",
        json_object_new_uint64(dfx_device_memory_peak(dfx_pipeline_device(job->pipeline))));
    json_object_object_add(o, "host_memory_peak", json_object_new_uint64(host_peak()));
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
    const struct settings *s = job->s;
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
    int code = check_settings(job.s);
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
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
