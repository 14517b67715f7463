/* hash.c - 16 digits that tell models apart, from their configs and samples of their weights. */
#include "core/file.h"
#include "pipeline/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 4096, BLOCKS = 64 };

/* FNV-1a */
static uint64_t add_bytes(uint64_t h, const unsigned char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

/* The size and 64 blocks spread over the file; all of it where it is small. */
static uint64_t add_file(uint64_t h, const char *path)
{
    dfx__mapped m;
    if (!path || !dfx__file_exists(path) || dfx__map_file(&m, path) != DFX_OK)
        return h;
    h = (h ^ m.bytes) * 0x100000001b3u;
    if (m.bytes <= (size_t)BLOCK * BLOCKS)
        h = add_bytes(h, m.data, m.bytes);
    else
        for (size_t i = 0; i < BLOCKS; i++)
            h = add_bytes(h, m.data + (m.bytes - BLOCK) / (BLOCKS - 1) * i, BLOCK);
    dfx__unmap_file(&m);
    return h;
}

void dfx__pipeline_hash(dfx_pipeline *p)
{
    uint64_t h = add_file(0xcbf29ce484222325u, dfx__component_path(p, "model_index.json"));
    h = add_file(h, dfx__component_path(p, "scheduler/scheduler_config.json"));
    h = add_file(h, dfx__component_path(p, "scheduler_config.json"));
    for (int i = 0; i < DFX__COMPONENTS; i++) {
        const dfx_model *m = p->model[i];
        if (!m)
            continue;
        char *config = dfx__path_join(m->folder, "config.json");
        h = add_file(h, config);
        free(config);
        for (int k = 0; dfx__weights_file(m->weights, k); k++)
            h = add_file(h, dfx__weights_file(m->weights, k));
    }
    snprintf(p->hash, sizeof p->hash, "%016" PRIx64, h);
}
