/* dfx.c - the command line: finds the command, reads its options, runs it. */
#include "cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_ENTRY(name) &cmd_##name,
static const struct command *const commands[] = { COMMANDS(COMMAND_ENTRY) };
#undef COMMAND_ENTRY
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

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
    fputs("dfx: ", stderr);
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

static void print_help(void)
{
    puts("usage: dfx COMMAND [options]\n\n"
         "Diffusion models on OpenCL devices and on the CPU.\n\ncommands:");
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n`dfx COMMAND --help` has a command's options and an example; `dfx --version` the "
         "version.\n\n"
         "environment: DFX_DEVICE, DFX_DTYPE and DFX_MODEL are the defaults of --device, --dtype\n"
         "and --model.");
}

static int run(const struct command *command, int argc, char **argv)
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

static int unknown_command(const char *word)
{
    const char *nearest = NULL;
    int least = 0;
    for (int i = 0; i < COMMAND_COUNT; i++) {
        int distance = options_distance(word, commands[i]->name);
        if (distance >= 0 && (!nearest || distance < least)) {
            nearest = commands[i]->name;
            least = distance;
        }
    }
    if (nearest)
        return cmd_fail_with(EXIT_USAGE, "%s: no such command; did you mean %s?", word, nearest);
    return cmd_fail_with(EXIT_USAGE, "%s: no such command; `dfx --help` lists them", word);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return cmd_fail_with(EXIT_USAGE, "a command is missing; `dfx --help` lists them");
    if (strcmp(argv[1], "--version") == 0) {
        printf("dfx %s\n", dfx_version());
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return EXIT_DONE;
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return run(commands[i], argc - 2, argv + 2);
    if (argv[1][0] == '-')
        return cmd_fail_with(EXIT_USAGE, "%s: no such option; options follow a command", argv[1]);
    return unknown_command(argv[1]);
}

/* GCC's OpenMP lets threads spin for milliseconds while they wait, which makes them ten times
 * slower where other programs want the cores too. It reads for how long before main: so the command
 * starts itself again with a shorter time. */
static void shorten_spinning(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe", argv); /* where there is none it goes on as it is */
}

int main(int argc, char **argv)
{
    shorten_spinning(argv);
    int code = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (code == EXIT_DONE)
            code = cmd_fail_with(EXIT_FAILED, "standard output: %s", strerror(errno));
    }
    return code;
}
