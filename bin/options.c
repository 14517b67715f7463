/* options.c - reads a command's arguments by its tables, and prints its help from them. */
#include "options.h"

#include "cmd.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LONGEST_NAME = 31, HELP_COLUMN = 24 };

int options_distance(const char *word, const char *candidate)
{
    int above[LONGEST_NAME + 2], n = (int)strlen(candidate), length = (int)strlen(word);
    if (n > LONGEST_NAME || length > LONGEST_NAME || n == 0)
        return -1;
    for (int j = 0; j <= n; j++)
        above[j] = j;
    for (int i = 1; i <= length; i++) {
        int diagonal = above[0];
        above[0] = i;
        for (int j = 1; j <= n; j++) {
            int least = diagonal + (word[i - 1] != candidate[j - 1]);
            if (above[j] + 1 < least)
                least = above[j] + 1;
            if (above[j - 1] + 1 < least)
                least = above[j - 1] + 1;
            diagonal = above[j];
            above[j] = least;
        }
    }
    if (length >= 3 && strncmp(word, candidate, (size_t)length) == 0)
        return 1; /* an abbreviation */
    return above[n] <= 1 + n / 4 && above[n] < n ? above[n] : -1;
}

static int unknown_option(const struct command *command, const char *word, size_t length)
{
    char name[LONGEST_NAME + 1];
    const struct option *nearest = NULL;
    int least = 0;
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    for (const struct option *o = command->options; o->name; o++) {
        int distance = o->help ? options_distance(name, o->name) : -1;
        if (distance >= 0 && (!nearest || distance < least)) {
            nearest = o;
            least = distance;
        }
    }
    if (nearest)
        return cmd_fail_with(EXIT_USAGE, "--%.*s: no such option; did you mean --%s?", (int)length,
                             word, nearest->name);
    return cmd_fail_with(EXIT_USAGE, "--%.*s: no such option; `%s%s%s --help` lists them",
                         (int)length, word, CMD_LINE(command));
}

static const struct option *find(const struct command *command, const char *name, size_t length)
{
    for (const struct option *o = command->options; o->name; o++)
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

/* strtod, for plain decimal numbers only: no spaces, hexadecimals, infinities. */
static int parse_decimal(const char *text, char **end, double *value)
{
    size_t plain = strspn(text, "+-.0123456789eE");
    *value = strtod(text, end);
    return *end > text && *end <= text + plain && isfinite(*value);
}

static int set_int(const struct option *o, const char *text, int *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || isspace((unsigned char)*text))
        return cmd_fail_with(EXIT_USAGE, "--%s: \"%s\" is not a whole number", o->name, text);
    if (errno || (double)number < o->min || (double)number > o->max)
        return cmd_fail_with(EXIT_USAGE, "--%s: %s is out of range, it must be %.0f to %.0f",
                             o->name, text, o->min, o->max);
    *value = (int)number;
    return OPTIONS_RUN;
}

static int set_uint64(const struct option *o, const char *text, struct option_uint64 *value)
{
    char *end;
    errno = 0;
    value->value = strtoull(text, &end, 10); /* takes a minus sign and wraps round */
    value->given = 1;
    if (end == text || *end || isspace((unsigned char)*text))
        return cmd_fail_with(EXIT_USAGE, "--%s: \"%s\" is not a whole number", o->name, text);
    if (errno || (*text == '-' && -value->value > (uint64_t)1 << 63))
        return cmd_fail_with(EXIT_USAGE, "--%s: %s does not fit in 64 bits", o->name, text);
    return OPTIONS_RUN;
}

static int set_pair(const struct option *o, const char *text, int *value)
{
    int end = 0;
    char separator = 0;
    if (sscanf(text, "%8d%c%8d%n", &value[0], &separator, &value[1], &end) != 3 || text[end] ||
        separator != (strchr(o->argument, ',') ? ',' : 'x'))
        return cmd_fail_with(EXIT_USAGE, "--%s: \"%s\" is not of the form %s", o->name, text,
                             o->argument);
    for (int i = 0; i < 2; i++)
        if (value[i] < o->min || value[i] > o->max)
            return cmd_fail_with(EXIT_USAGE, "--%s: %d is out of range, it must be %.0f to %.0f",
                                 o->name, value[i], o->min, o->max);
    return OPTIONS_RUN;
}

static int set_double(const struct option *o, const char *text, double *value)
{
    char *end;
    double number;
    if (!parse_decimal(text, &end, &number) || *end)
        return cmd_fail_with(EXIT_USAGE, "--%s: \"%s\" is not a number", o->name, text);
    if (number < o->min || number > o->max)
        return cmd_fail_with(EXIT_USAGE, "--%s: %s is out of range, it must be %g to %g", o->name,
                             text, o->min, o->max);
    *value = number;
    return OPTIONS_RUN;
}

static int set_float(const struct option *o, const char *text, float *value)
{
    double number = *value;
    int code = set_double(o, text, &number);
    *value = (float)number;
    return code;
}

