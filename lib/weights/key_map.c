/* key_map.c - pairs of names of blocks, made from the shape of a model, and pairs of endings. */
#include "weights/key_map.h"

#include "core/memory.h"
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands after a block's name; the table ends with an entry without names. */
struct ending {
    const char *original, *diffusers;
    dfx__key_how how;
    int part;
};

static const struct ending unet_resnet[] = {
    { "in_layers.0", "norm1", DFX__KEY_SAME, 0 },
    { "in_layers.2", "conv1", DFX__KEY_SAME, 0 },
    { "emb_layers.1", "time_emb_proj", DFX__KEY_SAME, 0 },
    { "out_layers.0", "norm2", DFX__KEY_SAME, 0 },
    { "out_layers.3", "conv2", DFX__KEY_SAME, 0 },
    { "skip_connection", "conv_shortcut", DFX__KEY_SAME, 0 },
    { NULL, NULL, DFX__KEY_SAME, 0 },
};

static const struct ending vae_resnet[] = {
    { "norm1", "norm1", DFX__KEY_SAME, 0 },
    { "conv1", "conv1", DFX__KEY_SAME, 0 },
    { "norm2", "norm2", DFX__KEY_SAME, 0 },
    { "conv2", "conv2", DFX__KEY_SAME, 0 },
    { "nin_shortcut", "conv_shortcut", DFX__KEY_SAME, 0 },
    { NULL, NULL, DFX__KEY_SAME, 0 },
};

/* Both spellings: the first that fits is written, and the other's lines are the last five. */
static const struct ending vae_attention[] = {
    { "norm", "group_norm", DFX__KEY_SAME, 0 },
    { "q", "to_q", DFX__KEY_MATRIX, 0 },
    { "k", "to_k", DFX__KEY_MATRIX, 0 },
    { "v", "to_v", DFX__KEY_MATRIX, 0 },
    { "proj_out", "to_out.0", DFX__KEY_MATRIX, 0 },
    { "norm", "group_norm", DFX__KEY_SAME, 0 },
    { "q", "query", DFX__KEY_MATRIX, 0 },
    { "k", "key", DFX__KEY_MATRIX, 0 },
    { "v", "value", DFX__KEY_MATRIX, 0 },
    { "proj_out", "proj_attn", DFX__KEY_MATRIX, 0 },
    { NULL, NULL, DFX__KEY_SAME, 0 },
};
enum { OTHER_VAE_ATTENTION = 5 };

static const struct ending open_clip_block[] = {
    { "ln_1", "layer_norm1", DFX__KEY_SAME, 0 },
    { "ln_2", "layer_norm2", DFX__KEY_SAME, 0 },
    { "mlp.c_fc", "mlp.fc1", DFX__KEY_SAME, 0 },
    { "mlp.c_proj", "mlp.fc2", DFX__KEY_SAME, 0 },
    { "attn.out_proj", "self_attn.out_proj", DFX__KEY_SAME, 0 },
    { "attn.in_proj_weight", "self_attn.q_proj.weight", DFX__KEY_THIRD, 0 },
    { "attn.in_proj_weight", "self_attn.k_proj.weight", DFX__KEY_THIRD, 1 },
    { "attn.in_proj_weight", "self_attn.v_proj.weight", DFX__KEY_THIRD, 2 },
    { "attn.in_proj_bias", "self_attn.q_proj.bias", DFX__KEY_THIRD, 0 },
    { "attn.in_proj_bias", "self_attn.k_proj.bias", DFX__KEY_THIRD, 1 },
    { "attn.in_proj_bias", "self_attn.v_proj.bias", DFX__KEY_THIRD, 2 },
    { NULL, NULL, DFX__KEY_SAME, 0 },
};

/* Two names of a block, or of a tensor. */
struct pair {
    const char *original, *diffusers;
    const struct ending *endings; /* NULL: what follows is the same */
    dfx__key_how how;
    int unused; /* a spelling that is read and not written */
};

