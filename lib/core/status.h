/* status.h - failing with a message, and words to the log. */
#ifndef DFX_CORE_STATUS_H
#define DFX_CORE_STATUS_H

#include "dfxcl/base.h"

/* Keeps the message as this thread's error and returns `status`. */
dfx_status dfx__fail(dfx_status status, const char *format, ...) DFX__PRINTF(2, 3);

/* Puts "PREFIX: " before the thread's message and returns `status` (for callers that know where).
 */
dfx_status dfx__fail_in(dfx_status status, const char *format, ...) DFX__PRINTF(2, 3);

/* "out of memory", for an allocation that returned NULL. */
dfx_status dfx__no_memory(void);

/* One line to the log. */
void dfx__log(const char *format, ...) DFX__PRINTF(1, 2);

/* Whether DFX_DEBUG lists the word ("check", "time"), separated by commas. */
int dfx__debug(const char *word);

/* Whether dfx_interrupt was called since the last time this returned true. */
int dfx__interrupted(void);

/* Return the status of an expression from this function when it is not DFX_OK. */
#define DFX__TRY(expression)                                                                       \
    do {                                                                                           \
        dfx_status try_status_ = (expression);                                                     \
        if (try_status_ != DFX_OK)                                                                 \
            return try_status_;                                                                    \
    } while (0)

#endif
