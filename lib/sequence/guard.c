/* guard.c - where a sequence's values leave what their type holds. */
#include "sequence/guard.h"

#include "core/dtype.h"
#include "sequence/sequence.h"

#include <stdlib.h>

/* Values share memory, so one is read before the next call runs. `room` is for the largest. */
static dfx_status see(int *finite, const dfx_value *v, void *room)
{
    const dfx__place *p = &v->root->place;
    size_t n = dfx__elements(&v->spec);
    DFX__TRY(
        v->sequence->device->class->read(p->buffer, p->offset, room, dfx__spec_bytes(&v->spec)));
    *finite = dfx__is_finite(room, v->spec.dtype, n);
    return DFX_OK;
}

static dfx_status find_input(dfx__not_finite *out, const dfx_sequence *s, void *room)
{
    int finite;
    for (const dfx_value *v = s->values; v && !out->input; v = v->next)
        if (v->is_input && v->root->place.buffer) {
            DFX__TRY(see(&finite, v, room));
            out->input = finite ? NULL : v->name;
        }
    return DFX_OK;
}

static dfx_status find(dfx__not_finite *out, dfx_sequence *s, void *room)
{
    int finite;
    DFX__TRY(find_input(out, s, room));
    s->stale = 1; /* the kept calls are looked at too */
    for (int k = 0; k < s->calls && !out->input && !out->path; k++) {
        const dfx_call *c = s->call[k];
        DFX__TRY(dfx__run_next(s, k));
        DFX__TRY(see(&finite, c->out, room));
        if (!finite) {
            out->path = c->path;
            out->op = c->op->name;
            out->variant = c->variant->name;
        }
    }
    return DFX_OK;
}

dfx_status dfx__find_not_finite(dfx__not_finite *out, dfx_sequence *s)
{
    size_t most = 0;
    *out = (dfx__not_finite){ .dtype = s->dtype };
    for (const dfx_value *v = s->values; v; v = v->next)
        if (!v->weight && dfx__spec_bytes(&v->spec) > most)
            most = dfx__spec_bytes(&v->spec);
    void *room = dfx__alloc(1, most);
    dfx_status status = room ? find(out, s, room) : dfx__no_memory();
    free(room);
    return status;
}
