/* config_keys.h - rules of a class's config keys, and the list of what is done with a file's. */
#ifndef DFX_CORE_CONFIG_KEYS_H
#define DFX_CORE_CONFIG_KEYS_H

#include "core/json.h"
#include "core/memory.h"
#include "dfxcl/config.h"

/* A key of a class. What its value may be: NULL where the class reads it; the one value that is
 * right, as JSON text ("null", "false", "\"silu\""); "*" for any, because it changes nothing at
 * inference. An absent key is right. What it does stands in a few words for dfx inspect; of "*",
 * why it does nothing. Lists of rules end with one without a key; the key "*" is any other. */
typedef struct {
    const char *key, *value, *does;
} dfx__config_rule;

/* What diffusers writes into every file. */
extern const dfx__config_rule dfx__common_rules[];

/* The rule of a key in several lists, or NULL. */
const dfx__config_rule *dfx__find_rule(const dfx__config_rule *const *lists, int count,
                                       const char *key);

struct dfx_config_keys {
    dfx__pool pool;
    dfx_config_key *key;
    int count, room;
};

/* Adds a key; its texts are copied, the value from JSON as dfx_config_key has it. */
dfx_status dfx__config_keys_add(dfx_config_keys *k, const char *name, json_object *value,
                                const char *does, dfx_key_state state);

/* Adds the keys of a file by their rules, then those that it lacks. `read` has what the class asked
 * for, each key with what stands for a missing one; NULL: all that its rules say it reads. */
dfx_status dfx__config_keys_add_file(dfx_config_keys *k, json_object *file, json_object *read,
                                     const dfx__config_rule *const *lists, int count);

#endif
