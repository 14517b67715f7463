/* inspect_scheduler.h - what each key of a scheduler's config does. */
#ifndef INSPECT_SCHEDULER_H
#define INSPECT_SCHEDULER_H

#include <json-c/json.h>

/* What is wrong with the config at a path, as malloc'd text; NULL when it opens. *code receives the exit
 * status, for which a class that the library does not have is no failure. */
char *scheduler_problem(const char *path, int *code);

/* Prints a line for each key of the config, and for those that the class takes and it lacks. */
void print_scheduler_keys(json_object *config);
/* The same as an array. */
json_object *scheduler_keys_json(json_object *config);

#endif