struct dfx__key_map {
    dfx__pool pool;
    struct pair *pair; /* sorted by the original's name */
    struct pair **by_diffusers;
    int pairs, room;
    dfx_status status;
};

/* Appends a pair; both names are formats of one argument each. */
static struct pair *add(dfx__key_map *m, const struct ending *endings, const char *original,
                        const char *diffusers)
{
    static struct pair nowhere;
    if (m->pairs == m->room) {
        int room = m->room ? 2 * m->room : 64;
        struct pair *pair = realloc(m->pair, (size_t)room * sizeof *pair);
        if (!pair) {
            m->status = dfx__no_memory();
            return &nowhere;
        }
        m->pair = pair;
        m->room = room;
    }
    if (!original || !diffusers)
        m->status = dfx__no_memory();
    struct pair *p = &m->pair[m->pairs++];
    *p = (struct pair){ original, diffusers, endings, DFX__KEY_SAME, 0 };
    return p;
}

#define NAME(...) dfx__pool_print(&m->pool, __VA_ARGS__)

static void add_unet_down(dfx__key_map *m, const dfx__key_shape *s)
{
    int n = 1; /* input_blocks.0 is conv_in */
    for (int i = 0; i < s->levels; i++) {
        for (int k = 0; k < s->layers; k++, n++) {
            add(m, unet_resnet, NAME("input_blocks.%d.0", n),
                NAME("down_blocks.%d.resnets.%d", i, k));
            add(m, NULL, NAME("input_blocks.%d.1", n), NAME("down_blocks.%d.attentions.%d", i, k));
        }
        if (i + 1 < s->levels)
            add(m, NULL, NAME("input_blocks.%d.0.op", n++),
                NAME("down_blocks.%d.downsamplers.0.conv", i));
    }
}

static void add_unet_up(dfx__key_map *m, const dfx__key_shape *s)
{
    int n = 0;
    for (int i = 0; i < s->levels; i++) {
        int attention = s->attention >> i & 1;
        for (int k = 0; k <= s->layers; k++, n++) {
            add(m, unet_resnet, NAME("output_blocks.%d.0", n),
                NAME("up_blocks.%d.resnets.%d", i, k));
            if (attention)
                add(m, NULL, NAME("output_blocks.%d.1", n),
                    NAME("up_blocks.%d.attentions.%d", i, k));
        }
        if (i + 1 < s->levels)
            add(m, NULL, NAME("output_blocks.%d.%d.conv", n - 1, 1 + attention),
                NAME("up_blocks.%d.upsamplers.0.conv", i));
    }
}

static void add_unet(dfx__key_map *m, const dfx__key_shape *s)
{
    add(m, NULL, "time_embed.0", "time_embedding.linear_1");
    add(m, NULL, "time_embed.2", "time_embedding.linear_2");
    add(m, NULL, "label_emb.0.0", "add_embedding.linear_1");
    add(m, NULL, "label_emb.0.2", "add_embedding.linear_2");
    add(m, NULL, "label_emb.weight", "class_embedding.weight");
    add(m, NULL, "input_blocks.0.0", "conv_in");
    add(m, unet_resnet, "middle_block.0", "mid_block.resnets.0");
    add(m, NULL, "middle_block.1", "mid_block.attentions.0");
    add(m, unet_resnet, "middle_block.2", "mid_block.resnets.1");
    add(m, NULL, "out.0", "conv_norm_out");
    add(m, NULL, "out.2", "conv_out");
    add_unet_down(m, s);
    add_unet_up(m, s);
}

