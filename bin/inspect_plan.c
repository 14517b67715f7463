/* inspect_plan.c - what a picture would take of a device, as text and as JSON. */
#include "inspect_plan.h"

#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 512, NAME_WIDTH = 24 };

static dfx_image *blank(int width, int height, int channels)
{
    dfx_image *image = malloc(sizeof *image);
    size_t bytes = (size_t)width * (size_t)height * (size_t)channels;
    if (!image)
        return NULL;
    *image = (dfx_image){ width, height, channels, calloc(1, bytes) };
    if (image->pixels)
        return image;
    free(image);
    return NULL;
}

/* Pipelines that start from a picture get a black one, those that inpaint all of it as the mask. */
static dfx_status plan(dfx_plan **out, dfx_pipeline *p, dfx_generate_options *o)
{
    int width = o->width ? o->width : SIDE, height = o->height ? o->height : SIDE;
    dfx_generate_options of_image = *o;
    dfx_status status = dfx_pipeline_plan(out, p, o);
    if (status != DFX_ERROR_ARGUMENT)
        return status;
    dfx_image *image = blank(width, height, 3), *mask = blank(width, height, 1);
    dfx_status with_image = status;
    of_image.width = of_image.height = 0;
    of_image.image = image;
    if (image && mask)
        with_image = dfx_pipeline_plan(out, p, &of_image);
    of_image.mask = mask;
    if (image && mask && with_image == DFX_ERROR_ARGUMENT)
        with_image = dfx_pipeline_plan(out, p, &of_image);
    dfx_image_free(image);
    dfx_image_free(mask);
    if (with_image == DFX_ERROR_ARGUMENT) /* then it was no picture that was missing */
        return dfx_pipeline_plan(out, p, o);
    return with_image;
}

/* ---- text ---- */

static void print_part(const dfx_plan_part *part)
{
    char weights[DFX_BYTES_TEXT], streamed[DFX_BYTES_TEXT], activations[DFX_BYTES_TEXT],
        largest[DFX_BYTES_TEXT], moved[DFX_BYTES_TEXT];
    print_column(part->component, NAME_WIDTH);
    printf("%-9s %-5s %10s %10s %10s %11.1f %6d\n", part->device, dfx_dtype_name(part->dtype),
           dfx_bytes_text(weights, part->weight_bytes),
           dfx_bytes_text(activations, part->activation_bytes),
           dfx_bytes_text(largest, part->largest_buffer), part->flops * 1e-9, part->calls);
    if (part->streamed_bytes)
        printf("    %s of the weights stay on the host and move to the device, %s in each run\n",
               dfx_bytes_text(streamed, part->streamed_bytes),
               dfx_bytes_text(moved, part->moved_bytes));
    if (part->tiles)
        printf("    the picture is too large as a whole: %d tiles\n", part->tiles);
    printf("    %s\n", part->kernels);
}

static void print_plan(const dfx_plan *plan, const dfx_pipeline *p, const dfx_generate_options *o)
{
    const dfx_device_info *d = dfx_device_get_info(dfx_pipeline_device(p));
    char peak[DFX_BYTES_TEXT], limit[DFX_BYTES_TEXT];
    printf("\n%d x %d", o->width, o->height);
    if (o->batch > 1)
        printf(", a batch of %d", o->batch);
    printf(", on %s (%s):\n", d->id, d->name);
    printf("%-*s %-9s %-5s %10s %10s %10s %11s %6s\n", NAME_WIDTH, "component", "device", "dtype",
           "weights", "others", "largest", "GFLOP", "calls");
    for (int i = 0; i < plan->count; i++)
        print_part(&plan->parts[i]);
    printf("peak %s of %s\n", dfx_bytes_text(peak, plan->peak), dfx_bytes_text(limit, plan->limit));
}

/* ---- JSON ---- */

static json_object *part_json(const dfx_plan_part *part)
{
    json_object *o = json_object_new_object();
    print_put(o, "component", json_object_new_string(part->component));
    print_put(o, "device", json_object_new_string(part->device));
    print_put(o, "dtype", json_object_new_string(dfx_dtype_name(part->dtype)));
    print_put(o, "weight_bytes", json_object_new_uint64(part->weight_bytes));
    print_put(o, "streamed_bytes", json_object_new_uint64(part->streamed_bytes));
    print_put(o, "moved_bytes", json_object_new_uint64(part->moved_bytes));
    print_put(o, "activation_bytes", json_object_new_uint64(part->activation_bytes));
    print_put(o, "largest_buffer", json_object_new_uint64(part->largest_buffer));
    print_put(o, "flops", json_object_new_double(part->flops));
    print_put(o, "calls", json_object_new_int(part->calls));
    print_put(o, "tiles", json_object_new_int(part->tiles));
    print_put(o, "kernels", json_object_new_string(part->kernels));
    return o;
}

static json_object *plan_json(const dfx_plan *plan, const dfx_generate_options *o)
{
    json_object *top = json_object_new_object(), *parts = json_object_new_array();
    for (int i = 0; i < plan->count; i++)
        print_append(parts, part_json(&plan->parts[i]));
    print_put(top, "width", json_object_new_int(o->width));
    print_put(top, "height", json_object_new_int(o->height));
    print_put(top, "batch", json_object_new_int(o->batch));
    print_put(top, "peak", json_object_new_uint64(plan->peak));
    print_put(top, "limit", json_object_new_uint64(plan->limit));
    print_put(top, "components", parts);
    return top;
}

int inspect_plan(const char *model, const struct plan_settings *s, json_object *json)
{
    const dfx_pipeline_options open = { .device = s->device,
                                        .dtype = s->dtype,
                                        .memory_limit = s->memory_limit };
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_pipeline *p;
    dfx_plan *made;
    dfx_status status = dfx_pipeline_open(&p, model, &open);
    if (status != DFX_OK)
        return cmd_fail(status);
    o.prompt = "";
    o.width = s->width;
    o.height = s->height;
    o.batch = s->batch ? s->batch : 1;
    o.last = 1;
    status = plan(&made, p, &o);
    if (status == DFX_OK) {
        dfx_pipeline_settings(p, &o); /* sizes that were not given */
        if (json)
            print_put(json, "plan", plan_json(made, &o));
        else
            print_plan(made, p, &o);
        dfx_plan_free(made);
    }
    dfx_pipeline_free(p);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}
