/* driver_hints.c - drivers that are known to compute wrongly or to fail, from their own trackers
 * and those of other programs; what helps there. */
#include "dfxcl/selftest.h"

#include <string.h>

/* What stands in the platform's, the device's and the driver's text; NULL: anything. */
static const struct {
    const char *platform, *name, *driver, *hint;
} hints[] = {
    { "Clover", NULL, NULL,
      "Mesa's Clover is no longer developed and fails many OpenCL programs; use rusticl "
      "(RUSTICL_ENABLE) or the vendor's driver" },
    { "Gen OCL", NULL, NULL, /* Beignet; github.com/CNugteren/CLBlast/issues/102 */
      "Beignet is no longer developed and wrong in half precision; use intel-opencl-icd" },
    { "Apple", NULL, NULL, /* github.com/plaidml/plaidml/issues/47 */
      "Apple's OpenCL is deprecated, and results on its AMD and Intel GPUs are known to be wrong" },
    { "Intel", NULL, "22.53", /* github.com/intel/compute-runtime/issues/622 */
      "this driver computes wrongly now and then on Arc GPUs; update intel-opencl-icd" },
    { "Intel", NULL, "18.45", /* github.com/intel/compute-runtime/issues/117 */
      "this driver miscompiles kernels; update intel-opencl-icd" },
    { "AMD", "gfx101", NULL, /* github.com/ROCm/legacy-rocm-build/issues/1817 */
      "AMD's compiler is known to miscompile OpenCL for this GPU; try another version of ROCm, or "
      "Mesa's rusticl (RUSTICL_ENABLE=radeonsi)" },
    { "AMD", "gfx103", NULL, /* the same report */
      "AMD's compiler is known to miscompile OpenCL for this GPU; try another version of ROCm, or "
      "Mesa's rusticl (RUSTICL_ENABLE=radeonsi)" },
    { "pocl 0.", NULL, NULL, /* github.com/pocl/pocl/issues/446 */
      "PoCL before 1.0 miscompiles large kernels; update it" },
    { "rusticl", NULL, NULL,
      "rusticl is young: a newer Mesa may do it right, and its developers take reports" },
};

static int has(const char *text, const char *part)
{
    return !part || strstr(text, part);
}

const char *dfx_selftest_hint(const dfx_device_info *device)
{
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (has(device->platform, hints[i].platform) && has(device->name, hints[i].name) &&
            has(device->driver, hints[i].driver))
            return hints[i].hint;
    return NULL;
}
