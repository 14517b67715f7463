/* clblast_space.h - the parameters of CLBlast's kernels, which of their values go together, and
 * good ones to start a search from. */
#ifndef DFX_DEVICE_CLBLAST_SPACE_H
#define DFX_DEVICE_CLBLAST_SPACE_H

#include "core/json.h"
#include "device/device.h"

enum {
    DFX__SPACE_PARAMETERS = 16,
    DFX__SPACE_VALUES = 9,
    DFX__NEVER = 1 << 15 /* XGEMM_MIN_INDIRECT_SIZE: matrices are multiplied as they lie */
};

/* A kernel's parameters, each with the values that it may have (they end with -1). */
typedef struct dfx__space {
    const char *kernel;
    struct {
        const char *name;
        int value[DFX__SPACE_VALUES];
    } parameter[DFX__SPACE_PARAMETERS]; /* ends with one without a name */
    /* Whether values, in the parameters' order, go together on the device. */
    int (*fits)(const int *value, const dfx_device_info *info);
    /* Sums that a work-item keeps, all unrolled: how long a compiler needs goes with them. NULL: a
     * few. */
    int (*sums)(const int *value);
    void (*repair)(
        int *value); /* makes values that were changed alone go together; NULL: nothing */
    const int (*start)[DFX__SPACE_PARAMETERS]; /* first what CLBlast takes for an unknown device */
    size_t starts;
} dfx__space;

/* Ends with one without a kernel. */
extern const dfx__space dfx__spaces[];

const dfx__space *dfx__space_of(const char *kernel); /* NULL: there is no such kernel */
int dfx__space_parameters(const dfx__space *s);

/* Whether a kernel can have values on the device. */
int dfx__space_has(const dfx__space *s, const int *value, const dfx_device_info *info);

/* Values from an object of all parameters by name; 0 where it has others, or the kernel
 * cannot have them. And back: a new object. */
int dfx__space_read(int *value, const dfx__space *s, const dfx_device_info *info,
                    json_object *parameters);
json_object *dfx__space_write(const dfx__space *s, const int *value);

#endif
