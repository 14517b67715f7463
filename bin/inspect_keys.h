/* inspect_keys.h - what is done with each key of a config, as text and as JSON. */
#ifndef INSPECT_KEYS_H
#define INSPECT_KEYS_H

#include "dfxcl.h"

#include <json-c/json.h>

/* Which keys are told of; NULL: all. */
typedef int key_filter(void *user, const dfx_config_key *key);

/* Prints a line for each key. */
void print_keys(const dfx_config_keys *keys, key_filter *filter, void *user);
/* The same as an array. */
json_object *keys_json(const dfx_config_keys *keys, key_filter *filter, void *user);

/* The key of that name, or NULL. */
const dfx_config_key *find_key(const dfx_config_keys *keys, const char *name);

#endif
