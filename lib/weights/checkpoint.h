/* checkpoint.h - the kinds of files that hold a whole model. */
#ifndef DFX_WEIGHTS_CHECKPOINT_H
#define DFX_WEIGHTS_CHECKPOINT_H

#include "core/mount.h"
#include "dfxcl/checkpoint.h"

typedef struct {
    const char *form; /* "DDUF", as dfx_checkpoint_form gives it */
    /* Whether a file looks like one; asked in the order of the list, of files of any kind, so it
     * looks at few bytes. */
    int (*recognise)(const dfx__mapped *file, const char *path);
    /* Mounts the file at its path as a Diffusers folder. Errors name the path. */
    dfx_status (*mount)(dfx__mount **out, const char *path);
} dfx__checkpoint_kind;

extern const dfx__checkpoint_kind dfx__dduf;
extern const dfx__checkpoint_kind dfx__single_file_form;

#endif