static int set_size(const struct option *o, const char *text, uint64_t *value)
{
    if (dfx_bytes_parse(value, text) != DFX_OK)
        return cmd_fail_with(EXIT_USAGE, "--%s: %s", o->name, dfx_error());
    return OPTIONS_RUN;
}

static int set(const struct option *o, const char *text, void *settings)
{
    void *at = (char *)settings + o->at;
    switch (o->kind) {
    case OPTION_INT:
        return set_int(o, text, at);
    case OPTION_UINT64:
        return set_uint64(o, text, at);
    case OPTION_FLOAT:
        return set_float(o, text, at);
    case OPTION_DOUBLE:
        return set_double(o, text, at);
    case OPTION_SIZE:
        return set_size(o, text, at);
    case OPTION_PAIR:
        return set_pair(o, text, at);
    case OPTION_STRING:
        *(const char **)at = text;
        return OPTIONS_RUN;
    case OPTION_FLAG:
        *(int *)at = 1;
        return OPTIONS_RUN;
    }
    return OPTIONS_RUN;
}

/* Reads the option at argv[*i] and moves *i to the last argument that it used. */
static int parse_option(const struct command *command, int argc, char **argv, int *i,
                        void *settings)
{
    const char *name = argv[*i] + 2, *value = NULL;
    size_t length = strcspn(name, "=");
    const struct option *o = find(command, name, length);
    if (!o)
        return unknown_option(command, name, length);
    if (name[length] == '=')
        value = name + length + 1;
    if (o->kind == OPTION_FLAG) {
        if (value)
            return cmd_fail_with(EXIT_USAGE, "--%s: takes no value", o->name);
        value = "";
    } else if (!value) {
        const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
        if (!next)
            return cmd_fail_with(EXIT_USAGE, "--%s: a value is missing (%s)", o->name, o->argument);
        if (strncmp(next, "--", 2) == 0 && find(command, next + 2, strcspn(next + 2, "=")))
            return cmd_fail_with(EXIT_USAGE,
                                 "--%s: a value is missing before %s; a value that looks like an "
                                 "option is written --%s=%s",
                                 o->name, next, o->name, next);
        value = next;
        ++*i;
    }
    int code = set(o, value, settings);
    if (code == OPTIONS_RUN && !o->help)
        return cmd_fail_with(EXIT_USAGE, "--%s: this version does not do it yet", o->name);
    return code;
}

/* "  --steps N        what it does", the help's later lines under its first */
static void print_entry(const char *name, const char *argument, const char *help)
{
    char head[64];
    snprintf(head, sizeof head, "%s%s%s", name, argument ? " " : "", argument ? argument : "");
    if (strlen(head) <= HELP_COLUMN)
        printf("  %-*s ", HELP_COLUMN, head);
    else
        printf("  %s\n%*s", head, HELP_COLUMN + 3, "");
    for (; *help; help++) {
        putchar(*help);
        if (*help == '\n')
            printf("%*s", HELP_COLUMN + 3, "");
    }
    putchar('\n');
}

static void print_help(const struct command *command)
{
    printf("usage: %s%s%s", CMD_LINE(command));
    for (const struct positional *p = command->positionals; p->name; p++)
        printf(p->required ? " %s" : " [%s]", p->name);
    printf(" [options]\n\n%s\n\n", command->summary);
    for (const struct positional *p = command->positionals; p->name; p++)
        print_entry(p->name, NULL, p->help);
    for (const struct option *o = command->options; o->name; o++) {
        char name[LONGEST_NAME + 3];
        snprintf(name, sizeof name, "--%s", o->name);
        if (o->help)
            print_entry(name, o->argument, o->help);
    }
    print_entry("--help", NULL, "this text");
    printf("\nexample:\n%s", command->example);
}

int options_parse(const struct command *command, int argc, char **argv, void *settings)
{
    const struct positional *next = command->positionals;
    int only_positionals = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_positionals && strcmp(word, "--") == 0) {
            only_positionals = 1;
        } else if (!only_positionals && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(command);
            return EXIT_DONE;
        } else if (!only_positionals && strncmp(word, "--", 2) == 0) {
            int code = parse_option(command, argc, argv, &i, settings);
            if (code != OPTIONS_RUN)
                return code;
        } else if (!only_positionals && word[0] == '-' && word[1]) {
            return cmd_fail_with(EXIT_USAGE, "%s: no such option; `%s%s%s --help` lists them", word,
                                 CMD_LINE(command));
        } else if (next->name) {
            *(const char **)((char *)settings + next++->at) = word;
        } else {
            return cmd_fail_with(EXIT_USAGE, "%s: one argument too many for %s%s%s%s", word,
                                 CMD_LINE(command),
                                 next > command->positionals ? "; write text in quotes" : "");
        }
    }
    if (next->name && next->required)
        return cmd_fail_with(EXIT_USAGE, "%s is missing; `%s%s%s --help` shows the usage",
                             next->name, CMD_LINE(command));
    return OPTIONS_RUN;
}
