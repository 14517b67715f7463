/* prepare.c - from a recording to something that runs: variants, memory, weights, launches. */
#include "core/dtype.h"
#include "device/faults.h"
#include "sequence/launches.h"
#include "sequence/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dfx_status choose_variants(dfx_sequence *s)
{
    DFX__TRY(dfx__tune(s));
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k];
        if (!c->variant)
            return dfx__variant_missing(c);
        c->scratch.bytes = c->variant->scratch ? c->variant->scratch(c) : 0;
        s->info.flops += dfx__call_flops(c);
    }
    return DFX_OK;
}

/* From the call that writes a value to the last one that reads it. Inputs keep their content from
 * run to run, outputs until they are read. */
static void find_lifetimes(dfx_sequence *s)
{
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k];
        for (int i = 0; i < DFX__MAX_INPUTS; i++)
            if (c->in[i])
                c->in[i]->root->last = k;
        c->out->first = c->out->last = k;
    }
    for (dfx_value *v = s->values; v; v = v->next) {
        if (v->is_input)
            v->first = 0;
        if (v->is_input || v->kept)
            v->last = s->calls;
    }
}

static int needs_memory(const dfx_value *v)
{
    return v->root == v && !v->weight && v->first >= 0;
}

/* Values and scratch memory as the plan's items; returns how many. */
static int list_items(dfx_sequence *s, dfx__plan_item *item)
{
    int n = 0;
    for (dfx_value *v = s->values; v; v = v->next)
        if (needs_memory(v))
            item[n++] = (dfx__plan_item){ dfx__spec_bytes(&v->spec), v->first, v->last, 0, 0 };
    for (int k = 0; k < s->calls; k++)
        if (s->call[k]->scratch.bytes)
            item[n++] = (dfx__plan_item){ s->call[k]->scratch.bytes, k, k, 0, 0 };
    return n;
}

static dfx_status allocate_arenas(dfx_sequence *s, const size_t *size, int arenas)
{
    s->arena = dfx__alloc((size_t)arenas, sizeof *s->arena);
    if (!s->arena)
        return dfx__no_memory();
    for (int a = 0; a < arenas; a++) {
        DFX__TRY(dfx__buffer_new(&s->arena[a], s->device, size[a]));
        s->arenas++;
        s->info.activation_bytes += size[a];
    }
    return DFX_OK;
}

static dfx__place item_place(const dfx_sequence *s, const dfx__plan_item *item)
{
    return (dfx__place){ s->arena[item->arena], item->offset, item->bytes };
}

/* Each item in an arena of its own, for tools that watch accesses per buffer. */
static int plan_separately(dfx__plan_item *item, int items, size_t *size)
{
    for (int i = 0; i < items; i++) {
        item[i].arena = i;
        item[i].offset = 0;
        size[i] = item[i].bytes;
    }
    return items;
}

static dfx_status plan_items(dfx_sequence *s, dfx__plan_item *item, int items, size_t *size)
{
    int n = 0, arenas;
    size_t largest = s->device->info.max_buffer / s->device->alignment * s->device->alignment;
    items = list_items(s, item);
    arenas = s->separate ? plan_separately(item, items, size)
                         : dfx__plan(item, items, s->device->alignment, largest, size, items);
    if (arenas < 0)
        return dfx__no_memory();
    for (int i = 0; i < items; i++)
        if (item[i].bytes > s->info.largest_buffer)
            s->info.largest_buffer = item[i].bytes;
    DFX__TRY(allocate_arenas(s, size, arenas));
    for (dfx_value *v = s->values; v; v = v->next)
        if (needs_memory(v))
            v->place = item_place(s, &item[n++]);
    for (int k = 0; k < s->calls; k++)
        if (s->call[k]->scratch.bytes)
            s->call[k]->scratch = item_place(s, &item[n++]);
    return DFX_OK;
}

static dfx_status plan_memory(dfx_sequence *s)
{
    int items = s->calls;
    for (dfx_value *v = s->values; v; v = v->next)
        items += needs_memory(v);
    dfx__plan_item *item = dfx__alloc((size_t)items, sizeof *item);
    size_t *size = dfx__alloc((size_t)items, sizeof *size);
    dfx_status status = item && size ? plan_items(s, item, items, size) : dfx__no_memory();
    free(item);
    free(size);
    return status;
}

static dfx_status upload_weights(dfx_sequence *s)
{
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k];
        for (int i = 0; i < DFX__MAX_INPUTS; i++) {
            dfx_weight *w = c->in[i] ? c->in[i]->root->weight : NULL;
            if (!w)
                continue;
            if (dfx__interrupted())
                return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
            dfx__format format = w->spec.rank > 1 ? c->variant->format : DFX__PLAIN;
            DFX__TRY(dfx__weight_copy_get(&c->copy[i], w, s->device, format,
                                          dfx__constant_dtype(s, w, format)));
            if (c->copy[i]->buffer->bytes > s->info.largest_buffer)
                s->info.largest_buffer = c->copy[i]->buffer->bytes;
            if (c->in[i]->root->first < 0) { /* the first call that uses it */
                c->in[i]->root->first = k;
                s->info.weight_bytes += c->copy[i]->buffer->bytes;
            }
        }
    }
    return DFX_OK;
}

