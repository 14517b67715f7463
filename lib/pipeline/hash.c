/* hash.c - 16 digits that tell models apart, from their configs and samples of their weights. */
#include "core/file.h"
#include "core/status.h"
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

/* The size and 64 blocks spread over the file, where there is one; all of it where it is small. */
static dfx_status add_file(uint64_t *hash, const char *path)
{
    dfx__mapped m;
    if (!path)
        return dfx__no_memory();
    if (!dfx__file_exists(path))
        return DFX_OK;
    DFX__TRY(dfx__map_file(&m, path));
    uint64_t h = (*hash ^ m.bytes) * 0x100000001b3u;
    if (m.bytes <= (size_t)BLOCK * BLOCKS)
        h = add_bytes(h, m.data, m.bytes);
    else
        for (size_t i = 0; i < BLOCKS; i++)
            h = add_bytes(h, m.data + (m.bytes - BLOCK) / (BLOCKS - 1) * i, BLOCK);
    dfx__unmap_file(&m);
    *hash = h;
    return DFX_OK;
}

static dfx_status add_model(uint64_t *hash, const dfx_model *m)
{
    char *config = dfx__path_join(m->folder, "config.json");
    dfx_status status = add_file(hash, config);
    free(config);
    for (int k = 0; dfx__weights_file(m->weights, k) && status == DFX_OK; k++)
        status = add_file(hash, dfx__weights_file(m->weights, k));
    return status;
}

dfx_status dfx__pipeline_hash(dfx_pipeline *p)
{
    uint64_t h = 0xcbf29ce484222325u;
    DFX__TRY(add_file(&h, dfx__component_path(p, "model_index.json")));
    DFX__TRY(add_file(&h, dfx__component_path(p, "scheduler/scheduler_config.json")));
    DFX__TRY(add_file(&h, dfx__component_path(p, "scheduler_config.json")));
    for (int i = 0; i < DFX__COMPONENTS; i++)
        if (p->model[i])
            DFX__TRY(add_model(&h, p->model[i]));
    snprintf(p->hash, sizeof p->hash, "%016" PRIx64, h);
    return DFX_OK;
}
