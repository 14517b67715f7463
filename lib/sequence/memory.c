/* memory.c - what a sequence needs on its device: arenas for values and scratch memory, constants.
 */
#include "core/dtype.h"
#include "sequence/sequence.h"

#include <stdlib.h>

/* ---- values and scratch memory ---- */

/* From the call that writes a value to the last one that reads it. Inputs and what is invariant
 * keep their content from run to run, outputs until they are read. */
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
        if (v->is_input || (v->kept && v->invariant))
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

/* Arenas as planned, not yet made. */
typedef struct {
    dfx__plan_item *item;
    size_t *size;
    int items, arenas;
} plan;

static size_t plan_bytes(const plan *p)
{
    size_t bytes = 0;
    for (int a = 0; a < p->arenas; a++)
        bytes += p->size[a];
    return bytes;
}

static dfx_status plan_arenas(plan *p, dfx_sequence *s)
{
    size_t align = s->device->alignment, largest = s->device->info.max_buffer / align * align;
    int room = s->calls;
    for (dfx_value *v = s->values; v; v = v->next)
        room += needs_memory(v);
    p->item = dfx__alloc((size_t)room, sizeof *p->item);
    p->size = dfx__alloc((size_t)room, sizeof *p->size);
    if (!p->item || !p->size)
        return dfx__no_memory();
    p->items = list_items(s, p->item);
    p->arenas = s->separate ? plan_separately(p->item, p->items, p->size)
                            : dfx__plan(p->item, p->items, align, largest, p->size, p->items);
    return p->arenas < 0 ? dfx__no_memory() : DFX_OK;
}

static dfx_status allocate_arenas(dfx_sequence *s, const plan *p)
{
    s->arena = dfx__alloc((size_t)p->arenas, sizeof *s->arena);
    if (!s->arena)
        return dfx__no_memory();
    for (int a = 0; a < p->arenas; a++) {
        DFX__TRY(dfx__buffer_new(&s->arena[a], s->device, p->size[a]));
        s->arenas++;
    }
    return DFX_OK;
}

static void place_items(dfx_sequence *s, const plan *p)
{
    int n = 0;
    for (dfx_value *v = s->values; v; v = v->next)
        if (needs_memory(v))
            v->place = item_place(s, &p->item[n++]);
    for (int k = 0; k < s->calls; k++)
        if (s->call[k]->scratch.bytes)
            s->call[k]->scratch = item_place(s, &p->item[n++]);
}

/* ---- constants ---- */

/* The constant of that kind; a new one where there is none. */
static dfx__constant *find_constant(dfx_sequence *s, dfx_weight *w, dfx__format format,
                                    dfx_dtype dtype)
{
    dfx__constant *c = s->constant;
    while (c < s->constant + s->constants &&
           (c->weight != w || c->format != format || c->dtype != dtype))
        c++;
    if (c == s->constant + s->constants) {
        *c = (dfx__constant){ .weight = w, .format = format, .dtype = dtype, .group = -1 };
        c->bytes = dfx__align(s->device, dfx__packed_bytes(&w->spec, format, dtype));
        c->first = -1;
        s->constants++;
    }
    return c;
}

static void list_call(dfx_sequence *s, int k)
{
    dfx_call *c = s->call[k];
    for (int i = 0; i < DFX__MAX_INPUTS; i++) {
        dfx_weight *w = c->in[i] ? c->in[i]->root->weight : NULL;
        if (!w)
            continue;
        dfx__format format = w->spec.rank > 1 ? c->variant->format : DFX__PLAIN;
        c->constant[i] = find_constant(s, w, format, dfx__constant_dtype(s, w, format));
        c->constant[i]->last = k;
        if (c->constant[i]->first < 0)
            c->constant[i]->first = k;
    }
}

static dfx_status list_constants(dfx_sequence *s)
{
    size_t most = 0;
    for (int k = 0; k < s->calls; k++)
        for (int i = 0; i < DFX__MAX_INPUTS; i++)
            most += s->call[k]->in[i] && s->call[k]->in[i]->root->weight;
    s->constant = dfx__alloc(most ? most : 1, sizeof *s->constant);
    if (!s->constant)
        return dfx__no_memory();
    for (int k = 0; k < s->calls; k++)
        list_call(s, k);
    return DFX_OK;
}

/* Bytes of constants that the device has no copy of. */
static size_t constants_missing(const dfx_sequence *s)
{
    size_t bytes = 0;
    for (const dfx__constant *c = s->constant; c < s->constant + s->constants; c++)
        if (!dfx__weight_copy_exists(c->weight, s->device, c->format, c->dtype))
            bytes += c->bytes;
    return bytes;
}

