/* half_guard.c - components whose values leave what f16 holds run in f32. */
#include "core/dtype.h"
#include "pipeline/pipeline.h"
#include "sequence/guard.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_TEXT = 640 };

dfx_dtype dfx__component_dtype(const dfx_pipeline *p, int slot)
{
    return p->in_f32 >> slot & 1 ? DFX_F32 : p->dtype;
}

static const char *component_name(const dfx_pipeline *p, int slot)
{
    return slot == DFX__PREVIEW ? "the preview's vae" : p->model_name[slot];
}

/* The block, whose path mostly begins with the component. */
static void print_block(char *text, size_t size, const dfx_pipeline *p, int slot, const char *path)
{
    const char *name = component_name(p, slot);
    int named = strncmp(path, name, strlen(name)) == 0 && path[strlen(name)] == '.';
    snprintf(text, size, "%s%s%s", named ? "" : name, named ? "" : ": ", path);
}

static dfx_status refuse(const dfx_pipeline *p, int slot, const dfx__not_finite *found)
{
    const char *name = component_name(p, slot);
    char block[BLOCK_TEXT];
    if (found->input)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: its input %s is not finite: what was done before it overflows", name,
                         found->input);
    if (!found->path)
        return dfx__fail(DFX_ERROR_DEVICE,
                         "%s: its result was not finite, and is when it runs again: dfx selftest "
                         "tells whether device %s computes right",
                         name, p->device->info.id);
    print_block(block, sizeof block, p, slot, found->path);
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the result of %s (variant %s) is not finite in %s%s", block, found->op,
                     found->variant, dfx_dtype_name(found->dtype),
                     found->dtype == DFX_F16 ? ", which does not hold it: use --dtype auto, bf16 "
                                               "or f32"
                                             : ": its weights do not fit its input");
}

dfx_status dfx__guard(dfx_pipeline *p, int slot, dfx_sequence *s, const float *result, size_t n,
                      int *again)
{
    dfx__not_finite found;
    char block[BLOCK_TEXT];
    *again = 0;
    if (dfx__is_finite(result, DFX_F32, n))
        return DFX_OK;
    DFX__TRY(dfx__find_not_finite(&found, s));
    if (!found.path || found.dtype != DFX_F16 || !p->dtype_is_auto)
        return refuse(p, slot, &found);
    print_block(block, sizeof block, p, slot, found.path);
    dfx__log("%s: the result of %s (variant %s) is not finite in f16, which does not hold it: %s "
             "runs in f32 from now on",
             block, found.op, found.variant, component_name(p, slot));
    p->in_f32 |= 1u << slot;
    *again = 1;
    return DFX_OK;
}