/* Half of an autoencoder; the original numbers the decoder's levels from the largest picture. */
static void add_vae_half(dfx__key_map *m, const dfx__key_shape *s, const char *half, int up)
{
    const char *name = up ? "up" : "down";
    for (int i = 0; i < s->levels; i++) {
        int level = up ? s->levels - 1 - i : i;
        for (int k = 0; k < s->layers + up; k++)
            add(m, vae_resnet, NAME("%s.%s.%d.block.%d", half, name, level, k),
                NAME("%s.%s_blocks.%d.resnets.%d", half, name, i, k));
        add(m, NULL, NAME("%s.%s.%d.%ssample.conv", half, name, level, name),
            NAME("%s.%s_blocks.%d.%ssamplers.0.conv", half, name, i, name));
    }
    for (int k = 0; k < 2; k++)
        add(m, vae_resnet, NAME("%s.mid.block_%d", half, k + 1),
            NAME("%s.mid_block.resnets.%d", half, k));
    add(m, vae_attention + (s->other ? OTHER_VAE_ATTENTION : 0), NAME("%s.mid.attn_1", half),
        NAME("%s.mid_block.attentions.0", half));
    add(m, NULL, NAME("%s.conv_in", half), NAME("%s.conv_in", half));
    add(m, NULL, NAME("%s.norm_out", half), NAME("%s.conv_norm_out", half));
    add(m, NULL, NAME("%s.conv_out", half), NAME("%s.conv_out", half));
}

static void add_vae(dfx__key_map *m, const dfx__key_shape *s)
{
    add_vae_half(m, s, "encoder", 0);
    add_vae_half(m, s, "decoder", 1);
    add(m, NULL, "quant_conv", "quant_conv");
    add(m, NULL, "post_quant_conv", "post_quant_conv");
}

static void add_text(dfx__key_map *m, const dfx__key_shape *s, const struct ending *endings,
                     const char *original, const char *diffusers)
{
    add(m, endings, original, NAME("text_model.%s", diffusers))->unused = s->other;
    add(m, endings, original, diffusers)->unused = !s->other;
}

static void add_clip(dfx__key_map *m, const dfx__key_shape *s)
{
    static const char *const parts[] = { "embeddings", "encoder", "final_layer_norm" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_text(m, s, NULL, NAME("text_model.%s", parts[i]), parts[i]);
}

static void add_open_clip(dfx__key_map *m, const dfx__key_shape *s)
{
    add_text(m, s, NULL, "positional_embedding", "embeddings.position_embedding.weight");
    add_text(m, s, NULL, "token_embedding", "embeddings.token_embedding");
    add_text(m, s, NULL, "ln_final", "final_layer_norm");
    for (int i = 0; i < s->layers; i++)
        add_text(m, s, open_clip_block, NAME("transformer.resblocks.%d", i),
                 NAME("encoder.layers.%d", i));
    add(m, NULL, "text_projection", "text_projection.weight")->how = DFX__KEY_TRANSPOSED;
}

static int compare_originals(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = strcmp(x->original, y->original);
    return order ? order : x->unused - y->unused;
}

static int compare_diffusers(const void *a, const void *b)
{
    return strcmp((*(struct pair *const *)a)->diffusers, (*(struct pair *const *)b)->diffusers);
}

static dfx_status fill(dfx__key_map *m, const dfx__key_shape *s)
{
    int text = s->layout == DFX__LAYOUT_CLIP || s->layout == DFX__LAYOUT_OPEN_CLIP;
    int most = text ? DFX__KEY_DEPTH : DFX__KEY_LAYERS;
    if (s->levels > DFX__KEY_LEVELS || s->layers > most)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%d levels of %d layers: the original layout is known for up to %d of %d",
                         s->levels, s->layers, DFX__KEY_LEVELS, most);
    switch (s->layout) {
    case DFX__LAYOUT_UNET:
        add_unet(m, s);
        break;
    case DFX__LAYOUT_VAE:
        add_vae(m, s);
        break;
    case DFX__LAYOUT_CLIP:
        add_clip(m, s);
        break;
    case DFX__LAYOUT_OPEN_CLIP:
        add_open_clip(m, s);
        break;
    }
    DFX__TRY(m->status);
    m->by_diffusers = dfx__alloc((size_t)m->pairs, sizeof(struct pair *));
    if (!m->by_diffusers)
        return dfx__no_memory();
    qsort(m->pair, (size_t)m->pairs, sizeof *m->pair, compare_originals);
    for (int i = 0; i < m->pairs; i++)
        m->by_diffusers[i] = &m->pair[i];
    qsort(m->by_diffusers, (size_t)m->pairs, sizeof *m->by_diffusers, compare_diffusers);
    return DFX_OK;
}

