/* list.c - the table of schedulers: finds one by its names, and tells about all. */
#include "scheduler/list.h"

#include "core/status.h"

#include <stdio.h>
#include <string.h>

#define ROW(name) &dfx__##name,
static const dfx__scheduler_type *const types[] = { DFX__SCHEDULERS(ROW) };
#undef ROW
enum { TYPE_COUNT = sizeof types / sizeof *types };

static int is(const char *name, size_t length, const char *whole)
{
    return strlen(whole) == length && memcmp(whole, name, length) == 0;
}

/* Classes of diffusers that are not here. */
static const char tokens[] = "is for discrete tokens, which are not supported";
static const char other_model[] = "belongs to a model that is not here yet";
static const struct {
    const char *name, *why;
} left_out[] = {
    { "AmusedScheduler", tokens },
    { "BlockRefinementScheduler", tokens },
    { "ConsistencyDecoderScheduler", other_model },
    { "DDPMWuerstchenScheduler", other_model },
    { "DiscreteDDIMScheduler", tokens },
    { "EntropyBoundScheduler", tokens },
    { "HeliosDMDScheduler", other_model },
    { "HeliosScheduler", other_model },
    { "KarrasVeScheduler", other_model },
    { "LTXEulerAncestralRFScheduler", other_model },
    { "MiniMaxH3Scheduler", other_model },
    { "PiflowScheduler", other_model },
    { "RFD4ProteinaScheduler", other_model },
    { "ScoreSdeVpScheduler", other_model },
    { "UnCLIPScheduler", other_model },
    { "VQDiffusionScheduler", tokens },
};

/* Says why, or what there is: the first short name of each class. */
static void fail_unknown(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (is(name, length, left_out[i].name)) {
            (void)dfx__fail(DFX_ERROR_UNSUPPORTED, "scheduler '%s' %s", left_out[i].name,
                            left_out[i].why);
            return;
        }
    char list[512] = "";
    size_t used = 0;
    for (int i = 0; i < TYPE_COUNT && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 types[i]->names->name);
    (void)dfx__fail(DFX_ERROR_UNSUPPORTED,
                    "scheduler '%.*s' is not supported; there is %s: `dfx schedule --list` tells "
                    "them apart",
                    (int)(length < 80 ? length : 80), name, list);
}

const dfx__scheduler_type *dfx__find_scheduler(const char *name, size_t length, const char **preset)
{
    *preset = "";
    if (length > 4 && memcmp(name, "Flax", 4) == 0)
        name += 4, length -= 4;
    for (int i = 0; i < TYPE_COUNT; i++) {
        const dfx__scheduler_type *t = types[i];
        if (is(name, length, t->class_name))
            return t;
        for (const dfx_scheduler_name *s = t->names; s->name; s++)
            if (is(name, length, s->name)) {
                *preset = s->keys;
                return t;
            }
    }
    fail_unknown(name, length);
    return NULL;
}

int dfx_scheduler_describe(int index, dfx_scheduler_info *out)
{
    if (index < 0 || index >= TYPE_COUNT)
        return 0;
    const dfx__scheduler_type *t = types[index];
    *out = (dfx_scheduler_info){ t->class_name, t->names, t->when, t->keys, t->call_keys };
    return 1;
}

int dfx_scheduler_describe_key(const char *name, int index, dfx_scheduler_key *out)
{
    const char *preset;
    const dfx__scheduler_type *type = dfx__find_scheduler(name, strlen(name), &preset);
    return type && index >= 0 && dfx__describe_key(type, index, out);
}
