/* cl_clblast.c - GEMM by CLBlast, where the library is built with it. */
#include "device/cl.h"

#if DFX_HAVE_CLBLAST

#include <clblast_c.h>

int dfx__cl_has_gemm(void)
{
    return 1;
}

dfx_status dfx__cl_gemm(dfx__cl_device *d, const dfx__launch *l)
{
    const dfx__place *a = &l->gemm.a, *b = &l->gemm.b, *c = &l->gemm.c;
    CLBlastStatusCode status = CLBlastSgemm(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, l->gemm.m, l->gemm.n,
        l->gemm.k, 1.0f, ((dfx__cl_buffer *)a->buffer)->mem, a->offset / sizeof(float), l->gemm.k,
        ((dfx__cl_buffer *)b->buffer)->mem, b->offset / sizeof(float), l->gemm.n, l->gemm.beta,
        ((dfx__cl_buffer *)c->buffer)->mem, c->offset / sizeof(float), l->gemm.n, &d->queue, NULL);
    if (status != CLBlastSuccess)
        return dfx__fail(DFX_ERROR_DEVICE, "CLBlastSgemm of %zu x %zu x %zu: error %d", l->gemm.m,
                         l->gemm.n, l->gemm.k, (int)status);
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
