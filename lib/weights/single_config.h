/* single_config.h - the config files that a single-file checkpoint does without. */
#ifndef DFX_WEIGHTS_SINGLE_CONFIG_H
#define DFX_WEIGHTS_SINGLE_CONFIG_H

#include "core/json.h"
#include "weights/key_map.h"
#include "weights/tensors.h"

/* share/configs, embedded in the library by cl/embed.awk; ends with an entry without a name. */
typedef struct dfx__config_source {
    const char *name; /* "sd1-inpainting" */
    const char *text;
} dfx__config_source;
extern const dfx__config_source dfx__config_sources[];

/* The files of a published model, an object by file name ("unet/config.json"), to be released with
 * json_object_put; `name` is one of the sources'. */
dfx_status dfx__published_configs(json_object **out, const char *name);

/* How the blocks of a component follow each other in a file, whose names begin with `prefix`.
 * Errors: DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED (levels of different lengths). */
dfx_status dfx__find_blocks(dfx__key_shape *out, dfx__layout layout, const dfx_tensors *file,
                            const char *prefix);

/* Rules of a family for what no shape tells. */
typedef struct {
    int head_width;  /* channels of an attention head in the UNet; 0: it has 8 heads */
    int added_sizes; /* numbers beside the pooled text in the UNet's added embedding */
    int pooled;      /* width of that text; 0: not known */
} dfx__fit_rules;

/* Puts what the tensors' shapes say into a component's published config, where that differs.
 * Errors: DFX_ERROR_FORMAT (a tensor is missing or has a wrong rank, by its name in the file). */
dfx_status dfx__fit_config(json_object *config, const dfx__key_shape *shape,
                           const dfx_tensors *file, const char *prefix,
                           const dfx__fit_rules *rules);

#endif
