/* plan.c - what a run will take, found by going through it without computing. */
#include "device/device.h"
#include "pipeline/fit.h"
#include "sequence/fitting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KERNELS_TEXT = 1024 };

/* ---- the plan ---- */

void dfx_plan_free(dfx_plan *plan)
{
    if (!plan)
        return;
    for (int i = 0; i < plan->count; i++) {
        free((char *)plan->parts[i].component);
        free((char *)plan->parts[i].kernels);
    }
    free(plan->parts);
    free(plan);
}

static dfx_status fill_part(dfx_plan_part *part, const dfx_device *d, const dfx__job *job,
                            const dfx_sequence *s)
{
    char kernels[KERNELS_TEXT];
    dfx_sequence_info info;
    DFX__TRY(dfx_sequence_get_info(s, &info));
    dfx__sequence_kernels(s, kernels, sizeof kernels);
    *part = (dfx_plan_part){
        .component = strdup(job->name),
        .dtype = job->dtype,
        .calls = info.calls,
        .tiles = job->tiles > 1 ? job->tiles : 0,
        .weight_bytes = info.weight_bytes,
        .streamed_bytes = info.streamed_bytes,
        .moved_bytes = info.moved_bytes,
        .activation_bytes = info.activation_bytes,
        .largest_buffer = info.largest_buffer,
        .flops = info.flops,
        .kernels = strdup(kernels),
    };
    snprintf(part->device, sizeof part->device, "%s", d->info.id);
    return part->component && part->kernels ? DFX_OK : dfx__no_memory();
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of sequences that do a component's tiles one after the other: at once there is only one. */
static void join_part(dfx_plan_part *part, dfx_plan_part *next)
{
    part->calls += next->calls;
    part->tiles = next->tiles > part->tiles ? next->tiles : part->tiles;
    part->flops += next->flops;
    part->weight_bytes = larger(part->weight_bytes, next->weight_bytes);
    part->streamed_bytes = larger(part->streamed_bytes, next->streamed_bytes);
    part->moved_bytes = larger(part->moved_bytes, next->moved_bytes);
    part->activation_bytes = larger(part->activation_bytes, next->activation_bytes);
    part->largest_buffer = larger(part->largest_buffer, next->largest_buffer);
    free((char *)next->component);
    free((char *)next->kernels);
}

dfx_status dfx__plan_add(dfx_pipeline *p, const dfx_device *d, const dfx__job *job,
                         const dfx_sequence *s)
{
    dfx_plan *plan = p->plan;
    if (!plan)
        return DFX_OK;
    dfx_plan_part *parts = realloc(plan->parts, (size_t)(plan->count + 1) * sizeof *parts);
    if (!parts)
        return dfx__no_memory();
    plan->parts = parts;
    dfx_plan_part *part = &parts[plan->count++];
    DFX__TRY(fill_part(part, d, job, s));
    if (job->tiles)
        part->flops *= job->tiles;
    if (job->tiles && plan->count > 1 && strcmp(part[-1].component, part->component) == 0 &&
        strcmp(part[-1].device, part->device) == 0) {
        join_part(part - 1, part);
        plan->count--;
    }
    return DFX_OK;
}

/* ---- the rehearsal ---- */

int dfx__keeps_any(const dfx_pipeline *p)
{
    return p->unet_kept.sequence || p->vae_kept.sequence || p->preview_kept.sequence;
}

/* A run between the beginning and the end of a rehearsal. */
static dfx_status rehearse(dfx_pipeline *p, const dfx_generate_options *o)
{
    dfx_generate_options silent = *o;
    silent.on_step = NULL;
    dfx_result *r = calloc(1, sizeof *r);
    dfx_status status = r ? p->class->generate(r, p, &silent) : dfx__no_memory();
    dfx_result_free(r);
    dfx__forget_all(p);
    return status;
}

dfx_status dfx__rehearse_run(dfx_plan **out, dfx_pipeline *p, const dfx_generate_options *o)
{
    dfx__forget_all(p);
    p->plan = calloc(1, sizeof *p->plan);
    if (!p->plan)
        return dfx__no_memory();
    dfx__rehearsal before = dfx__rehearse(p->device);
    dfx_status status = rehearse(p, o);
    p->plan->peak = dfx__rehearse_end(p->device, &before);
    p->plan->limit = p->device->limit;
    if (p->spare)
        p->spare->rehearses = 0;
    if (out && status == DFX_OK)
        *out = p->plan;
    else
        dfx_plan_free(p->plan);
    p->plan = NULL;
    return status;
}

dfx_status dfx_pipeline_plan(dfx_plan **out, dfx_pipeline *p, const dfx_generate_options *options)
{
    dfx_generate_options all = *options;
    *out = NULL;
    DFX__TRY(p->class->settings(p, &all));
    return dfx__rehearse_run(out, p, &all);
}
