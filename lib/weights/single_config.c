/* single_config.c - published configs, and their sizes from the shapes of a checkpoint's tensors.
 */
#include "weights/single_config.h"

#include "core/status.h"

#include <stdarg.h>
#include <string.h>

static dfx_status read_source(json_object **out, const char *name)
{
    const dfx__config_source *s = dfx__config_sources;
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    if (!s->name)
        return dfx__fail(DFX_ERROR_ARGUMENT, "there are no configs of the name %s", name);
    return dfx__json_parse(out, s->text, strlen(s->text), name);
}

/* Puts the members of a file into one of the base; null takes the file away. */
static dfx_status merge_file(json_object *files, const char *name, json_object *changes)
{
    json_object *file;
    int whole = 1;
    if (!changes) {
        json_object_object_del(files, name);
    } else if (!json_object_object_get_ex(files, name, &file)) {
        whole = dfx__json_put(files, name, json_object_get(changes));
    } else {
        json_object_object_foreach (changes, key, value) {
            whole = whole && dfx__json_put(file, key, json_object_get(value));
        }
    }
    return whole ? DFX_OK : dfx__no_memory();
}

dfx_status dfx__published_configs(json_object **out, const char *name)
{
    json_object *own, *files;
    DFX__TRY(read_source(&own, name));
    const char *base = dfx__json_string(own, "base");
    if (!base) {
        *out = own;
        return DFX_OK;
    }
    dfx_status status = read_source(&files, base);
    if (status == DFX_OK) {
        json_object_object_foreach (own, file, changes) {
            if (status == DFX_OK && strcmp(file, "base") != 0)
                status = merge_file(files, file, changes);
        }
        if (status == DFX_OK)
            *out = files;
        else
            json_object_put(files);
    }
    json_object_put(own);
    return status;
}

/* A component of a file; the first failure stays. */
struct fit {
    json_object *config;
    const dfx_tensors *file;
    const char *prefix;
    dfx_status status;
};

static const dfx_tensor *look_up(const struct fit *f, const char *format, va_list args)
{
    char name[256];
    size_t n = strlen(f->prefix);
    memcpy(name, f->prefix, n);
    vsnprintf(name + n, sizeof name - n, format, args);
    return dfx_tensors_find(f->file, name);
}

static int has(const struct fit *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const dfx_tensor *t = look_up(f, format, args);
    va_end(args);
    return t != NULL;
}

/* A dimension of a tensor that must be there. */
static int size_of(struct fit *f, int axis, const char *format, ...)
{
    char name[200];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const dfx_tensor *t = look_up(f, format, args);
    vsnprintf(name, sizeof name, format, again);
    va_end(again);
    va_end(args);
    if (t && t->spec.rank > axis && t->spec.dim[axis] > 0 && t->spec.dim[axis] <= INT32_MAX)
        return (int)t->spec.dim[axis];
    if (f->status == DFX_OK)
        f->status =
            t ? dfx__fail(DFX_ERROR_FORMAT, "the tensor %s%s has the wrong shape", f->prefix, name)
              : dfx__fail(DFX_ERROR_FORMAT, "the tensor %s%s is missing", f->prefix, name);
    return 1;
}

static void no_memory(struct fit *f)
{
    if (f->status == DFX_OK)
        f->status = dfx__no_memory();
}

static void set(struct fit *f, const char *key, json_object *value)
{
    json_object *old = NULL;
    if (json_object_object_get_ex(f->config, key, &old) && json_object_equal(old, value))
        json_object_put(value);
    else if (!dfx__json_put_new(f->config, key, value))
        no_memory(f);
}

static void set_int(struct fit *f, const char *key, int value)
{
    set(f, key, json_object_new_int(value));
}

static void append(struct fit *f, json_object *list, json_object *value)
{
    if (!dfx__json_append_new(list, value))
        no_memory(f);
}

static json_object *ints(struct fit *f, const int *value, int count)
{
    json_object *list = json_object_new_array();
    for (int i = 0; i < count; i++)
        append(f, list, json_object_new_int(value[i]));
    return list;
}

/* The class of each level: the second one where its bit is set. */
static void set_types(struct fit *f, const char *key, int count, unsigned bits, const char *plain,
                      const char *other)
{
    json_object *list = json_object_new_array();
    for (int i = 0; i < count; i++)
        append(f, list, json_object_new_string(bits >> i & 1 ? other : plain));
    set(f, key, list);
}

/* 32, or what divides all channels where that does not. */
static void set_groups(struct fit *f, const int *channels, int levels)
{
    int groups = 32;
    for (int i = 0; i < levels; i++)
        while (channels[i] % groups)
            groups /= 2;
    set_int(f, "norm_num_groups", groups);
}

/* The number of an input block that begins a level. */
static int first_block(const dfx__key_shape *s, int level)
{
    return 1 + level * (s->layers + 1);
}

