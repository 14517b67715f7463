/* tensors_test.h - what tests of files of tensors share. */
#ifndef TENSORS_TEST_H
#define TENSORS_TEST_H

#include "tap.h"

#include "dfxcl.h"

/* A file that must be refused in a line that begins with its path and has the message. */
static inline void refuses_file(const char *path, const char *name, const char *message)
{
    dfx_tensors *t;
    dfx_status status = dfx_tensors_open(&t, path);
    if (!ok(status != DFX_OK && strncmp(dfx_error(), path, strlen(path)) == 0 &&
                strstr(dfx_error(), message),
            "%s", name))
        printf("# %s\n", dfx_error());
    if (status == DFX_OK)
        dfx_tensors_free(t);
}

#endif
