/* print.h - results on standard output: JSON, text from files. */
#ifndef PRINT_H
#define PRINT_H

#include <json-c/json.h>

/* Prints the object on lines of its own and frees it. Returns EXIT_DONE, or EXIT_FAILED when there
 * was no memory for it (NULL). */
int print_json(json_object *object);

/* A file's text as it is safe on a terminal: control characters become "?", lines after the first
 * are indented by `indent`. */
void print_text(const char *text, int indent);

/* The same in one line, with spaces behind it up to `width` bytes, and one more. */
void print_column(const char *text, int width);

#endif