static dfx_status find_unet(dfx__key_shape *s, const struct fit *f)
{
    int layers = 0, whole = 1;
    s->levels = 1;
    for (int n = 1; whole; n++)
        if (has(f, "input_blocks.%d.0.op.weight", n)) {
            whole = s->levels == 1 ? layers > 0 : layers == s->layers;
            s->layers = layers;
            s->levels++;
            layers = 0;
        } else if (has(f, "input_blocks.%d.0.in_layers.2.weight", n)) {
            layers++;
        } else {
            break;
        }
    if (s->levels == 1)
        s->layers = layers;
    if (!whole || layers != s->layers || layers == 0)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "the UNet's levels do not have the same number of layers each");
    for (int i = 0; i < s->levels && i < DFX__KEY_LEVELS; i++)
        if (has(f, "output_blocks.%d.1.norm.weight", i * (s->layers + 1)))
            s->attention |= 1u << i;
    return DFX_OK;
}

static int count(const struct fit *f, const char *format, int most)
{
    int n = 0;
    while (n < most && has(f, format, n))
        n++;
    return n;
}

dfx_status dfx__find_blocks(dfx__key_shape *out, dfx__layout layout, const dfx_tensors *file,
                            const char *prefix)
{
    const struct fit f = { .file = file, .prefix = prefix };
    *out = (dfx__key_shape){ .layout = layout };
    switch (layout) {
    case DFX__LAYOUT_UNET:
        return find_unet(out, &f);
    case DFX__LAYOUT_VAE:
        out->levels = count(&f, "encoder.down.%d.block.0.conv1.weight", DFX__KEY_LEVELS);
        out->layers = count(&f, "encoder.down.0.block.%d.conv1.weight", DFX__KEY_LAYERS);
        break;
    case DFX__LAYOUT_CLIP:
        out->layers = count(&f, "text_model.encoder.layers.%d.mlp.fc1.weight", DFX__KEY_DEPTH);
        break;
    case DFX__LAYOUT_OPEN_CLIP:
        out->layers = count(&f, "transformer.resblocks.%d.mlp.c_fc.weight", DFX__KEY_DEPTH);
        break;
    }
    return DFX_OK;
}

/* Layers of the transformers of each level, and of the middle, which are the last level's. */
static void fit_depth(struct fit *f, const dfx__key_shape *s, unsigned down)
{
    int depth[DFX__KEY_LEVELS], differ = 0, middle = 0;
    while (middle < DFX__KEY_DEPTH &&
           has(f, "middle_block.1.transformer_blocks.%d.norm1.weight", middle))
        middle++;
    for (int i = 0; i < s->levels; i++) {
        depth[i] = 0;
        while (down >> i & 1 && depth[i] < DFX__KEY_DEPTH &&
               has(f, "input_blocks.%d.1.transformer_blocks.%d.norm1.weight", first_block(s, i),
                   depth[i]))
            depth[i]++;
        differ |= depth[i] && depth[i] != middle;
    }
    if (differ) {
        for (int i = 0; i < s->levels; i++)
            if (!depth[i])
                depth[i] = i + 1 == s->levels ? middle : 1;
        set(f, "transformer_layers_per_block", ints(f, depth, s->levels));
        if (depth[s->levels - 1] != middle && f->status == DFX_OK)
            f->status = dfx__fail(DFX_ERROR_UNSUPPORTED,
                                  "the UNet's middle block has %d transformer layers and its last "
                                  "level %d",
                                  middle, depth[s->levels - 1]);
    } else if (middle != 1 ||
               json_object_object_get_ex(f->config, "transformer_layers_per_block", NULL)) {
        set_int(f, "transformer_layers_per_block", middle);
    }
}

/* Levels whose first attention looks at the text too, where the published model has such. */
static void fit_only_cross(struct fit *f, const dfx__key_shape *s, const int *channels,
                           unsigned down)
{
    json_object *published = dfx__json_get(f->config, "only_cross_attention", json_type_array);
    if (!published || json_object_array_length(published) == (size_t)s->levels)
        return;
    json_object *list = json_object_new_array();
    for (int i = 0; i < s->levels; i++) {
        int only = down >> i & 1 &&
                   size_of(f, 1, "input_blocks.%d.1.transformer_blocks.0.attn1.to_k.weight",
                           first_block(s, i)) != channels[i];
        append(f, list, json_object_new_boolean(only));
    }
    set(f, "only_cross_attention", list);
}

static void fit_heads(struct fit *f, const int *channels, int levels, int head_width)
{
    int heads[DFX__KEY_LEVELS], all = 8;
    for (int i = 0; i < levels; i++) {
        heads[i] = head_width && channels[i] > head_width ? channels[i] / head_width : 1;
        while (channels[i] % all)
            all /= 2;
    }
    if (head_width)
        set(f, "attention_head_dim", ints(f, heads, levels));
    else
        set_int(f, "attention_head_dim", all);
}

