/* clock.c - seconds of the monotonic clock. */
#include "core/clock.h"

#include <time.h>

double dfx__seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
