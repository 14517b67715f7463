/* cl_none.c - the OpenCL side of a library that was built without OpenCL. */
#include "core/status.h"
#include "device/device.h"

dfx_status dfx__cl_open(dfx_device **out, int n)
{
    (void)n;
    *out = NULL;
    return dfx__fail(DFX_ERROR_DEVICE, "this library was built without OpenCL (use --device cpu)");
}

dfx_status dfx__cl_list(dfx_device_info **list, int *count)
{
    (void)list;
    (void)count;
    return DFX_OK;
}
