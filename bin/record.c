/* record.c - the record of a run: its settings as a picture's texts and as JSON. */
#include "record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct record *r, const char *key, const char *format, ...) DFX__PRINTF(3, 4);

static void add(struct record *r, const char *key, const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    if (r->count == RECORD_TEXTS || vasprintf(&text, format, args) < 0)
        r->failed = 1;
    else
        r->text[r->count++] = (dfx_image_text){ key, text };
    va_end(args);
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

/* ---- settings that only pipelines of SDXL take ---- */

enum { XL_SETTINGS = 10 };

struct setting {
    const char *key;
    char text[48];
    int is_number;
};

static void list_number(struct setting *list, int *count, const char *key, double value)
{
    struct setting *s = &list[(*count)++];
    s->key = key;
    s->is_number = 1;
    snprintf(s->text, sizeof s->text, "%.9g", value);
}

static void list_pair(struct setting *list, int *count, const char *key, const char *format,
                      int first, int second)
{
    struct setting *s = &list[*count];
    if (!first && !second)
        return;
    s->key = key;
    s->is_number = 0;
    snprintf(s->text, sizeof s->text, "%d%s%d", first, format, second);
    ++*count;
}

/* Those that are given; returns how many. */
static int list_xl(struct setting list[XL_SETTINGS], const dfx_generate_options *g, int refines)
{
    const dfx_size_condition *s = &g->size, *n = &g->negative_size;
    int count = 0;
    list_pair(list, &count, "original_size", "x", s->original_width, s->original_height);
    list_pair(list, &count, "crop", ",", s->crop_left, s->crop_top);
    list_pair(list, &count, "target_size", "x", s->target_width, s->target_height);
    list_pair(list, &count, "negative_original_size", "x", n->original_width, n->original_height);
    list_pair(list, &count, "negative_crop", ",", n->crop_left, n->crop_top);
    list_pair(list, &count, "negative_target_size", "x", n->target_width, n->target_height);
    if (refines) {
        list_number(list, &count, "aesthetic_score", g->aesthetic_score);
        list_number(list, &count, "negative_aesthetic_score", g->negative_aesthetic_score);
    }
    if (g->denoising_start > 0)
        list_number(list, &count, "denoising_start", g->denoising_start);
    if (g->denoising_end > 0)
        list_number(list, &count, "denoising_end", g->denoising_end);
    return count;
}

static int refines(dfx_pipeline *refiner, const dfx_generate_options *g)
{
    return refiner || g->init_latents;
}

static void add_xl(struct record *r, dfx_pipeline *refiner, const dfx_generate_options *g)
{
    struct setting list[XL_SETTINGS];
    int count = list_xl(list, g, refines(refiner, g));
    char name[128];
    if (g->prompt_2)
        add(r, "prompt_2", "%s", g->prompt_2);
    if (g->negative_prompt_2)
        add(r, "negative_prompt_2", "%s", g->negative_prompt_2);
    for (int i = 0; i < count; i++)
        add(r, list[i].key, "%s", list[i].text);
    if (g->init_latents)
        add(r, "init_latents", "given");
    if (refiner) {
        model_name(name, refiner);
        add(r, "refiner", "%s", name);
        add(r, "refiner_hash", "%s", dfx_pipeline_hash(refiner));
    }
}

/* ---- records ---- */

void record_make(struct record *r, dfx_pipeline *p, dfx_pipeline *refiner,
                 const dfx_generate_options *g, int index, int count)
{
    char name[128], guidance[32];
    memset(r, 0, sizeof *r);
    model_name(name, p);
    add_parameters(r, p, g, index, count);
    if (g->prompt)
        add(r, "prompt", "%s", g->prompt);
    if (g->negative_prompt)
        add(r, "negative_prompt", "%s", g->negative_prompt);
    add(r, "steps", "%d", g->steps);
    if (g->prompt)
        add(r, "guidance_scale", "%s", print_float(guidance, g->guidance_scale));
    if (g->class_labels)
        add(r, "class_label", "%d", g->class_labels[0]);
    add(r, "seed", "%" PRIu64, g->seed);
    add(r, "width", "%d", g->width);
    add(r, "height", "%d", g->height);
    add(r, "scheduler", "%s", g->scheduler);
    add(r, "batch", "%d", count);
    add(r, "index", "%d", index + 1);
    if (g->clip_skip)
        add(r, "clip_skip", "%d", g->clip_skip);
    if (g->long_prompts)
        add(r, "long_prompts", "%s", g->no_boseos_middle ? "no_boseos_middle" : "yes");
    if (g->max_embeddings_multiples)
        add(r, "max_embeddings_multiples", "%d", g->max_embeddings_multiples);
    if (g->image)
        add(r, "init_image", "given");
    if ((g->image || g->init_latents) && g->denoising_start == 0)
        add(r, "strength", "%.9g", g->strength);
    if (g->mask)
        add(r, "mask", "given");
    if (g->mask && g->padding_mask_crop >= 0)
        add(r, "padding_mask_crop", "%d", g->padding_mask_crop);
    if (g->image_guidance_scale > 0)
        add(r, "image_guidance_scale", "%s", print_float(guidance, g->image_guidance_scale));
    if (g->depth)
        add(r, "depth", "given");
    if (g->latents)
        add(r, "latents", "given"); /* then the seed alone does not repeat the picture */
    add_xl(r, refiner, g);
    add(r, "model", "%s", name);
    add(r, "model_hash", "%s", dfx_pipeline_hash(p));
    add(r, "device", "%s", dfx_device_get_info(dfx_pipeline_device(p))->id);
    add(r, "dtype", "%s", dfx_dtype_name(dfx_pipeline_dtype(p)));
    add(r, "Software", "dfx %s", dfx_version());
}

void record_free(struct record *r)
{
    for (int i = 0; i < r->count; i++)
        free((char *)r->text[i].text);
    r->count = 0;
}

static void add_string(json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static void add_xl_json(json_object *o, dfx_pipeline *refiner, const dfx_generate_options *g)
{
    struct setting list[XL_SETTINGS];
    int count = list_xl(list, g, refines(refiner, g));
    char name[128];
    if (g->prompt_2)
        add_string(o, "prompt_2", g->prompt_2);
    if (g->negative_prompt_2)
        add_string(o, "negative_prompt_2", g->negative_prompt_2);
    for (int i = 0; i < count; i++)
        if (list[i].is_number)
            json_object_object_add(
                o, list[i].key, json_object_new_double_s(strtod(list[i].text, NULL), list[i].text));
        else
            add_string(o, list[i].key, list[i].text);
    if (refiner) {
        model_name(name, refiner);
        add_string(o, "refiner", name);
        add_string(o, "refiner_hash", dfx_pipeline_hash(refiner));
    }
}

json_object *record_json(dfx_pipeline *p, dfx_pipeline *refiner, const dfx_generate_options *g)
{
    json_object *o = json_object_new_object();
    if (!o)
        return NULL;
    char name[128], guidance[32];
    model_name(name, p);
    print_float(guidance, g->guidance_scale);
    if (g->prompt) {
        add_string(o, "prompt", g->prompt);
        add_string(o, "negative_prompt", g->negative_prompt);
        json_object_object_add(o, "guidance_scale",
                               json_object_new_double_s((double)g->guidance_scale, guidance));
    }
    if (g->class_labels)
        json_object_object_add(o, "class_label", json_object_new_int(g->class_labels[0]));
    json_object_object_add(o, "steps", json_object_new_int(g->steps));
    json_object_object_add(o, "seed", json_object_new_uint64(g->seed));
    json_object_object_add(o, "width", json_object_new_int(g->width));
    json_object_object_add(o, "height", json_object_new_int(g->height));
    json_object_object_add(o, "batch", json_object_new_int(g->batch));
    add_string(o, "scheduler", g->scheduler);
    add_xl_json(o, refiner, g);
    add_string(o, "model", name);
    add_string(o, "model_hash", dfx_pipeline_hash(p));
    add_string(o, "device", dfx_device_get_info(dfx_pipeline_device(p))->id);
    add_string(o, "dtype", dfx_dtype_name(dfx_pipeline_dtype(p)));
    return o;
}
