/* hub.h - models of the Hugging Face hub that are in its cache on this machine. */
#ifndef DFX_WEIGHTS_HUB_H
#define DFX_WEIGHTS_HUB_H

#include "core/memory.h"
#include "dfxcl/base.h"

/* Whether a name can be one of the hub: ORG/NAME[@REVISION][/FILE...], and nothing lies there as a
 * path. */
int dfx__hub_is_name(const char *name);

/* The path of a hub's name in the cache, in the pool. Nothing is downloaded. NULL for what is not
 * there, but could be a path as well, as there is a folder ORG.
 * Errors: DFX_ERROR_FILE (it is not there: the message says where it was looked for, and how to get
 * it), DFX_ERROR_MEMORY. */
dfx_status dfx__hub_find(const char **path, dfx__pool *pool, const char *name);

#endif
