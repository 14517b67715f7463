/* convert.c - what a model that is to be rewritten consists of. */
#include "weights/convert.h"

#include "core/dtype.h"
#include "core/file.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"

#include <stdlib.h>
#include <string.h>

int dfx__is_weight_file(const char *name)
{
    static const char *const ends[] = { ".safetensors", ".bin",  ".ckpt", ".pt", ".pth",
                                        ".msgpack",     ".gguf", ".onnx", ".h5" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (dfx__ends_with(name, ends[i]))
            return 1;
    return strstr(name, ".safetensors.index.") || strstr(name, ".bin.index.");
}

/* Names that are being collected. */
struct names {
    dfx__pool *pool;
    const char **name;
    int count, room, failed;
};

static void add_name(void *user, const char *name)
{
    struct names *n = user;
    if (n->count == n->room) {
        int room = n->room ? 2 * n->room : 32;
        const char **list = dfx__pool_alloc(n->pool, (size_t)room * sizeof *list);
        if (list && n->count)
            memcpy(list, n->name, (size_t)n->count * sizeof *list);
        n->failed |= !list;
        n->name = list ? list : n->name;
        n->room = list ? room : n->room;
    }
    if (n->count < n->room) {
        n->name[n->count] = dfx__pool_copy(n->pool, name);
        n->failed |= !n->name[n->count++];
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

dfx_status dfx__conversion_list(const char *const **out, int *count, dfx__conversion *c,
                                const char *folder)
{
    struct names n = { .pool = &c->pool };
    DFX__TRY(dfx__folder_list(folder, add_name, &n));
    if (n.failed)
        return dfx__no_memory();
    if (n.count)
        qsort(n.name, (size_t)n.count, sizeof *n.name, compare_names);
    *out = n.name;
    *count = n.count;
    return DFX_OK;
}

dfx_status dfx__conversion_weights(dfx__weights **out, const dfx__conversion *c,
                                   const dfx__component *part)
{
    return dfx__weights_open(out, part->folder, part->basename, c->options->from_variant);
}

dfx__written dfx__conversion_tensor(const dfx__conversion *c, const dfx_weight *w)
{
    dfx__written t = { .name = w->name, .spec = w->spec, .from = w->spec.dtype, .parts = 1 };
    t.part[0] = (dfx__written_part){ w->data, dfx__spec_bytes(&w->spec), w->is_mapped };
    if (c->typed && (dfx__dtype_is_float(t.from) || t.from == DFX_F64))
        t.spec.dtype = c->dtype;
    return t;
}

/* diffusers' configs say _class_name; transformers' do not, and have other names of weights. */
static dfx_status read_class(dfx__conversion *c, dfx__component *part)
{
    json_object *config = NULL;
    const char *path = dfx__pool_print(&c->pool, "%s/config.json", part->folder);
    if (!path)
        return dfx__no_memory();
    if (dfx__file_exists(path))
        DFX__TRY(dfx__json_read(&config, path));
    const char *class = dfx__json_class(config);
    part->basename = dfx__json_string(config, "_class_name") ? "diffusion_pytorch_model" : "model";
    part->class = class ? dfx__pool_copy(&c->pool, class) : NULL;
    json_object_put(config);
    return class && !part->class ? dfx__no_memory() : DFX_OK;
}

static dfx_status add_component(dfx__conversion *c, const char *name)
{
    const char *const *names;
    int count, weights = 0;
    if (c->components == DFX__CONVERT_COMPONENTS)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: more than %d components", c->from,
                         DFX__CONVERT_COMPONENTS);
    dfx__component *part = &c->component[c->components++];
    part->name = dfx__pool_copy(&c->pool, name);
    part->folder = *name ? dfx__pool_print(&c->pool, "%s/%s", c->from, name) : c->from;
    if (!part->name || !part->folder)
        return dfx__no_memory();
    DFX__TRY(read_class(c, part));
    DFX__TRY(dfx__conversion_list(&names, &count, c, part->folder));
    for (int i = 0; i < count; i++)
        weights |= dfx__is_weight_file(names[i]);
    if (!weights)
        part->basename = NULL;
    if (part->class && !weights && strncmp(name, "tokenizer", strlen("tokenizer")) != 0)
        return dfx__fail(DFX_ERROR_FILE, "%s: has a config and no weights", part->folder);
    return DFX_OK;
}

/* "unet": ["diffusers", "UNet2DConditionModel"] is a component; [null, null] is none. */
static int is_component(const char *name, json_object *value)
{
    return name[0] != '_' && !strchr(name, '/') && strcmp(name, "..") != 0 &&
           json_object_is_type(value, json_type_array) && json_object_array_length(value) == 2 &&
           json_object_is_type(json_object_array_get_idx(value, 1), json_type_string);
}

static dfx_status read_source(dfx__conversion *c)
{
    const char *index = dfx__pool_print(&c->pool, "%s/model_index.json", c->from);
    const char *config = dfx__pool_print(&c->pool, "%s/config.json", c->from);
    if (!index || !config)
        return dfx__no_memory();
    if (!dfx__file_exists(index)) {
        if (dfx__file_exists(config))
            return add_component(c, "");
        return dfx__fail(DFX_ERROR_FILE,
                         "%s: is no model: it has neither model_index.json nor config.json",
                         c->from);
    }
    DFX__TRY(dfx__json_read(&c->index, index));
    if (!json_object_is_type(c->index, json_type_object))
        return dfx__fail(DFX_ERROR_FORMAT, "%s: is not a JSON object", index);
    json_object_object_foreach (c->index, name, value) {
        if (is_component(name, value)) {
            const char *folder = dfx__pool_print(&c->pool, "%s/%s", c->from, name);
            if (!folder)
                return dfx__no_memory();
            if (!dfx__folder_exists(folder))
                return dfx__fail(DFX_ERROR_FILE,
                                 "%s: there is no such folder, and model_index.json names it",
                                 folder);
            DFX__TRY(add_component(c, name));
        }
    }
    return DFX_OK;
}

static dfx_status check_options(dfx__conversion *c)
{
    const dfx_convert_options *o = c->options;
    if (o->dtype) {
        DFX__TRY(dfx_dtype_parse(&c->dtype, o->dtype));
        if (!dfx__dtype_is_float(c->dtype))
            return dfx__fail(DFX_ERROR_ARGUMENT, "dtype %s: weights are f32, f16 or bf16",
                             o->dtype);
        c->typed = 1;
    }
    if (o->variant && (!*o->variant || strchr(o->variant, '/')))
        return dfx__fail(DFX_ERROR_ARGUMENT, "variant '%s' is no part of a file name", o->variant);
    return DFX_OK;
}

static dfx_status convert(dfx__conversion *c)
{
    int single = dfx__ends_with(c->to, ".safetensors");
    DFX__TRY(check_options(c));
    if (single && (c->options->variant || c->options->shard_size))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "%s: one file has neither shards nor a variant in its name", c->to);
    DFX__TRY(read_source(c));
    return single ? dfx__convert_to_single(c) : dfx__convert_to_folder(c);
}

dfx_status dfx_convert(const char *from, const char *to, const dfx_convert_options *options)
{
    static const dfx_convert_options defaults = DFX_CONVERT_DEFAULT;
    dfx_checkpoint *source;
    DFX__TRY(dfx_checkpoint_open(&source, from));
    dfx__conversion c = { .from = dfx_checkpoint_path(source),
                          .to = to,
                          .options = options ? options : &defaults };
    dfx_status status = convert(&c);
    json_object_put(c.index);
    dfx__pool_free(&c.pool);
    dfx_checkpoint_free(source);
    return status;
}