static void fit_added(struct fit *f, const dfx__fit_rules *rules)
{
    if (dfx__json_string(f->config, "addition_embed_type")) {
        int width = size_of(f, 1, "label_emb.0.0.weight");
        set_int(f, "projection_class_embeddings_input_dim", width);
        if (rules->pooled && rules->pooled < width && rules->added_sizes)
            set_int(f, "addition_time_embed_dim", (width - rules->pooled) / rules->added_sizes);
    }
    if (has(f, "label_emb.weight"))
        set_int(f, "num_class_embeds", size_of(f, 0, "label_emb.weight"));
}

static void fit_unet(struct fit *f, const dfx__key_shape *s, const dfx__fit_rules *rules)
{
    int channels[DFX__KEY_LEVELS];
    unsigned down = 0;
    for (int i = 0; i < s->levels; i++) {
        int n = first_block(s, i);
        channels[i] = size_of(f, 0, "input_blocks.%d.0.in_layers.2.weight", n);
        if (has(f, "input_blocks.%d.1.norm.weight", n))
            down |= 1u << i;
    }
    set_int(f, "in_channels", size_of(f, 1, "input_blocks.0.0.weight"));
    set_int(f, "out_channels", size_of(f, 0, "out.2.weight"));
    set_int(f, "layers_per_block", s->layers);
    set(f, "block_out_channels", ints(f, channels, s->levels));
    set_types(f, "down_block_types", s->levels, down, "DownBlock2D", "CrossAttnDownBlock2D");
    set_types(f, "up_block_types", s->levels, s->attention, "UpBlock2D", "CrossAttnUpBlock2D");
    set_int(f, "cross_attention_dim",
            size_of(f, 1, "middle_block.1.transformer_blocks.0.attn2.to_k.weight"));
    set_groups(f, channels, s->levels);
    fit_heads(f, channels, s->levels, rules->head_width);
    fit_depth(f, s, down);
    fit_only_cross(f, s, channels, down);
    fit_added(f, rules);
}

static void fit_vae(struct fit *f, const dfx__key_shape *s)
{
    int channels[DFX__KEY_LEVELS];
    for (int i = 0; i < s->levels; i++)
        channels[i] = size_of(f, 0, "encoder.down.%d.block.0.conv1.weight", i);
    set_int(f, "in_channels", size_of(f, 1, "encoder.conv_in.weight"));
    set_int(f, "out_channels", size_of(f, 0, "decoder.conv_out.weight"));
    set_int(f, "latent_channels", size_of(f, 1, "decoder.conv_in.weight"));
    set_int(f, "layers_per_block", s->layers);
    set(f, "block_out_channels", ints(f, channels, s->levels));
    set_types(f, "down_block_types", s->levels, 0, "DownEncoderBlock2D", NULL);
    set_types(f, "up_block_types", s->levels, 0, "UpDecoderBlock2D", NULL);
    set_groups(f, channels, s->levels);
    if (!has(f, "quant_conv.weight"))
        set(f, "use_quant_conv", json_object_new_boolean(0));
    if (!has(f, "post_quant_conv.weight"))
        set(f, "use_post_quant_conv", json_object_new_boolean(0));
}

static void fit_text(struct fit *f, const dfx__key_shape *s)
{
    static const struct {
        const char *token, *position, *mlp;
    } names[] = {
        { "text_model.embeddings.token_embedding.weight",
          "text_model.embeddings.position_embedding.weight",
          "text_model.encoder.layers.0.mlp.fc1.weight" },
        { "token_embedding.weight", "positional_embedding",
          "transformer.resblocks.0.mlp.c_fc.weight" },
    };
    int open = s->layout == DFX__LAYOUT_OPEN_CLIP;
    int width = size_of(f, 1, "%s", names[open].token);
    json_object *published = dfx__json_get(f->config, "hidden_size", json_type_int);
    if (json_object_get_int(published) != width)
        set_int(f, "num_attention_heads", width > 64 ? width / 64 : 1);
    set_int(f, "hidden_size", width);
    set_int(f, "vocab_size", size_of(f, 0, "%s", names[open].token));
    set_int(f, "max_position_embeddings", size_of(f, 0, "%s", names[open].position));
    set_int(f, "intermediate_size", size_of(f, 0, "%s", names[open].mlp));
    set_int(f, "num_hidden_layers", s->layers);
    json_object *class = dfx__json_get(f->config, "architectures", json_type_array);
    class = class ? json_object_array_get_idx(class, 0) : NULL;
    if (open && class && strcmp(json_object_get_string(class), "CLIPTextModelWithProjection") == 0)
        set_int(f, "projection_dim", size_of(f, 1, "text_projection"));
}

dfx_status dfx__fit_config(json_object *config, const dfx__key_shape *shape,
                           const dfx_tensors *file, const char *prefix, const dfx__fit_rules *rules)
{
    struct fit f = { config, file, prefix, DFX_OK };
    switch (shape->layout) {
    case DFX__LAYOUT_UNET:
        fit_unet(&f, shape, rules);
        break;
    case DFX__LAYOUT_VAE:
        fit_vae(&f, shape);
        break;
    case DFX__LAYOUT_CLIP:
    case DFX__LAYOUT_OPEN_CLIP:
        fit_text(&f, shape);
        break;
    }
    return f.status;
}
