/* cmd.h - what a command is, the list of commands, and how they fail. */
#ifndef CMD_H
#define CMD_H

#include "dfxcl.h"
#include "options.h"

/* A command is a file cmd_NAME.c that defines `const struct command cmd_NAME`, and a line here. */
#define COMMANDS(X)                                                                                \
    X(generate)                                                                                    \
    X(devices)                                                                                     \
    X(selftest)                                                                                    \
    X(inspect)                                                                                     \
    X(forward)                                                                                     \
    X(tokenize)                                                                                    \
    X(schedule)                                                                                    \
    X(rng)                                                                                         \
    X(convert)

struct command {
    const char *name;    /* "" of a program that is one command */
    const char *summary; /* one line for `dfx --help` */
    const char *example; /* command lines, each ended by a newline */
    const struct option *options;
    const struct positional *positionals;
    const void *defaults; /* what `settings` starts as; `size` bytes */
    size_t size;
    int (*run)(void *settings); /* returns the exit status */
};

#define COMMAND_DECLARE(name) extern const struct command cmd_##name;
COMMANDS(COMMAND_DECLARE)
#undef COMMAND_DECLARE

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* The program that runs, "dfx"; each program's main file defines it. */
extern const char cmd_program[];

/* What is typed for a command, for "%s%s%s". */
#define CMD_LINE(command) cmd_program, *(command)->name ? " " : "", (command)->name

/* The beginning and the end of every program: what threads do while they wait; whether all of the
 * output was written. */
void cmd_begin(char **argv);
int cmd_end(int code);

/* Reads the arguments and runs the command; returns the exit status. */
int cmd_run(const struct command *command, int argc, char **argv);

/* Prints the library's message for a failure and returns the exit status that belongs to it. */
int cmd_fail(dfx_status status);

/* Prints "PROGRAM: WHAT" and returns `code`. */
int cmd_fail_with(int code, const char *format, ...) DFX__PRINTF(2, 3);

/* From now on the first Ctrl-C asks the library to stop and the second one kills. */
void cmd_catch_interrupt(void);
int cmd_interrupted(void); /* whether that happened */

/* `given`, else the environment's variable where it is set and not empty, else NULL. */
const char *cmd_default(const char *given, const char *variable);

#endif
