/* test_safetensors.c - safetensors files: good and bad ones, written and read again. */
#include "folder_test.h"
#include "tensors_test.h"

#include "dfxcl/tensors.h"

#include <unistd.h>

static int is(const dfx_tensors *t, const char *name, dfx_dtype dtype, int rank, const int64_t *dim,
              const void *want, size_t bytes)
{
    const dfx_tensor *x = dfx_tensors_find(t, name);
    return x && strcmp(x->name, name) == 0 && x->spec.dtype == dtype && x->spec.rank == rank &&
           (rank == 0 || memcmp(x->spec.dim, dim, (size_t)rank * sizeof *dim) == 0) &&
           x->bytes == bytes && (uintptr_t)x->data % dfx_dtype_size(dtype) == 0 &&
           (bytes == 0 || memcmp(x->data, want, bytes) == 0);
}

#define IS(t, name, dtype, rank, dim, type, ...)                                                   \
    ok(is(t, name, dtype, rank, dim, (const type[]){ __VA_ARGS__ },                                \
          sizeof((const type[]){ __VA_ARGS__ })),                                                  \
       "tensor %s", name)

/* What tests/gen/good_safetensors.py made. */
static void test_good(const char *path)
{
    static const int64_t matrix[] = { 2, 3 }, row[] = { 3 }, empty[] = { 0, 4 };
    static const int64_t five[] = { 1, 2, 1, 3, 2 }, one[] = { 1 };
    const int64_t n = INT64_C(1) << 33;
    dfx_tensors *t;
    if (!ok(dfx_tensors_open(&t, path) == DFX_OK, "%s", path)) {
        printf("# %s\n", dfx_error());
        return;
    }
    ok(dfx_tensors_count(t) == 14, "14 tensors");
    IS(t, "f32", DFX_F32, 2, matrix, float, 0, .5f, 1, -.5f, -1, -1.5f);
    IS(t, "f16", DFX_F16, 2, matrix, uint16_t, 0, 0x3800, 0x3c00, 0xb800, 0xbc00, 0xbe00);
    IS(t, "bf16", DFX_BF16, 2, matrix, uint16_t, 0, 0x3f00, 0x3f80, 0xbf00, 0xbf80, 0xbfc0);
    IS(t, "f64", DFX_F64, 2, matrix, double, 0, .5, 1, -.5, -1, -1.5);
    IS(t, "i64", DFX_I64, 2, matrix, int64_t, 0, n, 2 * n, -n, -2 * n, -3 * n);
    IS(t, "i32", DFX_I32, 2, matrix, int32_t, 0, 131072, 262144, -131072, -262144, -393216);
    IS(t, "i16", DFX_I16, 2, matrix, int16_t, 0, 512, 1024, -512, -1024, -1536);
    IS(t, "i8", DFX_I8, 2, matrix, int8_t, 0, 1, 2, -1, -2, -3);
    IS(t, "u8", DFX_U8, 1, row, uint8_t, 0, 128, 255);
    IS(t, "bool", DFX_BOOL, 1, row, uint8_t, 1, 0, 1);
    IS(t, "scalar", DFX_F32, 0, NULL, float, 7);
    IS(t, "rank5", DFX_F32, 5, five, float, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    IS(t, "quote\"\\\303\251", DFX_F32, 1, one, float, 1);
    ok(is(t, "empty", DFX_F32, 2, empty, NULL, 0), "a tensor without elements");
    ok(!dfx_tensors_find(t, "f3") && !dfx_tensors_find(t, "__metadata__"),
       "names that are not there");
    ok(!dfx_tensors_at(t, -1) && !dfx_tensors_at(t, 14), "indices beyond the ends");
    dfx_tensors_free(t);
}

static int same_files(const char *a, const char *b)
{
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    int same = x && y, c = 0;
    while (same && c != EOF)
        same = (c = getc(x)) == getc(y);
    if (x)
        fclose(x);
    if (y)
        fclose(y);
    return same;
}

/* A file that safetensors wrote comes out byte for byte. */
static void test_save(void)
{
    dfx_tensors *from, *to;
    const char *path = in_folder("out.safetensors");
    if (dfx_tensors_open(&from, data("odd_header.safetensors")) || dfx_tensors_new(&to))
        exit(99);
    int status = DFX_OK;
    for (int i = dfx_tensors_count(from) - 1; i >= 0 && status == DFX_OK; i--) {
        const dfx_tensor *x = dfx_tensors_at(from, i);
        status = dfx_tensors_add(to, x->name, &x->spec, x->data);
    }
    ok(status == DFX_OK, "tensors are added");
    dfx_tensors_free(from);
    ok(dfx_tensors_save(to, path) == DFX_OK, "tensors are saved");
    ok(same_files(path, data("dtypes.safetensors")), "as safetensors itself writes them");
    test_good(path);
    dfx_tensors_free(to);
}

static void test_add(void)
{
    dfx_tensors *t;
    const dfx_spec spec = { DFX_F32, 1, { 2 } }, negative = { DFX_F32, 1, { -1 } };
    const dfx_spec large = { DFX_F32, 3, { 0, INT64_MAX, 2 } }, deep = { DFX_F32, 6, { 1 } };
    const float x[] = { 1, 2 };
    char name[16];
    if (dfx_tensors_new(&t))
        exit(99);
    ok(dfx_tensors_count(t) == 0 && !dfx_tensors_find(t, "a"), "an empty set");
    ok(dfx_tensors_save(t, in_folder("none.safetensors")) == DFX_OK, "an empty set is saved");
    int added = 0, found = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i * 7919 % 1000);
        added += dfx_tensors_add(t, name, &spec, x) == DFX_OK;
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i);
        found += is(t, name, DFX_F32, 1, spec.dim, x, sizeof x);
    }
    ok(added == 1000 && found == 1000, "1000 tensors in any order");
    ok(dfx_tensors_add(t, "7", &spec, x) == DFX_ERROR_ARGUMENT, "a name that is taken");
    ok(dfx_tensors_add(t, "__metadata__", &spec, x) == DFX_ERROR_ARGUMENT, "the metadata's name");
    ok(dfx_tensors_add(t, "n", &negative, x) == DFX_ERROR_ARGUMENT, "a negative dimension");
    ok(dfx_tensors_add(t, "n", &large, x) == DFX_ERROR_ARGUMENT, "dimensions that overflow");
    ok(dfx_tensors_add(t, "n", &deep, x) == DFX_ERROR_ARGUMENT, "too many dimensions");
    ok(dfx_tensors_count(t) == 1000, "nothing of it was added");
    ok(dfx_tensors_save(t, in_folder("no/x")) == DFX_ERROR_FILE, "saving into no folder");
    dfx_tensors_free(t);
    ok(dfx_tensors_open(&t, in_folder("none.safetensors")) == DFX_OK && dfx_tensors_count(t) == 0,
       "the empty set is read");
    dfx_tensors_free(t);
    dfx_tensors_free(NULL);
}

