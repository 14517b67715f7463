/* test_pickle.c - files that torch.save wrote: every tensor, and what is refused. */
#include "tensors_test.h"

#include "core/dtype.h"
#include "weights/tensors.h"

#include <unistd.h>

/* A file of tests/data/checkpoints. */
static const char *checkpoint(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "checkpoints/%s", name);
    return data(path);
}

/* Whether a set has just the tensors of another, which come in any order. */
static int same(const dfx_tensors *got, const dfx_tensors *wanted, int aligned)
{
    for (int i = 0; i < dfx_tensors_count(wanted); i++) {
        const dfx_tensor *w = dfx_tensors_at(wanted, i), *g = dfx_tensors_find(got, w->name);
        if (!g || memcmp(&g->spec, &w->spec, sizeof w->spec) != 0 || g->bytes != w->bytes ||
            (w->bytes && memcmp(g->data, w->data, w->bytes) != 0) ||
            (aligned && w->bytes && (uintptr_t)g->data % dfx_dtype_size(w->spec.dtype) != 0)) {
            printf("# %s\n", w->name);
            return 0;
        }
    }
    return dfx_tensors_count(got) == dfx_tensors_count(wanted);
}

static void test_good(void)
{
    static const char *const files[] = { "plain.bin",       "deflated.pt", "lightning2.ckpt",
                                         "lightning5.ckpt", "old.ckpt",    "command.ckpt" };
    dfx_tensors *wanted, *got;
    if (dfx_tensors_open(&wanted, checkpoint("expected.safetensors")) != DFX_OK)
        exit(99);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (int in_place = 0; in_place < 2; in_place++) {
            dfx_status status = in_place ? dfx__tensors_open_in_place(&got, checkpoint(files[i]))
                                         : dfx_tensors_open(&got, checkpoint(files[i]));
            if (!ok(status == DFX_OK && same(got, wanted, !in_place), "%s%s", files[i],
                    in_place ? " in place" : ""))
                printf("# %s\n", dfx_error());
            if (status == DFX_OK)
                dfx_tensors_free(got);
        }
    ok(access("dfx-pickle-was-run", F_OK) != 0, "no command in a pickle was run");
    dfx_tensors_free(wanted);
}

static int is_mapped(const dfx_tensors *t, const char *name)
{
    return dfx__tensor_is_mapped(t, dfx_tensors_find(t, name));
}

static void test_places(void)
{
    dfx_tensors *t;
    if (dfx_tensors_open(&t, checkpoint("plain.bin")) != DFX_OK)
        exit(99);
    ok(is_mapped(t, "block.weight") && is_mapped(t, "types.bfloat16") &&
           is_mapped(t, "position_ids"),
       "tensors stay in the file");
    const dfx_tensor *a = dfx_tensors_find(t, "block.weight"), *b = dfx_tensors_find(t, "tied");
    const dfx_tensor *part = dfx_tensors_find(t, "part");
    ok(a->data == b->data && (const float *)part->data == (const float *)a->data + 5,
       "tensors share a storage");
    ok(!is_mapped(t, "transposed") && !is_mapped(t, "every_second") &&
           !is_mapped(t, "channels_last"),
       "what is in another order is copied");
    dfx_tensors_free(t);
    if (dfx__tensors_open_in_place(&t, checkpoint("old.ckpt")) != DFX_OK)
        exit(99);
    ok(is_mapped(t, "block.weight") && is_mapped(t, "types.float64"),
       "so do tensors of old files, which are not aligned");
    dfx_tensors_free(t);
    if (ok(dfx_tensors_open(&t, checkpoint("nested.pth")) == DFX_OK, "dicts in dicts")) {
        ok(dfx_tensors_count(t) == 1 && dfx_tensors_find(t, "model.a.b"), "their keys in one name");
        dfx_tensors_free(t);
    }
}

