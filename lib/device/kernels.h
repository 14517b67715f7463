/* kernels.h - the kernel files of cl/, embedded in the library by cl/embed.awk. */
#ifndef DFX_DEVICE_KERNELS_H
#define DFX_DEVICE_KERNELS_H

typedef struct dfx__kernel_source {
    const char *name; /* "group_norm" for cl/group_norm.cl */
    const char *text;
} dfx__kernel_source;

/* Ends with an entry without a name. */
extern const dfx__kernel_source dfx__kernel_sources[];

#endif
