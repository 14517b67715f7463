/* dfx.c - the command line: finds the command, reads its options, runs it. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

const char cmd_program[] = "dfx";

#define COMMAND_ENTRY(name) &cmd_##name,
static const struct command *const commands[] = { COMMANDS(COMMAND_ENTRY) };
#undef COMMAND_ENTRY
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

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
            return cmd_run(commands[i], argc - 2, argv + 2);
    if (argv[1][0] == '-')
        return cmd_fail_with(EXIT_USAGE, "%s: no such option; options follow a command", argv[1]);
    return unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    cmd_begin(argv);
    return cmd_end(dispatch(argc, argv));
}
