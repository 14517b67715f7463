/* record.c - the record of a run: its settings as a picture's texts and as JSON. */
#include "record.h"

#include "print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_text(struct record *r, int is_number, const char *key, const char *format,
                     va_list args)
{
    char *text;
    if (r->count == RECORD_TEXTS || vasprintf(&text, format, args) < 0) {
        r->failed = 1;
        return;
    }
    r->is_number[r->count] = (unsigned char)is_number;
    r->text[r->count++] = (dfx_image_text){ key, text };
}

static void add(struct record *r, const char *key, const char *format, ...) DFX__PRINTF(3, 4);

static void add(struct record *r, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(r, 0, key, format, args);
    va_end(args);
}

static void add_number(struct record *r, const char *key, const char *format, ...)
    DFX__PRINTF(3, 4);

static void add_number(struct record *r, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(r, 1, key, format, args);
    va_end(args);
}

/* A pair that is given. */
static void add_pair(struct record *r, const char *key, const char *between, int first, int second)
{
    if (first || second)
        add(r, key, "%d%s%d", first, between, second);
}

/* The model's folder name. */
static void model_name(char name[128], const dfx_pipeline *p)
{
    const char *path = dfx_pipeline_path(p);
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    snprintf(name, 128, "%.*s", (int)(end - start), path + start);
}

/* The fewest digits that read back as the same float: 7.1, not 7.0999999. */
static const char *print_float(char text[32], float value)
{
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, 32, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return text;
}

/* As AUTOMATIC1111's web UI writes it and most viewers read it. */
static void add_parameters(struct record *r, dfx_pipeline *p, const dfx_generate_options *g,
                           int index, int count)
{
    const char *negative = g->negative_prompt ? g->negative_prompt : "";
    char name[128], scale[32], guidance[48] = "", batch[64] = "";
    model_name(name, p);
    if (count > 1)
        snprintf(batch, sizeof batch, "Batch size: %d, Batch pos: %d, ", count, index);
    if (g->prompt)
        snprintf(guidance, sizeof guidance, "CFG scale: %s, ",
                 print_float(scale, g->guidance_scale));
    add(r, "parameters",
        "%s%s%s%s%sSteps: %d, Sampler: %s, %sSeed: %" PRIu64 ", Size: %dx%d, "
        "Model hash: %s, Model: %s, %sVersion: dfx %s",
        g->prompt ? g->prompt : "", g->prompt ? "\n" : "", *negative ? "Negative prompt: " : "",
        negative, *negative ? "\n" : "", g->steps, g->scheduler, guidance, g->seed, g->width,
        g->height, dfx_pipeline_hash(p), name, batch, dfx_version());
}

/* ---- settings ---- */

static void add_prompts(struct record *r, const dfx_generate_options *g)
{
    char scale[32];
    if (!g->prompt)
        return;
    add(r, "prompt", "%s", g->prompt);
    if (g->negative_prompt)
        add(r, "negative_prompt", "%s", g->negative_prompt);
    if (g->prompt_2)
        add(r, "prompt_2", "%s", g->prompt_2);
    if (g->negative_prompt_2)
        add(r, "negative_prompt_2", "%s", g->negative_prompt_2);
    add_number(r, "guidance_scale", "%s", print_float(scale, g->guidance_scale));
    if (g->guidance_rescale > 0)
        add_number(r, "guidance_rescale", "%s", print_float(scale, g->guidance_rescale));
    if (g->clip_skip)
        add_number(r, "clip_skip", "%d", g->clip_skip);
    if (g->long_prompts)
        add(r, "long_prompts", "%s", g->no_boseos_middle ? "no_boseos_middle" : "yes");
    if (g->max_embeddings_multiples)
        add_number(r, "max_embeddings_multiples", "%d", g->max_embeddings_multiples);
}

/* What the run starts from besides noise. */
static void add_start(struct record *r, const dfx_generate_options *g)
{
    char scale[32];
    if (g->image)
        add(r, "init_image", "given");
    if (g->init_latents)
        add(r, "init_latents", "given");
    if ((g->image || g->init_latents) && g->denoising_start == 0)
        add_number(r, "strength", "%.9g", g->strength);
    if (g->mask)
        add(r, "mask", "given");
    if (g->mask && g->padding_mask_crop >= 0)
        add_number(r, "padding_mask_crop", "%d", g->padding_mask_crop);
    if (g->image_guidance_scale > 0)
        add_number(r, "image_guidance_scale", "%s", print_float(scale, g->image_guidance_scale));
    if (g->depth)
        add(r, "depth", "given");
    if (g->latents)
        add(r, "latents", "given"); /* then the seed alone does not repeat the picture */
}

