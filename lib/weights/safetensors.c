/* safetensors.c - named tensors, and the safetensors format: a header's size (8 bytes), a JSON
 * header, the data (https://huggingface.co/docs/safetensors). */
#include "weights/tensors.h"

#include "core/dtype.h"
#include "core/json.h"
#include "core/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 8, MAX_HEADER = 100000000 };

/* The format's names, in the order in which the format's own library writes types: larger
 * alignment first. */
static const struct {
    const char *name;
    dfx_dtype dtype;
} types[] = {
    { "I64", DFX_I64 },   { "F64", DFX_F64 },   { "F32", DFX_F32 }, { "I32", DFX_I32 },
    { "BF16", DFX_BF16 }, { "F16", DFX_F16 },   { "I16", DFX_I16 }, { "I8", DFX_I8 },
    { "U8", DFX_U8 },     { "BOOL", DFX_BOOL },
};
enum { TYPES = sizeof types / sizeof *types };

int dfx__safetensors_order(dfx_dtype dtype)
{
    int i = 0;
    while (types[i].dtype != dtype)
        i++;
    return i;
}

const char *dfx__safetensors_type(dfx_dtype dtype)
{
    return types[dfx__safetensors_order(dtype)].name;
}

/* The index in types; TYPES when there is none. */
static int type_named(const char *name)
{
    int i = 0;
    while (i < TYPES && strcmp(types[i].name, name) != 0)
        i++;
    return i;
}

static dfx_status read_shape(dfx_spec *spec, json_object *shape, const char *name)
{
    size_t rank = json_object_array_length(shape);
    if (rank > DFX_MAX_RANK)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "tensor '%.200s': %zu dimensions, at most %d are read", name, rank,
                         DFX_MAX_RANK);
    spec->rank = (int)rank;
    for (int i = 0; i < spec->rank; i++) {
        json_object *n = json_object_array_get_idx(shape, (size_t)i);
        if (!json_object_is_type(n, json_type_int))
            return dfx__fail(DFX_ERROR_FORMAT, "tensor '%.200s': a dimension is not an integer",
                             name);
        spec->dim[i] = json_object_get_int64(n); /* json-c limits what is larger */
    }
    return DFX_OK;
}

/* Reads the range in the data, which must fit the shape. */
static dfx_status read_range(dfx_tensor *tensor, json_object *range, const unsigned char *data,
                             size_t data_bytes)
{
    json_object *first = json_object_array_get_idx(range, 0);
    json_object *last = json_object_array_get_idx(range, 1);
    if (json_object_array_length(range) != 2 || !json_object_is_type(first, json_type_int) ||
        !json_object_is_type(last, json_type_int))
        return dfx__fail(DFX_ERROR_FORMAT, "tensor '%.200s': data_offsets must be two integers",
                         tensor->name);
    int64_t begin = json_object_get_int64(first), end = json_object_get_int64(last);
    if (begin < 0 || begin > end || (uint64_t)end > data_bytes)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "tensor '%.200s': bytes %" PRId64 " to %" PRId64
                         " are not within the file's %zu bytes of data; is it cut short?",
                         tensor->name, begin, end, data_bytes);
    size_t bytes;
    DFX__TRY(dfx__tensor_bytes(&bytes, &tensor->spec, tensor->name));
    if ((uint64_t)(end - begin) != bytes) {
        char shape[DFX__SHAPE_TEXT];
        dfx__shape_text(shape, tensor->spec.rank, tensor->spec.dim);
        return dfx__fail(DFX_ERROR_FORMAT,
                         "tensor '%.200s': %s of %s needs %zu bytes, data_offsets give %" PRId64,
                         tensor->name, shape, dfx_dtype_name(tensor->spec.dtype), bytes,
                         end - begin);
    }
    tensor->data = data + begin;
    tensor->bytes = bytes;
    return DFX_OK;
}

static dfx_status read_entry(dfx_tensors *t, const char *name, json_object *entry,
                             const unsigned char *data, size_t data_bytes)
{
    const char *type = dfx__json_string(entry, "dtype");
    json_object *shape = dfx__json_get(entry, "shape", json_type_array);
    json_object *range = dfx__json_get(entry, "data_offsets", json_type_array);
    if (!type || !shape || !range)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "tensor '%.200s': dtype, shape or data_offsets is missing or wrong", name);
    int i = type_named(type);
    if (i == TYPES)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "tensor '%.200s': dtype '%.20s' is not read", name,
                         type);
    dfx_tensor *tensor;
    DFX__TRY(dfx__tensors_append(t, &tensor, name));
    tensor->spec.dtype = types[i].dtype;
    DFX__TRY(read_shape(&tensor->spec, shape, name));
    return read_range(tensor, range, data, data_bytes);
}

