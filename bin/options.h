/* options.h - a command's options and positional arguments, declared as tables. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,   /* int: 1 when given */
    OPTION_STRING, /* const char * */
    OPTION_INT,    /* int, within min..max */
    OPTION_UINT64, /* struct option_uint64; a negative number counts from 2^64, as in torch */
    OPTION_FLOAT,  /* float, within min..max */
    OPTION_DOUBLE, /* double, likewise */
    OPTION_SIZE,   /* uint64_t bytes: "512M", "1.5G", "4096" */
    OPTION_PAIR    /* int[2], each within min..max: "640x480", "3,50" */
};

struct option_uint64 {
    uint64_t value;
    int given;
};

/* One option; the table ends with a NULL name. `at` is the offset in the command's settings. */
struct option {
    const char *name; /* without the dashes */
    enum option_kind kind;
    size_t at;
    const char *argument; /* what the help calls the value */
    const char *help;     /* NULL: a later version's option, refused by this one */
    double min, max;      /* of OPTION_INT, OPTION_FLOAT, OPTION_DOUBLE and OPTION_PAIR */
};

/* A positional argument, a const char * in the settings; the table ends with a NULL name. */
struct positional {
    const char *name;
    size_t at;
    int required;
    const char *help;
};

struct command;

/* Reads the arguments after the command's name into `settings`. Returns OPTIONS_RUN, or the exit
 * status to leave with: the help was printed, or an error. */
enum { OPTIONS_RUN = -1 };
int options_parse(const struct command *command, int argc, char **argv, void *settings);

/* Whether `candidate` is near enough to a mistyped `word` to be suggested for it: how many edits
 * lie between them, or -1. */
int options_distance(const char *word, const char *candidate);

#endif
