/* published.h - components of published models at their real sizes, with random weights. */
#ifndef DFX_BENCH_PUBLISHED_H
#define DFX_BENCH_PUBLISHED_H

#include "core/json.h"
#include "model/model.h"

typedef struct {
    json_object *configs;
    uint16_t *numbers; /* that all weights consist of, as f16 */
} dfx__published;

/* name: of the configs that the library has for single files, "sd1", "sdxl". To be closed, after an
 * error too, and not before its models are freed. */
dfx_status dfx__published_open(dfx__published *p, const char *name);
void dfx__published_close(dfx__published *p);

/* file: the component's, "unet/config.json". */
dfx_status dfx__published_model(dfx_model **out, const dfx__published *p, const char *file);

#endif
