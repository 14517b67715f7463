/* variant.c - which way an operator is done on a device. */
#include "sequence/sequence.h"

#include <stdlib.h>
#include <string.h>

/* Whether DFX_VARIANT names this variant of the operator. */
static int asked_for(const dfx_op *op, const dfx__variant *v)
{
    const char *list = getenv("DFX_VARIANT");
    size_t n = strlen(op->name), m = strlen(v->name);
    while (list && *list) {
        size_t length = strcspn(list, ",");
        if (length == n + 1 + m && strncmp(list, op->name, n) == 0 && list[n] == ':' &&
            strncmp(list + n + 1, v->name, m) == 0)
            return 1;
        list += length + (list[length] == ',');
    }
    return 0;
}

const dfx__variant *dfx__variant_native(const dfx_call *c)
{
    const dfx__variant *first = NULL;
    for (const dfx__variant *v = c->op->cpu;; v++) {
        int taken = v->accepts ? v->accepts(c, c->sequence->device) : 1;
        if (taken && asked_for(c->op, v))
            return v;
        if (!first && taken && taken != DFX__ASKED)
            first = v;
        if (!v->accepts)
            return first;
    }
}

const dfx__variant *dfx__variant_choose(const dfx_call *c)
{
    const dfx_device *d = c->sequence->device;
    const dfx__variant *first = NULL;
    if (d->is_native)
        return dfx__variant_native(c);
    for (const dfx__variant *v = c->op->cl; v->name; v++) {
        int taken = v->accepts ? v->accepts(c, d) : 1;
        if (!taken)
            continue;
        if (c->sequence->forced ? v == c->sequence->forced : asked_for(c->op, v))
            return v;
        if (!first && taken != DFX__ASKED)
            first = v;
    }
    return first;
}