/* By place in the file; tensors without data before the one that begins there. */
static int compare_places(const void *a, const void *b)
{
    const dfx_tensor *x = *(dfx_tensor *const *)a, *y = *(dfx_tensor *const *)b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    return p != q ? (p > q) - (p < q) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The format allows no overlap and no hole: each byte of data is one tensor's. */
static dfx_status check_cover(const dfx_tensors *t, const unsigned char *data, size_t data_bytes)
{
    const unsigned char *next = data;
    for (int i = 0; i < t->count; i++) {
        const dfx_tensor *tensor = t->tensor[i];
        if ((const unsigned char *)tensor->data < next)
            return dfx__fail(DFX_ERROR_FORMAT, "tensors '%.200s' and '%.200s' overlap",
                             t->tensor[i - 1]->name, tensor->name);
        if ((const unsigned char *)tensor->data > next)
            return dfx__fail(DFX_ERROR_FORMAT, "bytes before tensor '%.200s' belong to no tensor",
                             tensor->name);
        next = (const unsigned char *)tensor->data + tensor->bytes;
    }
    if (next != data + data_bytes)
        return dfx__fail(DFX_ERROR_FORMAT, "%zu bytes after the last tensor belong to none",
                         (size_t)(data + data_bytes - next));
    return DFX_OK;
}

/* Copies what cannot be used where it lies: older files do not pad the header, so that no tensor is
 * aligned. */
static dfx_status align_data(dfx_tensors *t)
{
    for (int i = 0; i < t->count; i++) {
        dfx_tensor *tensor = t->tensor[i];
        size_t size = dfx_dtype_size(tensor->spec.dtype);
        if (dfx__usable_in_place(t, tensor->data, size))
            continue;
        void *copy = dfx__pool_alloc(&t->pool, tensor->bytes);
        if (!copy)
            return dfx__no_memory();
        dfx__copy_elements(copy, tensor->data, tensor->bytes, size);
        tensor->data = copy;
    }
    return DFX_OK;
}

static dfx_status read_entries(dfx_tensors *t, json_object *header, const unsigned char *data,
                               size_t data_bytes)
{
    struct json_object_iterator i = json_object_iter_begin(header),
                                end = json_object_iter_end(header);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        const char *name = json_object_iter_peek_name(&i);
        if (strcmp(name, "__metadata__") != 0)
            DFX__TRY(read_entry(t, name, json_object_iter_peek_value(&i), data, data_bytes));
        else if (json_object_is_type(json_object_iter_peek_value(&i), json_type_object))
            t->metadata = json_object_get(json_object_iter_peek_value(&i));
    }
    DFX__TRY(dfx__tensors_sort(t));
    if (t->count)
        qsort(t->tensor, (size_t)t->count, sizeof *t->tensor, compare_places);
    DFX__TRY(check_cover(t, data, data_bytes));
    return align_data(t);
}

/* The size of the header, which is known to be in the file. */
static dfx_status read_prefix(size_t *out, const dfx__mapped *file, const char *path)
{
    const unsigned char *bytes = file->data;
    if (file->bytes <= PREFIX)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: is no file of tensors: it has %zu bytes", path,
                         file->bytes);
    DFX__TRY(dfx__check_pointer(bytes, file->bytes, path));
    uint64_t size = 0;
    for (int i = PREFIX - 1; i >= 0; i--)
        size = size << 8 | bytes[i];
    if (size == 0 || size > MAX_HEADER || bytes[PREFIX] != '{')
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: is neither a safetensors file nor one of torch.save", path);
    if (size > file->bytes - PREFIX)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "%s: is cut short: its header has %" PRIu64 " bytes, the file %zu", path,
                         size, file->bytes);
    *out = (size_t)size;
    return DFX_OK;
}

dfx_status dfx__read_safetensors(dfx_tensors *t, const char *path)
{
    size_t size = 0;
    DFX__TRY(read_prefix(&size, &t->file, path));
    const char *text = (const char *)t->file.data + PREFIX;
    json_object *header;
    DFX__TRY(dfx__json_parse(&header, text, size, path));
    dfx_status status;
    if (dfx__json_repeats(header, text, size))
        status = dfx__fail(DFX_ERROR_FORMAT, "the header has a name twice");
    else
        status =
            read_entries(t, header, t->file.data + PREFIX + size, t->file.bytes - PREFIX - size);
    json_object_put(header);
    return status ? dfx__fail_in(status, "%s", path) : DFX_OK;
}
