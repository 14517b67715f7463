/* search.h - which parameters of a kernel of CLBlast are the fastest on a device: from good ones to
 * their neighbours, kept from the first to the last, so that a search goes on where it ended. */
#ifndef DFX_BENCH_SEARCH_H
#define DFX_BENCH_SEARCH_H

#include "core/status.h"
#include "device/tuning.h"

typedef struct {
    dfx_device *device;
    const dfx__space *space;
    double before;                   /* seconds with CLBlast's own parameters */
    double seconds;                  /* of the best, by all searches so far */
    int has_best;                    /* something is better than CLBlast's own */
    int best[DFX__SPACE_PARAMETERS]; /* that */
    int tried, wrong;                /* in this search */
    int known;                       /* tried in all searches before */
    int most_sums; /* of parameters to be tried that are good nowhere yet; 0: any */
    int has_first; /* parameters to try before all others: */
    int first[DFX__SPACE_PARAMETERS];
} dfx__search;

/* Begins with what is known of the kernel on the device. */
void dfx__search_open(dfx__search *s, dfx_device *d, const dfx__space *space);

/* What has to be beaten: CLBlast's own parameters take `before` seconds, and the best ones, where
 * there are some, `seconds` now; INFINITY: they turned out to be wrong, and are not used again. */
void dfx__search_start(dfx__search *s, double before, double seconds);

/* The next parameters to be tried, none of which were tried before, here or in another process:
 * by turns parameters that are good on other devices and those of the best with one value changed;
 * then with several changed, and any. 0: there are no more. What they are tried with is marked in
 * the file before, so that parameters that take the process down are not tried again. */
int dfx__search_next(dfx__search *s, int *value);

/* How long parameters took; INFINITY: they were wrong or did not run, and never count. The best so
 * far is in the file afterwards. */
void dfx__search_note(dfx__search *s, const int *value, double seconds);

/* Keeps parameters that were found without candidates. */
void dfx__search_choose(dfx__search *s, const int *value, double before, double seconds);

#endif
