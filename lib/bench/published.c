/* published.c - models from the configs that the library has, without their weights. */
#include "bench/published.h"

#include "core/memory.h"
#include "core/noise.h"
#include "core/status.h"
#include "weights/single_config.h"

#include <stdint.h>
#include <stdlib.h>

enum { NUMBERS = 40 << 20 };

dfx_status dfx__published_open(dfx__published *p, const char *name)
{
    uint32_t seed = 1;
    *p = (dfx__published){ NULL, NULL };
    DFX__TRY(dfx__published_configs(&p->configs, name));
    p->numbers = dfx__alloc(NUMBERS, sizeof *p->numbers);
    if (!p->numbers)
        return dfx__no_memory();
    for (int i = 0; i < NUMBERS; i++) { /* of about the scale that weights have: +-2^-7 to +-2^-5 */
        dfx__noise_next(&seed);
        p->numbers[i] = (uint16_t)((seed >> 16 & 0x8000u) | (0x2000u + (seed >> 13 & 0x7ffu)));
    }
    return DFX_OK;
}

void dfx__published_close(dfx__published *p)
{
    json_object_put(p->configs);
    free(p->numbers);
}

dfx_status dfx__published_model(dfx_model **out, const dfx__published *p, const char *file)
{
    json_object *config;
    if (!json_object_object_get_ex(p->configs, file, &config))
        return dfx__fail(DFX_ERROR_FORMAT, "%s is not there", file);
    return dfx__model_random(out, json_object_get(config), p->numbers,
                             NUMBERS * sizeof *p->numbers);
}
