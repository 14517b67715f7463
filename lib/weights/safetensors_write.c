/* safetensors_write.c - writing safetensors files, in another type where that is asked for. */
#include "core/dtype.h"
#include "core/file.h"
#include "core/status.h"
#include "weights/tensors.h"
#include "weights/writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 8, ALIGN = 8, BLOCK = 4096 };

size_t dfx__written_bytes(const dfx__written *t)
{
    return dfx__spec_bytes(&t->spec);
}

/* As the format's own library orders them, so that all are aligned in the file. */
static int compare_for_writing(const void *a, const void *b)
{
    const dfx__written *x = a, *y = b;
    int i = dfx__safetensors_order(x->spec.dtype), j = dfx__safetensors_order(y->spec.dtype);
    return i != j ? i - j : strcmp(x->name, y->name);
}

static void print_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (const char *p = text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if ((unsigned char)*p < ' ')
            fprintf(to, "\\u%04x", *p);
        else
            fputc(*p, to);
    fputc('"', to);
}

static void print_metadata(FILE *to, json_object *metadata)
{
    const char *before = "";
    fputs("\"__metadata__\":{", to);
    json_object_object_foreach (metadata, key, value) {
        fputs(before, to);
        print_string(to, key);
        fputc(':', to);
        print_string(to, json_object_get_string(value));
        before = ",";
    }
    fputc('}', to);
}

static void print_header(FILE *to, const dfx__written *tensor, int count, json_object *metadata)
{
    uint64_t begin = 0;
    fputc('{', to);
    if (metadata)
        print_metadata(to, metadata);
    for (int i = 0; i < count; i++) {
        const dfx_spec *spec = &tensor[i].spec;
        uint64_t end = begin + dfx__written_bytes(&tensor[i]);
        fputs(i || metadata ? "," : "", to);
        print_string(to, tensor[i].name);
        fprintf(to, ":{\"dtype\":\"%s\",\"shape\":[", dfx__safetensors_type(spec->dtype));
        for (int k = 0; k < spec->rank; k++)
            fprintf(to, k ? ",%" PRId64 : "%" PRId64, spec->dim[k]);
        fprintf(to, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
        begin = end;
    }
    fputc('}', to);
}

/* The padded header, of *size bytes, to be freed; NULL when there is no memory. */
static char *make_header(const dfx__written *tensor, int count, json_object *metadata, size_t *size)
{
    char *text = NULL;
    FILE *memory = open_memstream(&text, size);
    if (!memory)
        return NULL;
    print_header(memory, tensor, count, metadata);
    int failed = fflush(memory) != 0;
    for (size_t n = *size; n % ALIGN != 0; n++)
        fputc(' ', memory);
    failed |= ferror(memory);
    if (fclose(memory) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* Elements in the file's byte order, and in the type to be written. */
static void write_elements(FILE *to, const unsigned char *data, size_t bytes, dfx_dtype from,
                           dfx_dtype type)
{
    float numbers[BLOCK];
    unsigned char other[BLOCK * sizeof(double)], block[BLOCK * sizeof(double)];
    size_t size = dfx_dtype_size(from), written = dfx_dtype_size(type), count = bytes / size;
    for (size_t i = 0; i < count; i += BLOCK) {
        size_t n = count - i < BLOCK ? count - i : BLOCK;
        const unsigned char *elements = data + i * size;
        if (from != type) {
            dfx__to_f32(numbers, elements, from, n);
            dfx__from_f32(other, type, numbers, n);
            elements = other;
        }
        dfx__copy_elements(block, elements, n * written, written);
        fwrite(block, 1, n * written, to);
    }
}

static dfx_status write_transposed(FILE *to, const dfx__written *t)
{
    size_t size = dfx_dtype_size(t->from);
    size_t rows = (size_t)t->spec.dim[0], columns = (size_t)t->spec.dim[1];
    const unsigned char *data = t->part[0].data;
    unsigned char *row = dfx__alloc(columns, size);
    if (!row)
        return dfx__no_memory();
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++)
            memcpy(row + c * size, data + (c * rows + r) * size, size);
        write_elements(to, row, columns * size, t->from, t->spec.dtype);
    }
    free(row);
    return DFX_OK;
}

static dfx_status write_tensor(FILE *to, const dfx__written *t)
{
    dfx_status status = DFX_OK;
    if (t->transposed)
        status = write_transposed(to, t);
    for (int i = 0; i < t->parts; i++) {
        if (!t->transposed)
            write_elements(to, t->part[i].data, t->part[i].bytes, t->from, t->spec.dtype);
        if (t->part[i].is_mapped)
            dfx__mapped_release(t->part[i].data, t->part[i].bytes);
    }
    return status;
}

static dfx_status write_tensors(dfx__new_file *file, const dfx__written *tensor, int count,
                                const char *header, size_t size)
{
    for (int i = 0; i < PREFIX; i++)
        fputc((int)((uint64_t)size >> 8 * i & 0xff), file->stream);
    fwrite(header, 1, size, file->stream);
    for (int i = 0; i < count; i++) {
        DFX__TRY(write_tensor(file->stream, &tensor[i]));
        if (ferror(file->stream)) /* which the commit says: a full disk need not be waited for */
            break;
        if (dfx__interrupted())
            return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    }
    return DFX_OK;
}

dfx_status dfx__safetensors_write(const char *path, dfx__written *tensor, int count,
                                  json_object *metadata)
{
    size_t size;
    dfx__new_file file;
    if (count)
        qsort(tensor, (size_t)count, sizeof *tensor, compare_for_writing);
    char *header = make_header(tensor, count, metadata, &size);
    if (!header)
        return dfx__no_memory();
    dfx_status status = dfx__file_create(&file, path);
    if (status == DFX_OK) {
        status = write_tensors(&file, tensor, count, header, size);
        if (status == DFX_OK)
            status = dfx__file_commit(&file);
        else
            dfx__file_abandon(&file);
    }
    free(header);
    return status;
}

dfx_status dfx_tensors_save(const dfx_tensors *t, const char *path)
{
    dfx__written *list = dfx__alloc((size_t)t->count, sizeof *list);
    if (!list)
        return dfx__no_memory();
    for (int i = 0; i < t->count; i++) {
        const dfx_tensor *x = t->tensor[i];
        list[i] = (dfx__written){ .name = x->name, .spec = x->spec, .from = x->spec.dtype };
        list[i].part[0] = (dfx__written_part){ x->data, x->bytes, 0 };
        list[i].parts = 1;
    }
    dfx_status status = dfx__safetensors_write(path, list, t->count, NULL);
    free(list);
    return status;
}
