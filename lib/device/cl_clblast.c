/* cl_clblast.c - GEMM by CLBlast, where the library is built with it. */
#include "device/cl.h"

#if DFX_HAVE_CLBLAST

#include <clblast_c.h>

int dfx__cl_has_gemm(void)
{
    return 1;
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
    if (g->count == 1)
        status = CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose_b, g->m, g->n,
                              g->k, g->scale, memory(a), first(a), a->line, memory(b), first(b),
                              b->line, 0.0f, memory(c), first(c), c->line, &d->queue, NULL);
    else
        status = CLBlastSgemmStridedBatched(
            CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose_b, g->m, g->n, g->k, g->scale,
            memory(a), first(a), a->line, a->next, memory(b), first(b), b->line, b->next, 0.0f,
            memory(c), first(c), c->line, c->next, g->count, &d->queue, NULL);
    if (status != CLBlastSuccess)
        return dfx__fail(DFX_ERROR_DEVICE, "CLBlast's GEMM of %zu times %zu x %zu x %zu: error %d",
                         g->count, g->m, g->n, g->k, (int)status);
    return DFX_OK;
}

#else

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
