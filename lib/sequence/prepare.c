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
        if (k >= s->kept_calls)
            s->info.flops += dfx__call_flops(c);
    }
    return DFX_OK;
}

static const void *host_pointer(const dfx_call *c, int input)
{
    dfx__place p = dfx__input_place(c, input);
    return p.buffer ? (const char *)p.buffer->host + p.offset : NULL;
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
    DFX__TRY(dfx__memory_prepare(s));
    s->rehearsed = s->device->rehearses;
    return s->rehearsed ? DFX_OK : prepare_all_launches(s, failed);
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
        for (int i = 0; i < DFX__MAX_PARTS; i++) {
            dfx__buffer_free(c->part[i].buffer);
            c->part[i].buffer = NULL;
        }
        c->scratch = (dfx__place){ NULL, 0, 0 };
    }
    dfx__memory_release(s);
}

int dfx__do_without(const dfx_call *failed)
{
    dfx_device *d = failed->sequence->device;
    const dfx__variant *lost = failed->variant;
    dfx__way way = { failed->op->name, lost->name, failed->sequence->dtype };
    char message[400];
    if (d->is_lost)
        return 0;
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

/* Calls whose results are kept come first: so a run that has those begins after them. */
static void order_calls(dfx_sequence *s)
{
    s->kept_calls = 0;
    for (int k = 0; k < s->calls; k++) {
        dfx_call *c = s->call[k], **to = s->call + s->kept_calls;
        if (!c->out->invariant)
            continue;
        memmove(to + 1, to, (size_t)(k - s->kept_calls) * sizeof *to);
        *to = c;
        s->kept_calls++;
    }
}

dfx_status dfx_sequence_prepare(dfx_sequence *s)
{
    if (s->status != DFX_OK)
        return dfx__fail(s->status, "%s", s->message);
    if (s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is prepared already");
    dfx_call *failed;
    order_calls(s);
    dfx_status status = prepare(s, &failed);
    while (status == DFX_ERROR_DEVICE && failed && !s->forced && !s->device->is_native &&
           dfx__do_without(failed) && !s->settled) {
        begin_again(s);
        status = prepare(s, &failed);
    }
    if (status != DFX_OK && !s->settled) /* so that it can be tried with more memory */
        begin_again(s);
    DFX__TRY(status);
    s->info.calls = s->calls;
    s->prepared = s->stale = 1;
    return DFX_OK;
}

dfx_status dfx_sequence_get_info(const dfx_sequence *s, dfx_sequence_info *out)
{
    if (!s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is not prepared");
    *out = s->info;
    return DFX_OK;
}
