/* bench_tune.h - dfx-bench's tuning: searching, and files of what was found. */
#ifndef BENCH_TUNE_H
#define BENCH_TUNE_H

#include "dfxcl.h"

struct tuning {
    const char *import_path, *export_path; /* NULL: not asked for */
    double budget;                         /* seconds of the search; 0: none */
    dfx_dtype dtype;                       /* of the calls that are measured */
};

/* "90s", "5m", "1h", "90" in seconds; 0 where it is none of them. */
double bench_tune_read_time(const char *text);

/* Takes over a file, searches, writes a file, of what is asked for. Progress goes to stderr, what
 * came of it to stdout. Returns the exit status. */
int bench_tune(const struct tuning *t, dfx_device *device);

#endif