/* tests/data/bad/README says what is wrong in each. */
static void test_bad(void)
{
    static const struct {
        const char *name, *message;
    } bad[] = {
        { "empty", "it has 0 bytes" },
        { "prefix_short", "it has 5 bytes" },
        { "prefix_only", "it has 8 bytes" },
        { "header_zero", "is neither a safetensors file" },
        { "header_huge", "is neither a safetensors file" },
        { "header_cut", "is cut short" },
        { "header_short", ":1: the text ends too early" },
        { "header_array", "is neither a safetensors file" },
        { "lfs_pointer", "is a Git LFS pointer" },
        { "conflict", ":2: a merge conflict" },
        { "json_deep", ":1: nesting too deep" },
        { "json_comma", ":1: a value is missing" },
        { "json_tail", ":1: more text follows" },
        { "json_string", ":1: the text ends within a string" },
        { "not_utf8", ":1: invalid utf-8" },
        { "entry_number", "'a': dtype, shape or data_offsets is missing" },
        { "dtype_missing", "'a': dtype, shape or data_offsets is missing" },
        { "dtype_unknown", "'a': dtype 'F33' is not read" },
        { "dtype_complex", "'a': dtype 'C64' is not read" },
        { "rank", "'a': 6 dimensions" },
        { "shape_bytes", "'a': [3] of f32 needs 12 bytes, data_offsets give 8" },
        { "shape_negative", "'a': a dimension is -1" },
        { "shape_float", "'a': a dimension is not an integer" },
        { "shape_overflow", "'a': its shape is too large" },
        { "shape_hidden", "'a': its shape is too large" },
        { "shape_large", "'a': [9223372036854775807] of u8 needs" },
        { "offset_one", "'a': data_offsets must be two integers" },
        { "offset_negative", "'a': bytes -8 to 0 are not within" },
        { "offset_reversed", "'a': bytes 8 to 0 are not within" },
        { "offset_beyond", "'a': bytes 0 to 8 are not within the file's 7 bytes" },
        { "offset_large", "'a': bytes 9223372036854775807 to" },
        { "overlap", "tensors 'a' and 'b' overlap" },
        { "hole", "bytes before tensor 'b' belong to no tensor" },
        { "tail", "4 bytes after the last tensor" },
        { "name_twice", "the header has a name twice" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char name[64];
        snprintf(name, sizeof name, "bad/%s.safetensors", bad[i].name);
        refuses_file(data(name), name, bad[i].message);
    }
    dfx_tensors *t;
    ok(dfx_tensors_open(&t, data("bad/rank.safetensors")) == DFX_ERROR_UNSUPPORTED &&
           dfx_tensors_open(&t, data("bad/dtype_complex.safetensors")) == DFX_ERROR_UNSUPPORTED &&
           dfx_tensors_open(&t, data("bad/hole.safetensors")) == DFX_ERROR_FORMAT &&
           dfx_tensors_open(&t, data("bad/absent.safetensors")) == DFX_ERROR_FILE,
       "the status of bad files");
}

int main(void)
{
    make_folder("safetensors");
    test_good(data("dtypes.safetensors"));
    test_good(data("odd_header.safetensors"));
    test_save();
    test_add();
    test_bad();
    unlink(in_folder("out.safetensors"));
    unlink(in_folder("none.safetensors"));
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