static dfx_status upload(dfx_sequence *s, dfx__constant *c)
{
    if (dfx__interrupted())
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    DFX__TRY(dfx__weight_copy_get(&c->copy, c->weight, s->device, c->format, c->dtype));
    c->place = (dfx__place){ c->copy->buffer, 0, c->copy->buffer->bytes };
    return DFX_OK;
}

static dfx_status upload_constants(dfx_sequence *s)
{
    for (int i = 0; i < s->constants; i++)
        if (s->constant[i].group < 0)
            DFX__TRY(upload(s, &s->constant[i]));
    return DFX_OK;
}

dfx__place dfx__input_place(const dfx_call *c, int input)
{
    if (!c->in[input])
        return (dfx__place){ NULL, 0, 0 };
    return c->constant[input] ? c->constant[input]->place : c->in[input]->root->place;
}

/* ---- all of it ---- */

static void describe(dfx_sequence *s, const plan *p)
{
    s->info.activation_bytes = plan_bytes(p);
    for (int i = 0; i < p->items; i++)
        if (p->item[i].bytes > s->info.largest_buffer)
            s->info.largest_buffer = p->item[i].bytes;
    for (int i = 0; i < s->constants; i++) {
        s->info.weight_bytes += s->constant[i].bytes;
        if (s->constant[i].bytes > s->info.largest_buffer)
            s->info.largest_buffer = s->constant[i].bytes;
    }
}

/* Whether all of it fits, or may be made to. */
static dfx_status fit(dfx_sequence *s, const plan *p)
{
    const dfx_device *d = s->device;
    size_t activations = plan_bytes(p), weights = constants_missing(s);
    DFX__TRY(dfx__buffer_check(d, s->info.largest_buffer));
    uint64_t left = dfx__memory_left(d);
    if (activations <= left && weights <= left - activations)
        return DFX_OK;
    if (s->may_stream && activations < left &&
        dfx__stream_plan(s, weights, (size_t)(left - activations)) == DFX_OK)
        return DFX_OK;
    char need[DFX_BYTES_TEXT], more[DFX_BYTES_TEXT], used[DFX_BYTES_TEXT], most[DFX_BYTES_TEXT];
    return dfx__fail(DFX_ERROR_MEMORY,
                     "device %s: %s of weights and %s of activations are needed, %s are in use and "
                     "the limit is %s; a smaller picture, a smaller batch or --dtype f16 need less",
                     d->info.id, dfx_bytes_text(need, weights), dfx_bytes_text(more, activations),
                     dfx_bytes_text(used, d->used), dfx_bytes_text(most, d->limit));
}

static dfx_status plan_all(dfx_sequence *s, plan *p)
{
    DFX__TRY(plan_arenas(p, s));
    DFX__TRY(list_constants(s));
    describe(s, p);
    return fit(s, p);
}

static dfx_status make(dfx_sequence *s, const plan *p)
{
    DFX__TRY(allocate_arenas(s, p));
    place_items(s, p);
    DFX__TRY(dfx__stream_prepare(s));
    return upload_constants(s);
}

/* Others use the device too, and its driver has less than its memory: what there is now is what it
 * has for us, and a next try is planned with that. */
static void lower_limit(dfx_device *d)
{
    char used[DFX_BYTES_TEXT];
    d->ran_out = 0;
    d->limit = d->used;
    dfx__log("device %s has no more than %s to give: %s", d->info.id, dfx_bytes_text(used, d->used),
             dfx_error());
}

dfx_status dfx__memory_prepare(dfx_sequence *s)
{
    plan p = { NULL, NULL, 0, 0 };
    find_lifetimes(s);
    dfx_status status = plan_all(s, &p);
    if (status == DFX_OK) {
        status = make(s, &p);
        if (status == DFX_ERROR_MEMORY && s->device->ran_out && !s->settled)
            lower_limit(s->device);
    }
    free(p.item);
    free(p.size);
    return status;
}

void dfx__memory_release(dfx_sequence *s)
{
    dfx__stream_release(s);
    for (int i = 0; i < s->constants; i++)
        dfx__weight_copy_release(s->constant[i].copy);
    free(s->constant);
    s->constant = NULL;
    s->constants = 0;
    for (int k = 0; k < s->calls; k++)
        for (int i = 0; i < DFX__MAX_INPUTS; i++)
            s->call[k]->constant[i] = NULL;
    for (int a = 0; a < s->arenas; a++)
        dfx__buffer_free(s->arena[a]);
    free(s->arena);
    s->arena = NULL;
    s->arenas = 0;
}
