/* scheduler_test.h - what the tests of schedulers share. */
#ifndef SCHEDULER_TEST_H
#define SCHEDULER_TEST_H

#include "dfxcl/scheduler.h"

#include "tap.h"

#include <math.h>
#include <unistd.h>

enum { BATCH = 2, EACH = 12, COUNT = BATCH * EACH };

/* Opens a config text through a file. */
__attribute__((unused)) static dfx_status open_text(dfx_scheduler **out, const char *text,
                                                    size_t length, const char *choice)
{
    char path[] = "/tmp/dfx-scheduler-XXXXXX";
    int file = mkstemp(path);
    if (file < 0 || write(file, text, length) != (ssize_t)length)
        return DFX_ERROR_FILE;
    close(file);
    dfx_status status = dfx_scheduler_open(out, path, choice);
    unlink(path);
    return status;
}

#endif
