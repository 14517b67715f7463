/* single_view.c - the tensors of one component of a single-file checkpoint, under other names. */
#include "weights/single_file.h"

#include "core/dtype.h"
#include "core/status.h"

#include <string.h>

/* What files have under a component's prefix and Diffusers leaves out too; the endings of names.
 * Stable Diffusion 2 runs its text encoder without the last block. */
static const struct {
    const char *part, *begin;
} left_out[] = {
    { "text_encoder", "transformer.resblocks.23." },
    { "text_encoder", "text_projection" },
    { "text_encoder", "logit_scale" },
    { "text_encoder", "attn_mask" },
    { "text_encoder_2", "logit_scale" },
    { "text_encoder_2", "attn_mask" },
    { "vae", "loss." },
    { "vae", "model_ema." },
};

static int is_left_out(const char *part, const char *name)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (strcmp(left_out[i].part, part) == 0 &&
            strncmp(left_out[i].begin, name, strlen(left_out[i].begin)) == 0)
            return 1;
    return 0;
}

static dfx_status fail_shape(const dfx_tensor *t)
{
    char shape[DFX__SHAPE_TEXT];
    return dfx__fail(DFX_ERROR_FORMAT, "the tensor %s has the wrong shape %s", t->name,
                     dfx__shape_text(shape, t->spec.rank, t->spec.dim));
}

/* [I, O] -> [O, I], the one change that needs a copy. */
static dfx_status transpose(dfx_tensors *to, dfx_tensor *out, const dfx_tensor *from)
{
    if (from->spec.rank != 2)
        return fail_shape(from);
    size_t size = dfx_dtype_size(from->spec.dtype);
    size_t rows = (size_t)from->spec.dim[0], columns = (size_t)from->spec.dim[1];
    unsigned char *data = dfx__pool_alloc(&to->pool, from->bytes);
    const unsigned char *source = from->data;
    if (!data)
        return dfx__no_memory();
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(data + (c * rows + r) * size, source + (r * columns + c) * size, size);
    out->spec.dim[0] = from->spec.dim[1];
    out->spec.dim[1] = from->spec.dim[0];
    out->data = data;
    return DFX_OK;
}

static dfx_status third(dfx_tensor *out, const dfx_tensor *from, int part)
{
    if (from->spec.rank < 1 || from->spec.dim[0] % 3)
        return fail_shape(from);
    out->spec.dim[0] /= 3;
    out->bytes /= 3;
    out->data = (const unsigned char *)from->data + (size_t)part * out->bytes;
    return DFX_OK;
}

/* [O, I, 1, 1] -> [O, I]; a bias stays. */
static dfx_status matrix(dfx_tensor *out, const dfx_tensor *from)
{
    for (int i = 2; i < from->spec.rank; i++)
        if (from->spec.dim[i] != 1)
            return fail_shape(from);
    if (from->spec.rank > 2)
        out->spec.rank = 2;
    return DFX_OK;
}

static dfx_status append(dfx_tensors *to, const dfx_tensor *from, const dfx__key *key)
{
    dfx_tensor *t;
    DFX__TRY(dfx__tensors_append(to, &t, key->name));
    t->spec = from->spec;
    t->data = from->data;
    t->bytes = from->bytes;
    switch (key->how) {
    case DFX__KEY_MATRIX:
        return matrix(t, from);
    case DFX__KEY_THIRD:
        return third(t, from, key->part);
    case DFX__KEY_TRANSPOSED:
        return transpose(to, t, from);
    case DFX__KEY_SAME:
        break;
    }
    return DFX_OK;
}

static dfx_status fill(dfx_tensors *to, const dfx_tensors *file, const char *path,
                       const dfx__single_part *part, const dfx__key_map *keys)
{
    size_t n = strlen(part->prefix);
    dfx__key key[3];
    int unknown = 0;
    const char *first = NULL;
    for (int i = 0; i < file->count; i++) {
        const dfx_tensor *t = file->tensor[i];
        if (strncmp(t->name, part->prefix, n) != 0 || is_left_out(part->name, t->name + n))
            continue;
        int keyed = dfx__key_to_diffusers(keys, t->name + n, key);
        for (int k = 0; k < keyed; k++)
            DFX__TRY(append(to, t, &key[k]));
        if (!keyed && unknown++ == 0)
            first = t->name;
    }
    if (unknown && n) /* without a prefix they may be another component's */
        dfx__log("%s: %d tensor%s not used by %s: %.200s%s", path, unknown,
                 unknown == 1 ? " is" : "s are", part->name, first, unknown > 1 ? " ..." : "");
    return dfx__tensors_sort(to);
}

dfx_status dfx__single_view(dfx_tensors **out, const dfx_tensors *file, const char *path,
                            const dfx__single_part *part, const dfx__key_map *keys)
{
    dfx_tensors *t;
    DFX__TRY(dfx_tensors_new(&t));
    t->keys = keys;
    t->prefix = part->prefix;
    dfx_status status = fill(t, file, path, part, keys);
    if (status != DFX_OK)
        dfx_tensors_free(t);
    else
        *out = t;
    return status;
}
