/* print.h - results on standard output: JSON, text from files. */
#ifndef PRINT_H
#define PRINT_H

#include <json-c/json.h>

/* A member, or an entry, that the object owns from now on. One that finds no memory, or is NULL as
 * it was just made without, has what is printed afterwards fail. */
void print_put(json_object *object, const char *key, json_object *value);
void print_append(json_object *array, json_object *value);

/* Prints the object on lines of its own and frees it. Returns EXIT_DONE, or EXIT_FAILED when there
 * was no memory for all of it. */
int print_json(json_object *object);

/* The text that it prints, which lives as long as the object; NULL when there is no memory. */
const char *print_text_of(json_object *object);

/* A file's text as it is safe on a terminal: control characters become "?", lines after the first
 * are indented by `indent`. */
void print_text(const char *text, int indent);

/* The same in one line, with spaces behind it up to `width` bytes, and one more. */
void print_column(const char *text, int width);

#endif