static const void *host_pointer(const dfx_call *c, int input)
{
    if (!c->in[input])
        return NULL;
    if (c->copy[input])
        return c->copy[input]->buffer->host;
    const dfx__place *p = &c->in[input]->root->place;
    return (const char *)p->buffer->host + p->offset;
}

/* The native CPU's launch: the call's function on host memory. */
static void run_on_host(void *data)
{
    const dfx_call *c = data;
    const dfx__place *out = &c->out->place;
    dfx__host h = { { NULL }, (char *)out->buffer->host + out->offset, NULL };
    for (int i = 0; i < DFX__MAX_INPUTS; i++)
        h.in[i] = host_pointer(c, i);
    if (c->scratch.buffer)
        h.scratch = (char *)c->scratch.buffer->host + c->scratch.offset;
    c->variant->run(c, &h);
}

static dfx_status prepare_launches(dfx_call *c)
{
    dfx_device *d = c->sequence->device;
    dfx__launch on_host = { .kind = DFX__LAUNCH_HOST, .host = { run_on_host, c } };
    dfx__launches l = { c, NULL, 0, 0, DFX_OK };
    if (!d->is_native)
        c->variant->launch(c, &l);
    const dfx__launch *launch = d->is_native ? &on_host : l.launch;
    int count = d->is_native ? 1 : l.count;
    dfx_status status = l.status;
    if (status == DFX_OK && !(c->launch = dfx__alloc((size_t)count, sizeof *c->launch)))
        status = dfx__no_memory();
    for (int i = 0; i < count && status == DFX_OK; i++) {
        status = d->class->prepare(&c->launch[i], d, &launch[i]);
        c->launches += status == DFX_OK;
    }
    free(l.launch);
    return status;
}

static dfx_status prepare_all_launches(dfx_sequence *s, dfx_call **failed)
{
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k];
        dfx_status status = prepare_launches(c);
        if (status != DFX_OK) {
            *failed = c;
            return dfx__fail_in(status, "%s: %s", c->path, c->op->name);
        }
        s->info.launches += c->launches;
    }
    return DFX_OK;
}

static dfx_status prepare(dfx_sequence *s, dfx_call **failed)
{
    *failed = NULL;
    DFX__TRY(choose_variants(s));
    find_lifetimes(s);
    DFX__TRY(plan_memory(s));
    DFX__TRY(upload_weights(s));
    return prepare_all_launches(s, failed);
}

void dfx__unprepare(dfx_sequence *s)
{
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k];
        for (int i = 0; i < c->launches; i++)
            s->device->class->discard(c->launch[i]);
        free(c->launch);
        c->launch = NULL;
        c->launches = 0;
        for (int i = 0; i < DFX__MAX_INPUTS; i++) {
            dfx__weight_copy_release(c->copy[i]);
            c->copy[i] = NULL;
        }
        for (int i = 0; i < DFX__MAX_PARTS; i++) {
            dfx__buffer_free(c->part[i].buffer);
            c->part[i].buffer = NULL;
        }
        c->scratch = (dfx__place){ NULL, 0, 0 };
    }
    for (int a = 0; a < s->arenas; a++)
        dfx__buffer_free(s->arena[a]);
    free(s->arena);
    s->arena = NULL;
    s->arenas = 0;
}

int dfx__do_without(const dfx_call *failed)
{
    dfx_device *d = failed->sequence->device;
    const dfx__variant *lost = failed->variant;
    dfx__way way = { failed->op->name, lost->name, failed->sequence->dtype };
    char message[400];
    snprintf(message, sizeof message, "%s", dfx_error());
    dfx__fault_add(d, &way, message);
    const dfx__variant *instead = dfx__variant_choose(failed);
    if (!instead || instead == lost) {
        dfx__fail(DFX_ERROR_DEVICE, "%s; use --device cpu", message);
        return 0;
    }
    dfx__log("%s does without %s:%s, which fails on it: %s", d->info.id, way.op, way.variant,
             message);
    return 1;
}

static void begin_again(dfx_sequence *s)
{
    dfx__unprepare(s);
    s->info = (dfx_sequence_info){ 0 };
    for (int k = 0; k < s->calls; k++)
        s->call[k]->variant = NULL;
    for (dfx_value *v = s->values; v; v = v->next)
        v->first = v->last = -1;
}

dfx_status dfx_sequence_prepare(dfx_sequence *s)
{
    if (s->status != DFX_OK)
        return dfx__fail(s->status, "%s", s->message);
    if (s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is prepared already");
    dfx_call *failed;
    dfx_status status = prepare(s, &failed);
    while (status == DFX_ERROR_DEVICE && failed && !s->forced && !s->device->is_native &&
           dfx__do_without(failed) && !s->settled) {
        begin_again(s);
        status = prepare(s, &failed);
    }
    DFX__TRY(status);
    s->info.calls = s->calls;
    s->prepared = 1;
    return DFX_OK;
}

dfx_status dfx_sequence_get_info(const dfx_sequence *s, dfx_sequence_info *out)
{
    if (!s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is not prepared");
    *out = s->info;
    return DFX_OK;
}
