/* tensors.c - the set of named tensors: adding and finding. */
#include "weights/tensors.h"

#include "core/json.h"
#include "core/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

dfx_status dfx_tensors_new(dfx_tensors **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? DFX_OK : dfx__no_memory();
}

void dfx_tensors_free(dfx_tensors *t)
{
    if (!t)
        return;
    json_object_put(t->metadata);
    dfx__unmap_file(&t->file);
    dfx__pool_free(&t->pool);
    free(t->tensor);
    free(t->by_name);
    free(t);
}

int dfx_tensors_count(const dfx_tensors *t)
{
    return t->count;
}

const dfx_tensor *dfx_tensors_at(const dfx_tensors *t, int index)
{
    return index >= 0 && index < t->count ? t->tensor[index] : NULL;
}

int dfx__tensor_is_mapped(const dfx_tensors *t, const dfx_tensor *tensor)
{
    uintptr_t data = (uintptr_t)tensor->data, begin = (uintptr_t)t->file.data;
    return t->file.in_file && data >= begin && data - begin < t->file.bytes;
}

static int little_endian(void)
{
    const uint16_t one = 1;
    return *(const unsigned char *)&one;
}

void dfx__copy_elements(void *to, const void *from, size_t bytes, size_t size)
{
    if (little_endian()) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)to)[i] =
            ((const unsigned char *)from)[i / size * size + size - 1 - i % size];
}

int dfx__usable_in_place(const dfx_tensors *t, const void *data, size_t size)
{
    return size == 1 || (little_endian() && (t->in_place || (uintptr_t)data % size == 0));
}

/* The first place in by_name whose name is not before `name`. */
static int place(const dfx_tensors *t, const char *name)
{
    int low = 0, high = t->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(t->by_name[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const dfx_tensor *dfx_tensors_find(const dfx_tensors *t, const char *name)
{
    int i = place(t, name);
    return i < t->count && strcmp(t->by_name[i]->name, name) == 0 ? t->by_name[i] : NULL;
}

static dfx_status grow(dfx_tensors *t)
{
    if (t->room > INT32_MAX / 2)
        return dfx__no_memory();
    int room = t->room ? 2 * t->room : 64;
    dfx_tensor **tensor = realloc(t->tensor, (size_t)room * sizeof(dfx_tensor *));
    if (!tensor)
        return dfx__no_memory();
    t->tensor = tensor;
    dfx_tensor **by_name = realloc(t->by_name, (size_t)room * sizeof(dfx_tensor *));
    if (!by_name)
        return dfx__no_memory();
    t->by_name = by_name;
    t->room = room;
    return DFX_OK;
}

dfx_status dfx__tensors_append(dfx_tensors *t, dfx_tensor **out, const char *name)
{
    if (t->count == t->room)
        DFX__TRY(grow(t));
    dfx_tensor *tensor = dfx__pool_alloc(&t->pool, sizeof *tensor);
    const char *copy = dfx__pool_copy(&t->pool, name);
    if (!tensor || !copy)
        return dfx__no_memory();
    tensor->name = copy;
    t->by_name[t->count] = tensor;
    t->tensor[t->count++] = tensor;
    *out = tensor;
    return DFX_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(dfx_tensor *const *)a)->name, (*(dfx_tensor *const *)b)->name);
}

dfx_status dfx__tensors_sort(dfx_tensors *t)
{
    if (t->count)
        qsort(t->by_name, (size_t)t->count, sizeof *t->by_name, compare_names);
    for (int i = 1; i < t->count; i++)
        if (strcmp(t->by_name[i - 1]->name, t->by_name[i]->name) == 0)
            return dfx__fail(DFX_ERROR_FORMAT, "tensor '%.200s' is there twice",
                             t->by_name[i]->name);
    return DFX_OK;
}

dfx_status dfx__tensor_bytes(size_t *out, const dfx_spec *spec, const char *name)
{
    uint64_t all = dfx_dtype_size(spec->dtype);
    int empty = 0;
    for (int i = 0; i < spec->rank; i++) {
        int64_t n = spec->dim[i];
        if (n < 0)
            return dfx__fail(DFX_ERROR_FORMAT, "tensor '%.200s': a dimension is %" PRId64, name, n);
        if (n == 0)
            empty = 1;
        else if (all > PTRDIFF_MAX / (uint64_t)n)
            return dfx__fail(DFX_ERROR_FORMAT, "tensor '%.200s': its shape is too large", name);
        else
            all *= (uint64_t)n;
    }
    *out = empty ? 0 : (size_t)all;
    return DFX_OK;
}

static dfx_status check_new(size_t *bytes, const dfx_tensors *t, const char *name,
                            const dfx_spec *spec)
{
    if (dfx_tensors_find(t, name))
        return dfx__fail(DFX_ERROR_ARGUMENT, "tensor '%.200s' is there already", name);
    if (strcmp(name, "__metadata__") == 0)
        return dfx__fail(DFX_ERROR_ARGUMENT, "no tensor can have the name '__metadata__'");
    if (spec->rank < 0 || spec->rank > DFX_MAX_RANK)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "tensor '%.200s': %d dimensions, at most %d are possible", name,
                         spec->rank, DFX_MAX_RANK);
    return dfx__tensor_bytes(bytes, spec, name) ? DFX_ERROR_ARGUMENT : DFX_OK;
}

dfx_status dfx_tensors_add(dfx_tensors *t, const char *name, const dfx_spec *spec, const void *data)
{
    size_t bytes = 0;
    DFX__TRY(check_new(&bytes, t, name, spec));
    void *copy = dfx__pool_alloc(&t->pool, bytes);
    if (!copy)
        return dfx__no_memory();
    if (bytes)
        memcpy(copy, data, bytes);
    int i = place(t, name);
    dfx_tensor *tensor;
    DFX__TRY(dfx__tensors_append(t, &tensor, name));
    tensor->spec = *spec;
    tensor->data = copy;
    tensor->bytes = bytes;
    memmove(t->by_name + i + 1, t->by_name + i, (size_t)(t->count - 1 - i) * sizeof *t->by_name);
    t->by_name[i] = tensor;
    return DFX_OK;
}
