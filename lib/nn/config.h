/* config.h - a component's config.json: typed values with defaults, every key honoured or named. */
#ifndef DFX_NN_CONFIG_H
#define DFX_NN_CONFIG_H

#include "core/config_keys.h"

enum { DFX__CONFIG_RULES = 8 };

/* An open config; the first wrong value is kept in status (and the thread's message). */
typedef struct {
    json_object *json;
    char path[1024]; /* of the file, for messages */
    dfx_status status;
    json_object *read; /* the keys that were asked for, each with what stands for a missing one */
    const dfx__config_rule *rules[DFX__CONFIG_RULES];
    int lists;
} dfx__config;

dfx_status dfx__config_open(dfx__config *c, const char *folder);
dfx_status dfx__config_open_file(dfx__config *c, const char *folder, const char *name);
/* The same of an object, which the config owns then, even after a failure; `path` for messages. */
dfx_status dfx__config_take(dfx__config *c, json_object *json, const char *path);
void dfx__config_close(dfx__config *c);

/* An object that is a key's value as a config of its own, empty where the key is absent or null.
 * Whether it was there. When it has been read, closing it passes its failure on. */
int dfx__config_open_part(dfx__config *part, dfx__config *c, const char *key);
void dfx__config_close_part(dfx__config *part, dfx__config *c);

/* Adds rules, which live as long as the config: those of a reader that several classes share. */
void dfx__config_add_rules(dfx__config *c, const dfx__config_rule *rules);

/* Values by key; `missing` where the key is absent or null. Numbers must lie within min..max; a
 * missing one that does not stands for null. */
int dfx__config_int(dfx__config *c, const char *key, int missing, int min, int max);
float dfx__config_float(dfx__config *c, const char *key, float missing);
int dfx__config_bool(dfx__config *c, const char *key, int missing);
const char *dfx__config_string(dfx__config *c, const char *key, const char *missing);

/* n values: a list of n, or one for all of them, or `missing` for all of them. */
void dfx__config_ints(dfx__config *c, const char *key, int *out, int n, int missing, int min,
                      int max);
void dfx__config_floats(dfx__config *c, const char *key, float *out, int n, float missing);
void dfx__config_bools(dfx__config *c, const char *key, int *out, int n, int missing);

/* The same for n rows of `width` numbers, an entry being a row's list or one for all of its
 * numbers; -1 stands for what a list is too short for. Whether there are such lists. */
int dfx__config_int_rows(dfx__config *c, const char *key, int *out, int n, int width, int missing,
                         int min, int max);

/* Whether a key is there and null, where that has a meaning of its own. */
int dfx__config_is_null(dfx__config *c, const char *key);

/* The same as dfx__config_int where null stands for 0. */
int dfx__config_int_or_null(dfx__config *c, const char *key, int missing, int min, int max);

/* Length of a list; 0 when it is absent. Over `most` is an error. */
int dfx__config_length(dfx__config *c, const char *key, int most);

/* Entry i of a list of strings. */
const char *dfx__config_string_at(dfx__config *c, const char *key, int i);

/* Tells what an absent key stands for, as JSON or in words, where no reader's `missing` says so. */
void dfx__config_default(dfx__config *c, const char *key, const char *text);

/* A key whose value cannot be used, and why, as printf has it. */
void dfx__config_refuse(dfx__config *c, const char *key, const char *why, ...) DFX__PRINTF(3, 4);

/* Adds the class's own rules and checks all: refuses by name what breaks one, and logs keys of the
 * file that have none. A key that was read must have a rule. Returns the config's status. */
dfx_status dfx__config_finish(dfx__config *c, const dfx__config_rule *rules);

/* Adds what became of each key, once the config is finished. */
dfx_status dfx__config_list(const dfx__config *c, dfx_config_keys *keys);

#endif
