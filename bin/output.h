/* output.h - where pictures go: names, and whether they can be written. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdint.h>

/* Finds out before the work whether a file can be made at `path` ("-" is standard output). Returns
 * EXIT_DONE, or prints why not and returns the exit status. */
int output_check(const char *path);

/* The name of picture `index` of `count`, to be freed; NULL when there is no memory.
 *   given   O.png: that, or O-1.png, O-2.png ... of several
 *   NULL    words of the prompt and the seed: red-apple-42.png */
char *output_name(const char *given, const char *prompt, uint64_t seed, int index, int count);

/* Writes a file of the text, whole or not at all; what is there and no file, such as /dev/null, is
 * written to. Returns the exit status. */
int output_write(const char *path, const char *text);

#endif
