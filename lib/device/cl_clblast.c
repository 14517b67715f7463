/* cl_clblast.c - GEMM by CLBlast, where the library is built with it. */
#include "device/cl.h"

#include "device/tuning.h"

#if DFX_HAVE_CLBLAST

#include <clblast_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dfx__cl_has_gemm(void)
{
    return 1;
}

dfx_status dfx__cl_set_parameters(dfx_device *device, const char *kernel, json_object *parameters)
{
    dfx__cl_device *d = (dfx__cl_device *)device;
    const char *name[DFX__SPACE_PARAMETERS];
    size_t value[DFX__SPACE_PARAMETERS], n = 0;
    d->has_parameters = 1;
    if (!kernel)
        return DFX_OK;
    json_object_object_foreach (parameters, key, v) {
        if (n == DFX__SPACE_PARAMETERS || json_object_get_int(v) < 0)
            return dfx__fail(DFX_ERROR_DEVICE, "CLBlast's %s: its parameters are wrong", kernel);
        name[n] = key;
        value[n++] = (size_t)json_object_get_int(v);
    }
    CLBlastStatusCode status =
        CLBlastOverrideParameters(d->id, kernel, CLBlastPrecisionSingle, n, name, value);
    if (status != CLBlastSuccess)
        return dfx__fail(DFX_ERROR_DEVICE, "CLBlast's %s: its parameters cannot be set: error %d",
                         kernel, (int)status);
    return DFX_OK;
}

/* Gives CLBlast what is known of the device, once; nothing with DFX_TUNE=off. */
static void take_parameters(dfx__cl_device *d)
{
    const char *setting = getenv("DFX_TUNE");
    d->has_parameters = 1;
    if (setting && strcmp(setting, "off") == 0)
        return;
    for (const dfx__space *s = dfx__spaces; s->kernel; s++) {
        int value[DFX__SPACE_PARAMETERS];
        if (!dfx__tuning_find(value, &d->device, s))
            continue;
        json_object *parameters = dfx__space_write(s, value);
        if (dfx__cl_set_parameters(&d->device, s->kernel, parameters) != DFX_OK)
            dfx__log("%s", dfx_error());
        json_object_put(parameters);
    }
}

static cl_mem memory(const dfx__matrices *m)
{
    return ((dfx__cl_buffer *)m->place.buffer)->mem;
}

static size_t first(const dfx__matrices *m)
{
    return m->place.offset / sizeof(float) + m->at;
}

dfx_status dfx__cl_gemm(dfx__cl_device *d, const dfx__launch *l)
{
    const dfx__products *g = &l->gemm;
    const dfx__matrices *a = &g->a, *b = &g->b, *c = &g->c;
    CLBlastTranspose transpose_b = g->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    CLBlastStatusCode status;
    if (!d->has_parameters)
        take_parameters(d);
    if (g->count == 1)
        status = CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose_b, g->m, g->n,
                              g->k, g->scale, memory(a), first(a), a->line, memory(b), first(b),
                              b->line, 0.0f, memory(c), first(c), c->line, &d->queue, NULL);
    else
        status = CLBlastSgemmStridedBatched(
            CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose_b, g->m, g->n, g->k, g->scale,
            memory(a), first(a), a->line, a->next, memory(b), first(b), b->line, b->next, 0.0f,
            memory(c), first(c), c->line, c->next, g->count, &d->queue, NULL);
    if (status == CLBlastSuccess)
        return DFX_OK;
    char what[128];
    snprintf(what, sizeof what, "CLBlast's GEMM of %zu times %zu x %zu x %zu", g->count, g->m, g->n,
             g->k);
    dfx__cl_fail(d, (cl_int)status, what); /* OpenCL's errors are CLBlast's too */
    return DFX_ERROR_DEVICE;               /* another way may need less */
}

#else

dfx_status dfx__cl_set_parameters(dfx_device *d, const char *kernel, json_object *parameters)
{
    (void)d;
    (void)kernel;
    (void)parameters;
    return dfx__fail(DFX_ERROR_DEVICE, "this library was built without CLBlast");
}

int dfx__cl_has_gemm(void)
{
    return 0;
}

dfx_status dfx__cl_gemm(dfx__cl_device *d, const dfx__launch *l)
{
    (void)d;
    (void)l;
    return dfx__fail(DFX_ERROR_DEVICE, "this library was built without CLBlast");
}

#endif
