/* folder_test.h - a temporary folder of a test, which removes it at its end. */
#ifndef FOLDER_TEST_H
#define FOLDER_TEST_H

#include "tap.h"

#include <unistd.h>

static char folder[256];

/* Makes it, in $TMPDIR; the test ends here where that cannot be. */
static inline void make_folder(const char *name)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/dfx-%s-XXXXXX", tmp ? tmp : "/tmp", name);
    if (!mkdtemp(folder))
        exit(99);
}

/* A path in it, until the next call but three. */
static inline char *in_folder(const char *name)
{
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

#endif
