/* dfxcl/config.h - what is done with each key of a model's config files. */
#ifndef DFXCL_CONFIG_H
#define DFXCL_CONFIG_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    DFX_KEY_USED,    /* the file has it, and it is honoured */
    DFX_KEY_DEFAULT, /* the file does not have it: the class's default is taken */
    DFX_KEY_IGNORED, /* the file has it, and it changes nothing here */
    DFX_KEY_UNKNOWN  /* the file has it, and the class does not know it: it is ignored */
} dfx_key_state;

typedef struct {
    const char *name;
    const char *value; /* JSON, but words without quotes: "0.18215", "[1,2]", "silu", "null" */
    const char *does;  /* in a few words, what it does, or why nothing; NULL: unknown */
    dfx_key_state state;
} dfx_config_key;

typedef struct dfx_config_keys dfx_config_keys;

/* Lists the keys of a component, weights not being read: of its config.json, scheduler_config.json,
 * tokenizer_config.json or preprocessor_config.json; of a whole model, of its model_index.json.
 *   path  a folder, a scheduler's config file, or what else dfx_checkpoint_open takes
 * Keys that it has stand first, in its order, then those that it lacks.
 * Errors: those of dfx_model_open and dfx_scheduler_open; DFX_ERROR_FILE (there is no config). */
DFX_API dfx_status dfx_config_keys_open(dfx_config_keys **out, const char *path);
DFX_API void dfx_config_keys_free(dfx_config_keys *k);

DFX_API int dfx_config_keys_count(const dfx_config_keys *k);
DFX_API const dfx_config_key *dfx_config_keys_at(const dfx_config_keys *k, int index);

#ifdef __cplusplus
}
#endif
#endif
