/* cache_test.h - a test that has a cache folder of its own, which is empty at its beginning. */
#ifndef CACHE_TEST_H
#define CACHE_TEST_H

#include "folder_test.h"

/* The folder of the test, which is the cache. */
static inline void begin_cache(const char *name)
{
    make_folder(name);
    setenv("XDG_CACHE_HOME", folder, 1);
}

/* The exit status of the test. */
static inline int end_cache(void)
{
    char remove[300];
    snprintf(remove, sizeof remove, "rm -rf '%s'", folder);
    return system(remove) != 0 || done();
}

#endif
