/* single_file.h - a single-file checkpoint's components under Diffusers' names. */
#ifndef DFX_WEIGHTS_SINGLE_FILE_H
#define DFX_WEIGHTS_SINGLE_FILE_H

#include "weights/single_family.h"

/* Before a component's name: its folder had the other spelling of dfx__key_shape. */
#define DFX__SINGLE_OTHER_NAMES "dfx_other_names."

/* Whether such a text may be a file of a model's folder: "NAME" or "FOLDER/NAME" of JSON or text.
 */
int dfx__single_is_config(const char *name);

/* A component's tensors under Diffusers' names, which point into those of `file` (only transposed
 * ones are copies) and use the map; both must live longer. Tensors without a place are logged, as
 * of `path`. Errors: DFX_ERROR_FORMAT, DFX_ERROR_MEMORY. */
dfx_status dfx__single_view(dfx_tensors **out, const dfx_tensors *file, const char *path,
                            const dfx__single_part *part, const dfx__key_map *keys);

/* model_index.json has no such component: [null, null]. */
int dfx__single_leave_out(json_object *index, const char *component);

#endif
