/* run.c - running a prepared sequence, its inputs and outputs, its profile, its end. */
#include "core/clock.h"
#include "core/dtype.h"
#include "sequence/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The named input (or output), checked against the size of the caller's memory. */
static dfx_status find_value(const dfx_value **out, const dfx_sequence *s, const char *name,
                             int is_input, size_t bytes)
{
    if (!s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is not prepared");
    for (const dfx_value *v = s->values; v; v = v->next) {
        if (!v->name || strcmp(v->name, name) != 0 || (is_input ? !v->is_input : !v->is_output))
            continue;
        if (dfx__spec_bytes(&v->spec) != bytes)
            return dfx__fail(DFX_ERROR_ARGUMENT, "%s has %zu bytes, not %zu", name,
                             dfx__spec_bytes(&v->spec), bytes);
        *out = v->root;
        return DFX_OK;
    }
    return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence has no %s '%s'",
                     is_input ? "input" : "output", name);
}

dfx_status dfx_sequence_write(dfx_sequence *s, const char *name, const void *data, size_t bytes)
{
    const dfx_value *v;
    DFX__TRY(find_value(&v, s, name, 1, bytes));
    if (s->rehearsed)
        return DFX_OK;
    s->stale |= v->invariant;
    return s->device->class->write(v->place.buffer, v->place.offset, data, bytes);
}

/* What a rehearsed sequence gives, whose results are in f32 in all pipelines: numbers that no check
 * takes for those of a broken model. */
static void imagine(void *data, size_t bytes)
{
    float *numbers = data;
    memset(data, 0, bytes);
    for (size_t i = 0; i < bytes / sizeof *numbers; i++)
        numbers[i] = (float)(i % 7 + 1) / 8;
}

dfx_status dfx_sequence_read(dfx_sequence *s, const char *name, void *data, size_t bytes)
{
    const dfx_value *v;
    DFX__TRY(find_value(&v, s, name, 0, bytes));
    if (s->rehearsed) {
        imagine(data, bytes);
        return DFX_OK;
    }
    return s->device->class->read(v->place.buffer, v->place.offset, data, bytes);
}

/* Compares a call that has run with the native CPU. */
static dfx_status check(const dfx_call *c)
{
    dfx__difference d;
    DFX__TRY(dfx__check_call(c, &d));
    if (d.worst <= 1)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_DEVICE,
                     "element %zu differs from the native CPU by %.3g times the tolerance: %.9g, "
                     "not %.9g (variant %s on device %s)",
                     d.where, d.worst, d.got, d.want, c->variant->name,
                     c->sequence->device->info.id);
}

dfx_status dfx__run_call(dfx_call *c)
{
    dfx_sequence *s = c->sequence;
    double start = s->time ? dfx__seconds() : 0;
    c->runs++;
    for (int i = 0; i < c->launches; i++)
        DFX__TRY(s->device->class->enqueue(c->launch[i]));
    if (s->time) {
        DFX__TRY(s->device->class->finish(s->device));
        c->seconds += dfx__seconds() - start;
    }
    return s->check && !s->device->is_native ? check(c) : DFX_OK;
}

dfx_status dfx__run_next(dfx_sequence *s, int k)
{
    dfx_call *c = s->call[k];
    if (dfx__interrupted()) {
        s->device->class->finish(s->device);
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    }
    dfx_status status = dfx__stream_before(s, k);
    if (status == DFX_OK)
        status = dfx__run_call(c);
    return status == DFX_OK ? DFX_OK : dfx__fail_in(status, "%s: %s", c->path, c->op->name);
}

dfx_status dfx_sequence_run(dfx_sequence *s)
{
    if (!s->prepared)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the sequence is not prepared");
    if (s->rehearsed)
        return DFX_OK;
    for (int k = s->stale ? 0 : s->kept_calls; k < s->calls; k++)
        DFX__TRY(dfx__run_next(s, k));
    DFX__TRY(s->device->class->finish(s->device));
    s->stale = 0;
    return DFX_OK;
}

void dfx_sequence_free(dfx_sequence *s)
{
    if (!s)
        return;
    if (s->time)
        dfx__profile_print(s);
    dfx__unprepare(s);
    free(s->call);
    dfx__pool_free(&s->pool);
    free(s);
}