dfx_status dfx__key_map_new(dfx__key_map **out, const dfx__key_shape *shape)
{
    dfx__key_map *m = calloc(1, sizeof *m);
    if (!m)
        return dfx__no_memory();
    dfx_status status = fill(m, shape);
    if (status != DFX_OK)
        dfx__key_map_free(m);
    else
        *out = m;
    return status;
}

void dfx__key_map_free(dfx__key_map *m)
{
    if (!m)
        return;
    free(m->pair);
    free(m->by_diffusers);
    dfx__pool_free(&m->pool);
    free(m);
}

/* Compares the first n characters of a name with a whole one. */
static int compare_part(const char *name, size_t n, const char *whole)
{
    int order = strncmp(name, whole, n);
    return order ? order : whole[n] ? -1 : 0;
}

/* The first pair of that name, of n characters; NULL when there is none. */
static const struct pair *find(const dfx__key_map *m, const char *name, size_t n, int diffusers)
{
    int low = 0, high = m->pairs;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct pair *p = diffusers ? m->by_diffusers[middle] : &m->pair[middle];
        if (compare_part(name, n, diffusers ? p->diffusers : p->original) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == m->pairs)
        return NULL;
    const struct pair *p = diffusers ? m->by_diffusers[low] : &m->pair[low];
    return compare_part(name, n, diffusers ? p->diffusers : p->original) == 0 ? p : NULL;
}

/* What follows a block's name or an ending, from its dot on; NULL when the text begins otherwise.
 */
static const char *rest_of(const char *text, const char *begin)
{
    size_t n = strlen(begin);
    return strncmp(text, begin, n) == 0 && (!text[n] || text[n] == '.') ? text + n : NULL;
}

/* The translations of one name by a pair; `rest` is what follows the pair's name. */
static int translate(const struct pair *p, const char *rest, int to_original, dfx__key *to)
{
    const char *block = to_original ? p->original : p->diffusers;
    int n = 0;
    if (!p->endings) {
        to[0].how = p->how;
        to[0].part = 0;
        snprintf(to[0].name, sizeof to[0].name, "%s%s", block, rest);
        return 1;
    }
    for (const struct ending *e = p->endings; *rest == '.' && e->original; e++) {
        const char *tail = rest_of(rest + 1, to_original ? e->diffusers : e->original);
        if (!tail || (n && e->how != DFX__KEY_THIRD))
            continue;
        to[n].how = e->how;
        to[n].part = e->part;
        snprintf(to[n].name, sizeof to[n].name, "%s.%s%s", block,
                 to_original ? e->original : e->diffusers, tail);
        n++;
    }
    return n;
}

/* The longest block's name that begins a name. */
static int translate_any(const dfx__key_map *m, const char *name, int to_original, dfx__key *to)
{
    if (strlen(name) >= sizeof to->name / 2)
        return 0;
    for (size_t n = strlen(name);; n--) {
        while (n > 0 && name[n] && name[n] != '.')
            n--;
        if (n == 0)
            return 0;
        const struct pair *p = find(m, name, n, to_original);
        if (p)
            return translate(p, name + n, to_original, to);
    }
}

int dfx__key_to_diffusers(const dfx__key_map *m, const char *original, dfx__key to[3])
{
    return translate_any(m, original, 0, to);
}

int dfx__key_to_original(const dfx__key_map *m, const char *diffusers, dfx__key *to)
{
    return translate_any(m, diffusers, 1, to);
}
