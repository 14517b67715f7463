/* open.c - opens a file of tensors, whose format its first bytes tell. */
#include "weights/tensors.h"

#include "core/status.h"

/* A mount's tensors, which lie scattered in the window or in the mount's own memory. */
static dfx_status copy_table(dfx_tensors *t, const dfx_tensors *from)
{
    for (int i = 0; i < from->count; i++) {
        dfx_tensor *tensor;
        DFX__TRY(dfx__tensors_append(t, &tensor, from->tensor[i]->name));
        tensor->spec = from->tensor[i]->spec;
        tensor->data = from->tensor[i]->data;
        tensor->bytes = from->tensor[i]->bytes;
    }
    return dfx__tensors_sort(t);
}

static dfx_status read_file(dfx_tensors *t, const char *path)
{
    DFX__TRY(dfx__map_file(&t->file, path));
    if (t->file.object)
        return copy_table(t, t->file.object);
    return dfx__read_safetensors(t, path);
}

dfx_status dfx_tensors_open(dfx_tensors **out, const char *path)
{
    dfx_tensors *t;
    DFX__TRY(dfx_tensors_new(&t));
    dfx_status status = read_file(t, path);
    if (status)
        dfx_tensors_free(t);
    else
        *out = t;
    return status;
}