/* What only pipelines of SDXL take. */
static void add_xl(struct record *r, dfx_pipeline *refiner, const dfx_generate_options *g)
{
    const dfx_size_condition *s = &g->size, *n = &g->negative_size;
    char score[32];
    add_pair(r, "original_size", "x", s->original_width, s->original_height);
    add_pair(r, "crop", ",", s->crop_left, s->crop_top);
    add_pair(r, "target_size", "x", s->target_width, s->target_height);
    add_pair(r, "negative_original_size", "x", n->original_width, n->original_height);
    add_pair(r, "negative_crop", ",", n->crop_left, n->crop_top);
    add_pair(r, "negative_target_size", "x", n->target_width, n->target_height);
    if (refiner || g->init_latents) {
        add_number(r, "aesthetic_score", "%s", print_float(score, g->aesthetic_score));
        add_number(r, "negative_aesthetic_score", "%s",
                   print_float(score, g->negative_aesthetic_score));
    }
    if (g->denoising_start > 0)
        add_number(r, "denoising_start", "%.9g", g->denoising_start);
    if (g->denoising_end > 0)
        add_number(r, "denoising_end", "%.9g", g->denoising_end);
}

static void add_model(struct record *r, dfx_pipeline *p, const char *key, const char *hash_key)
{
    char name[128];
    model_name(name, p);
    add(r, key, "%s", name);
    add(r, hash_key, "%s", dfx_pipeline_hash(p));
}

/* All settings of a run, for both forms of its record. */
static void add_settings(struct record *r, dfx_pipeline *p, dfx_pipeline *refiner,
                         const dfx_generate_options *g, const dfx_result *result)
{
    add_prompts(r, g);
    if (g->noise_level >= 0)
        add_number(r, "noise_level", "%d", g->noise_level);
    if (g->class_labels)
        add_number(r, "class_label", "%d", g->class_labels[0]);
    add_number(r, "steps", "%d", g->steps);
    add_number(r, "seed", "%" PRIu64, g->seed);
    add_number(r, "width", "%d", g->width);
    add_number(r, "height", "%d", g->height);
    add(r, "scheduler", "%s", g->scheduler);
    add_number(r, "batch", "%d", g->batch);
    if (dfx_result_tiles(result) > 1)
        add_number(r, "tiles", "%d", dfx_result_tiles(result));
    add_start(r, g);
    add_xl(r, refiner, g);
    if (refiner)
        add_model(r, refiner, "refiner", "refiner_hash");
    add_model(r, p, "model", "model_hash");
    add(r, "device", "%s", dfx_device_get_info(dfx_pipeline_device(p))->id);
    add(r, "dtype", "%s", dfx_dtype_name(dfx_pipeline_dtype(p)));
}

/* ---- records ---- */

void record_make(struct record *r, dfx_pipeline *p, dfx_pipeline *refiner,
                 const dfx_generate_options *g, const dfx_result *result, int index, int count)
{
    memset(r, 0, sizeof *r);
    add_parameters(r, p, g, index, count);
    add_settings(r, p, refiner, g, result);
    add_number(r, "index", "%d", index + 1);
    add(r, "Software", "dfx %s", dfx_version());
}

void record_free(struct record *r)
{
    for (int i = 0; i < r->count; i++)
        free((char *)r->text[i].text);
    r->count = 0;
}

static json_object *make_value(const char *text, int is_number)
{
    if (!is_number)
        return json_object_new_string(text);
    if (text[strspn(text, "0123456789")] == '\0')
        return json_object_new_uint64(strtoull(text, NULL, 10));
    return json_object_new_double_s(strtod(text, NULL), text);
}

json_object *record_json(dfx_pipeline *p, dfx_pipeline *refiner, const dfx_generate_options *g,
                         const dfx_result *result)
{
    struct record r = { .count = 0 };
    json_object *o = json_object_new_object();
    add_settings(&r, p, refiner, g, result);
    for (int i = 0; o && i < r.count; i++)
        print_put(o, r.text[i].key, make_value(r.text[i].text, r.is_number[i]));
    record_free(&r);
    if (!r.failed)
        return o;
    json_object_put(o);
    return NULL;
}
