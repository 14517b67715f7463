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

int dfx__takes_last(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    (void)d;
    return DFX__LAST;
}

static int is_reference(const dfx__variant *v)
{
    return !v->accepts || v->accepts == dfx__takes_last;
}

int dfx__variant_list(const dfx__variant **way, const dfx_call *c)
{
    int all;
    return dfx__variant_list_all(way, c, &all);
}

int dfx__variant_list_all(const dfx__variant **way, const dfx_call *c, int *all)
{
    const dfx_sequence *s = c->sequence;
    const dfx__variant *other[DFX__MAX_WAYS];
    int ways = 0, others = 0, last = -1, is_native = s->device->is_native;
    for (const dfx__variant *v = is_native ? c->op->cpu : c->op->cl; is_native || v->name; v++) {
        int taken = v->accepts ? v->accepts(c, s->device) : 1;
        if (taken && (s->forced ? v == s->forced : asked_for(c->op, v))) {
            way[0] = v;
            return *all = 1;
        }
        if (taken == DFX__LAST && last < 0)
            last = others;
        if (taken == 1 && ways < DFX__MAX_WAYS)
            way[ways++] = v;
        else if (taken && others < DFX__MAX_WAYS)
            other[others++] = v;
        if (is_native && is_reference(v))
            break;
    }
    if (ways == 0 && last >= 0)
        way[ways++] = other[last];
    *all = ways;
    for (int i = 0; i < others && *all < DFX__MAX_WAYS; i++)
        if (other[i] != way[0] && !(is_native && is_reference(other[i])))
            way[(*all)++] = other[i];
    return ways;
}

const dfx__variant *dfx__variant_choose(const dfx_call *c)
{
    const dfx__variant *way[DFX__MAX_WAYS];
    return dfx__variant_list(way, c) ? way[0] : NULL;
}

const dfx__variant *dfx__variant_reference(const dfx_op *op)
{
    const dfx__variant *v = op->cpu;
    while (!is_reference(v))
        v++;
    return v;
}
