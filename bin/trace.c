/* trace.c - a run's latents, embeddings and pictures in a safetensors file. */
#include "trace.h"

#include <stdio.h>

int trace_step(struct trace *t, const float *latents, const dfx_spec *spec)
{
    char name[32];
    if (!t->file)
        return 0;
    snprintf(name, sizeof name, "latents.%04d", t->steps++);
    t->failed = dfx_tensors_add(t->file, name, spec, latents) != DFX_OK;
    return t->failed;
}

dfx_status trace_save(struct trace *t, const dfx_result *r, const char *path)
{
    const dfx_tensor *embeds = dfx_result_prompt_embeds(r);
    const dfx_tensor *pooled = dfx_result_pooled_prompt_embeds(r);
    const dfx_tensor *image = dfx_result_floats(r);
    dfx_status status = DFX_OK;
    if (embeds->data)
        status = dfx_tensors_add(t->file, "prompt_embeds", &embeds->spec, embeds->data);
    if (status == DFX_OK && pooled->data)
        status = dfx_tensors_add(t->file, "pooled_prompt_embeds", &pooled->spec, pooled->data);
    if (status == DFX_OK && image->data)
        status = dfx_tensors_add(t->file, "image", &image->spec, image->data);
    return status == DFX_OK ? dfx_tensors_save(t->file, path) : status;
}
