/* status.c - the thread's error message, the log, the interrupt flag. */
#include "core/status.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE = 1024 };

static _Thread_local char message[MESSAGE];
static volatile sig_atomic_t interrupt_flag;

static void log_to_stderr(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "dfx: %s\n", line);
}

static dfx_log_function *log_function = log_to_stderr;
static void *log_user;

const char *dfx_error(void)
{
    return message;
}

/* Messages are one line whatever a file's names hold. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = ' ';
}

dfx_status dfx__fail(dfx_status status, const char *format, ...)
{
    char text[MESSAGE]; /* an argument may be the old message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    flatten(text);
    memcpy(message, text, sizeof message);
    return status;
}

dfx_status dfx__fail_in(dfx_status status, const char *format, ...)
{
    char text[MESSAGE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0 && n < MESSAGE)
        snprintf(text + n, (size_t)(MESSAGE - n), ": %.*s", MESSAGE - n - 3, message);
    flatten(text);
    memcpy(message, text, sizeof message);
    return status;
}

dfx_status dfx__no_memory(void)
{
    return dfx__fail(DFX_ERROR_MEMORY, "out of memory");
}

void dfx_set_log(dfx_log_function *log, void *user)
{
    log_function = log ? log : log_to_stderr;
    log_user = user;
}

void dfx__log(const char *format, ...)
{
    char line[MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    flatten(line);
    log_function(log_user, line);
}

int dfx__debug(const char *word)
{
    const char *list = getenv("DFX_DEBUG");
    size_t length = strlen(word);
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (n == length && strncmp(list, word, n) == 0)
            return 1;
        list += n + (list[n] == ',');
    }
    return 0;
}

void dfx_interrupt(void)
{
    interrupt_flag = 1;
}

int dfx__interrupted(void)
{
    int was = interrupt_flag;
    if (was)
        interrupt_flag = 0;
    return was;
}

const char *dfx_version(void)
{
    return PACKAGE_VERSION;
}
