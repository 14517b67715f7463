/* log_test.h - what the library says while tests run. */
#ifndef LOG_TEST_H
#define LOG_TEST_H

#include <stdio.h>
#include <string.h>

/* The lines since a test emptied it, each with its end. */
static char logged[4096];

/* For dfx_set_log. */
static inline void keep_log(void *user, const char *line)
{
    (void)user;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", line);
}

static inline int logged_lines(void)
{
    int lines = 0;
    for (const char *c = logged; *c; c++)
        lines += *c == '\n';
    return lines;
}

#endif
