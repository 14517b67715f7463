/* variant.c - which way an operator is done on a device. */
#include "device/faults.h"
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

static dfx__way way_of(const dfx_call *c, const dfx__variant *v)
{
    return (dfx__way){ c->op->name, v->name, c->sequence->dtype };
}

/* A variant that is asked for by name is used whatever is known of it. */
static int is_asked_for(const dfx_call *c, const dfx__variant *v)
{
    return c->sequence->forced ? v == c->sequence->forced : asked_for(c->op, v);
}

static int is_wrong(const dfx_call *c, const dfx__variant *v)
{
    dfx_device *d = c->sequence->device;
    dfx__way way = way_of(c, v);
    if (c->sequence->forced || (d->is_native && is_reference(v)))
        return 0;
    return dfx__fault_find(d, &way) != NULL;
}

int dfx__variant_list(const dfx__variant **way, const dfx_call *c)
{
    int all;
    return dfx__variant_list_all(way, c, &all);
}

int dfx__variant_list_all(const dfx__variant **way, const dfx_call *c, int *all)
{
    dfx_device *d = c->sequence->device;
    const dfx__variant *other[DFX__MAX_WAYS];
    int ways = 0, others = 0, last = -1, wrong = 0, is_native = d->is_native;
    for (const dfx__variant *v = is_native ? c->op->cpu : c->op->cl; is_native || v->name; v++) {
        int taken = v->accepts ? v->accepts(c, d) : 1;
        if (taken && is_asked_for(c, v)) {
            way[0] = v;
            return *all = 1;
        }
        if (taken && is_wrong(c, v)) {
            wrong = 1;
            continue;
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
    if (ways == 0 && (last >= 0 || (wrong && others)))
        way[ways++] = other[last >= 0 ? last : 0];
    *all = ways;
    for (int i = 0; i < others && *all < DFX__MAX_WAYS; i++)
        if ((!ways || other[i] != way[0]) && !(is_native && is_reference(other[i])))
            way[(*all)++] = other[i];
    if (wrong && ways)
        dfx__faults_tell(d);
    return ways;
}

dfx_status dfx__variant_missing(const dfx_call *c)
{
    dfx_device *d = c->sequence->device;
    for (const dfx__variant *v = c->op->cl; !d->is_native && v->name; v++) {
        dfx__way way = way_of(c, v);
        const char *message = dfx__fault_find(d, &way);
        if (message && (!v->accepts || v->accepts(c, d)))
            return dfx__fail(DFX_ERROR_UNSUPPORTED,
                             "%s: device %s does no %s right (%s: %s); use --device cpu, or after "
                             "an update of its driver `dfx selftest`",
                             c->path, d->info.id, c->op->name, v->name, message);
    }
    return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: %s: device %s has no way to do it", c->path,
                     c->op->name, d->info.id);
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
