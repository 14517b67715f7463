/* open.c - opens a file of tensors, whose format its first bytes tell. */
#include "weights/tensors.h"

#include "core/status.h"
#include "weights/zip.h"

#include <string.h>

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
    t->keys = from->keys;
    t->prefix = from->prefix;
    return dfx__tensors_sort(t);
}

/* Protocol 2 to 5; the size of a safetensors header may begin so too, but then JSON follows. */
static int is_pickle(const dfx__mapped *f)
{
    return f->bytes > 8 && f->data[0] == 0x80 && f->data[1] >= 2 && f->data[1] <= 5 &&
           f->data[8] != '{';
}

static int is_tar(const dfx__mapped *f)
{
    return f->bytes > 512 && memcmp(f->data + 257, "ustar", 5) == 0;
}

static dfx_status read_file(dfx_tensors *t, const char *path)
{
    DFX__TRY(dfx__map_file(&t->file, path));
    if (t->file.object)
        return copy_table(t, t->file.object);
    if (dfx__is_zip(t->file.data, t->file.bytes))
        return dfx__read_torch_zip(t, path);
    if (is_pickle(&t->file))
        return dfx__read_torch_old(t, path);
    if (is_tar(&t->file))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: is a tar archive, as torch wrote before 0.1.10", path);
    return dfx__read_safetensors(t, path);
}

static dfx_status open_file(dfx_tensors **out, const char *path, int in_place)
{
    dfx_tensors *t;
    DFX__TRY(dfx_tensors_new(&t));
    t->in_place = in_place;
    dfx_status status = read_file(t, path);
    if (status)
        dfx_tensors_free(t);
    else
        *out = t;
    return status;
}

dfx_status dfx_tensors_open(dfx_tensors **out, const char *path)
{
    return open_file(out, path, 0);
}

dfx_status dfx__tensors_open_in_place(dfx_tensors **out, const char *path)
{
    return open_file(out, path, 1);
}
