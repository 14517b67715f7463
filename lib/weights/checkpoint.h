/* checkpoint.h - the kinds of files that hold a whole model. */
#ifndef DFX_WEIGHTS_CHECKPOINT_H
#define DFX_WEIGHTS_CHECKPOINT_H

#include "core/mount.h"
#include "dfxcl/checkpoint.h"

typedef struct {
    const char *form;        /* "DDUF", as dfx_checkpoint_form gives it */
    const char *const *ends; /* of its names, ended by NULL */
    /* Mounts the file at its path as a Diffusers folder. Errors name the path. */
    dfx_status (*mount)(dfx__mount **out, const char *path);
} dfx__checkpoint_kind;

extern const dfx__checkpoint_kind dfx__dduf;
extern const dfx__checkpoint_kind dfx__single_file_form;

#endif
