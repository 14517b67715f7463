/* cmd.c - what the programs share: how they fail, stop and end. */
#include "cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cmd_fail(dfx_status status)
{
    if (status == DFX_ERROR_INTERRUPTED)
        return cmd_fail_with(EXIT_INTERRUPTED, "interrupted");
    return cmd_fail_with(status == DFX_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_FAILED, "%s",
                         dfx_error());
}

int cmd_fail_with(int code, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", cmd_program);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
    dfx_interrupt();
}

void cmd_catch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND | SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

int cmd_interrupted(void)
{
    return interrupted;
}

const char *cmd_default(const char *given, const char *variable)
{
    const char *value = given ? given : getenv(variable);
    return value && (given || *value) ? value : NULL;
}

/* GCC's OpenMP lets threads spin for milliseconds while they wait, which makes them ten times
 * slower where other programs want the cores too. It reads for how long before main: so the command
 * starts itself again with a shorter time. */
void cmd_begin(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe", argv); /* where there is none it goes on as it is */
}

int cmd_end(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (code == EXIT_DONE)
            code = cmd_fail_with(EXIT_FAILED, "standard output: %s", strerror(errno));
    }
    return code;
}

int cmd_run(const struct command *command, int argc, char **argv)
{
    void *settings = malloc(command->size);
    if (!settings)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    memcpy(settings, command->defaults, command->size);
    int code = options_parse(command, argc, argv, settings);
    if (code == OPTIONS_RUN)
        code = command->run(settings);
    free(settings);
    return code;
}
