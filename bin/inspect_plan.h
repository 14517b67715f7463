/* inspect_plan.h - what a picture would take of a device, as text and as JSON. */
#ifndef INSPECT_PLAN_H
#define INSPECT_PLAN_H

#include "dfxcl.h"

#include <json-c/json.h>

/* What is planned; 0 and NULL: the model's, the device's, the environment's. */
struct plan_settings {
    int width, height, batch;
    const char *device, *dtype;
    uint64_t memory_limit;
};

/* Plans a picture by the model and prints it, or adds it to `json` as "plan". Returns the exit
 * status. */
int inspect_plan(const char *model, const struct plan_settings *s, json_object *json);

#endif
