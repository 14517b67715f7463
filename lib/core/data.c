/* data.c - finds the files that the library comes with. */
#include "core/data.h"

#include "core/file.h"

#include <stdlib.h>

char *dfx__data_path(const char *name)
{
    const char *folder = getenv("DFX_DATADIR");
    return dfx__path_join(folder && *folder ? folder : DFX_DATADIR, name);
}