/* tests/data/checkpoints/bad/README says what is wrong in each. */
static void test_bad(void)
{
    static const struct {
        const char *name, *message;
    } bad[] = {
        { "pickle_empty", "byte 0 of the pickle: it ends too early" },
        { "pickle_cut", "byte 93 of the pickle: it ends too early" },
        { "pickle_newer", "newer than 5" },
        { "pickle_operation", "operation 0xff" },
        { "pickle_text", "operation 0x53" },
        { "pickle_stack", "the stack is empty" },
        { "pickle_mark", "no mark on the stack" },
        { "pickle_pairs", "a dict's key has no value" },
        { "pickle_item", "no container" },
        { "pickle_memo", "takes from the memo what is not there" },
        { "pickle_far", "a place in the memo is too far" },
        { "pickle_long", "ends too early" },
        { "pickle_itself", "its dicts hold each other" },
        { "pickle_laughs", "its dicts hold each other" },
        { "command", "an object of os.system" },
        { "command_storage", "tensor 'a': it has no storage" },
        { "command_tensor", "tensor 'a' is made by evil.rebuild, which is never called" },
        { "module", "an object of torch.nn.modules.linear.Linear" },
        { "list", "an object of class list" },
        { "sparse", "made by torch._utils._rebuild_sparse_tensor" },
        { "type", "tensor 'a': its type torch.ComplexFloatStorage is not read" },
        { "rank", "tensor 'a': it has 6 dimensions" },
        { "shape_large", "tensor 'a': its shape is too large" },
        { "shape_huge", "tensor 'a': its shape, strides or offset are wrong" },
        { "shape_negative", "tensor 'a': its shape, strides or offset are wrong" },
        { "shape_beyond", "tensor 'a': it goes beyond its storage" },
        { "stride_count", "tensor 'a': its shape, strides or offset are wrong" },
        { "stride_beyond", "tensor 'a': it goes beyond its storage" },
        { "offset_beyond", "tensor 'a': it goes beyond its storage" },
        { "offset_huge", "tensor 'a': its shape, strides or offset are wrong" },
        { "offset_negative", "tensor 'a': its shape, strides or offset are wrong" },
        { "expanded", "tensor 'a': it is expanded" },
        { "copies", "tensor 't4': too many tensors share" },
        { "storage_missing", "tensor 'a': its storage '1' is not in the file" },
        { "storage_short", "tensor 'a': it goes beyond its storage" },
        { "storage_count", "tensor 'a': it goes beyond its storage" },
        { "name_zero", "has a zero byte" },
        { "name_surrogate", "is not UTF-8" },
        { "name_long", "is too long" },
        { "name_twice", "tensor 'a.b' is there twice" },
        { "big_endian", "big-endian" },
        { "script", "TorchScript" },
        { "no_pickle", "not of torch.save" },
        { "zip_cut", "the archive has no directory" },
        { "zip_empty", "not of torch.save" },
        { "zip_directory", "the archive's directory is not within it" },
        { "zip_record", "record 0 of the archive's directory is broken" },
        { "zip_method", "packed by method 12" },
        { "zip_encrypted", "'x/data.pkl' is encrypted" },
        { "zip_place", "is not where the directory says" },
        { "zip_name", "has another name where it lies" },
        { "zip_beyond", "goes on beyond the archive's data" },
        { "zip_sizes", "cannot have 1073741824 bytes" },
        { "zip_ratio", "cannot have 1073741824 bytes" },
        { "zip_larger", "'x/data.pkl' is damaged" },
        { "zip_damaged", "'x/data.pkl' is damaged" },
        { "zip_twice", "'x/data/0' is there twice" },
        { "zip_overlap", "'x/data/1' and 'x/data/0' overlap" },
        { "old_not", "a pickle, but not of torch.save" },
        { "old_big_endian", "big-endian" },
        { "old_cut", "storage '0' goes beyond the file" },
        { "old_large", "storage '0' goes beyond the file" },
        { "old_keys", "it has no list of storages" },
        { "old_type", "the type of storage '9'" },
        { "old_twice", "storage '0' is there twice" },
        { "tar", "a tar archive" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char name[64];
        snprintf(name, sizeof name, "bad/%s.pt", bad[i].name);
        refuses_file(checkpoint(name), name, bad[i].message);
    }
    ok(access("dfx-pickle-was-run", F_OK) != 0, "no command in a pickle was run");
}

int main(void)
{
    test_good();
    test_places();
    test_bad();
    return done();
}
