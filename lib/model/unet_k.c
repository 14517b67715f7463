/* unet_k.c - blocks of k-diffusion's UNets, as of the latent upscaler: resnets and attention on
 * norms that the time scales and shifts (AdaGroupNorm), and filters with [1 3 3 1] between sizes.
 */
#include "model/unet.h"

enum { GROUP = 32 }; /* channels of a norm's group, whatever norm_num_groups says */

/* AdaGroupNorm: a GroupNorm without weights, and what the time makes of it */
struct ada_norm {
    dfx__linear_layer linear;
    int groups;
    float eps;
};

struct k_layer {
    struct ada_norm norm1, norm2; /* of ResnetBlockCondNorm2D */
    dfx__conv conv1, conv2, shortcut;
    struct ada_norm attend_norm1, attend_norm2; /* of KAttentionBlock */
    dfx__attention_layer attend1,
        attend2; /* to itself and to the text; without weights if absent */
    dfx__norm cross_norm;
    dfx__activation *act;
};

/* Channels of a layer: its resnet's convolutions are in -> middle -> out. */
struct widths {
    int in, middle, out, groups2; /* groups2: of norm2 */
};

static void load_norm(struct ada_norm *n, dfx__loader *l, const char *name, int time, int channels,
                      int groups, float eps)
{
    n->groups = groups;
    n->eps = eps;
    dfx__enter(l, "%s", name);
    dfx__linear_load(&n->linear, l, "linear", time, 2 * channels, 1);
    dfx__leave(l);
}

static dfx_value *record_norm(const struct ada_norm *n, const char *name, dfx_value *x,
                              dfx_value *time, dfx__activation *act)
{
    dfx__norm norm = { name, NULL, NULL, n->groups, n->eps };
    dfx__push_in(x, "%s", name);
    dfx_value *by = dfx__linear_record(&n->linear, time);
    dfx__pop_in(x);
    return dfx__norm_act_record(&norm, x, by, act);
}

static void load_resnet(struct k_layer *k, const dfx__unet *m, dfx__loader *l, struct widths w)
{
    int time = m->embed.blocks_width;
    k->act = m->embed.act;
    load_norm(&k->norm1, l, "norm1", time, w.in, w.in / GROUP, m->eps);
    dfx__conv_load(&k->conv1, l, "conv1", w.in, w.middle, 3);
    load_norm(&k->norm2, l, "norm2", time, w.middle, w.groups2, m->eps);
    dfx__conv_load(&k->conv2, l, "conv2", w.middle, w.out, 3);
    if (w.in == w.out)
        return;
    k->shortcut = (dfx__conv){ .name = "conv_shortcut", .options = DFX_CONV2D_DEFAULT };
    k->shortcut.weight = dfx__load(l, "conv_shortcut.weight", 4, (int64_t[]){ w.out, w.in, 1, 1 });
}

static void load_attention(struct k_layer *k, const dfx__unet *m, dfx__loader *l,
                           const struct block_config *c, int channels, int with_self)
{
    int time = m->embed.blocks_width, heads = channels / c->head_dim;
    int groups = channels < GROUP ? 1 : channels / GROUP;
    if (with_self) {
        load_norm(&k->attend_norm1, l, "norm1", time, channels, groups, 1e-5f);
        dfx__enter(l, "attn1");
        dfx__attention_load(&k->attend1, l, channels, channels, heads, 1);
        dfx__leave(l);
    }
    load_norm(&k->attend_norm2, l, "norm2", time, channels, groups, 1e-5f);
    dfx__enter(l, "attn2");
    dfx__norm_load(&k->cross_norm, l, "norm_cross", c->context, 0, 1e-5f);
    dfx__attention_load(&k->attend2, l, channels, c->context, heads, 1);
    dfx__leave(l);
}

static int allocate(struct block *b, dfx__loader *l, const struct block_config *c)
{
    b->type = c->type;
    b->layers = c->layers;
    b->raw_time = 1;
    b->k_sampler = c->has_sampler;
    b->k = dfx__loader_alloc(l, (size_t)c->layers, sizeof *b->k);
    return b->k != NULL;
}

static void load_layer(struct block *b, const dfx__unet *m, dfx__loader *l,
                       const struct block_config *c, int i, struct widths w, int with_self)
{
    dfx__enter(l, "resnets.%d", i);
    load_resnet(&b->k[i], m, l, w);
    dfx__leave(l);
    if (c->type != BLOCK_K_CROSS)
        return;
    dfx__enter(l, "attentions.%d", i);
    load_attention(&b->k[i], m, l, c, w.out, with_self);
    dfx__leave(l);
}

void dfx__unet_k_down_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                           const struct block_config *c, int in)
{
    if (!allocate(b, l, c))
        return;
    for (int i = 0; i < c->layers; i++)
        load_layer(b, m, l, c, i,
                   (struct widths){ i ? c->out : in, c->out, c->out, c->out / GROUP },
                   !c->has_sampler);
}

int dfx__unet_k_is_first(const struct block_config *c, int above, int blocks_width)
{
    return c->type == BLOCK_K_CROSS && above == c->out && c->out == blocks_width;
}

/* The last layer has the channels of the next level: a block with attention gives them by its last
 * convolution, one without by both. */
void dfx__unet_k_up_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                         const struct block_config *c, int above)
{
    int is_first = dfx__unet_k_is_first(c, above, m->embed.blocks_width);
    if (!allocate(b, l, c))
        return;
    for (int i = 0; i < c->layers; i++) {
        struct widths w = { i          ? c->out
                            : is_first ? c->out
                                       : 2 * c->out,
                            c->out, c->out, c->out / GROUP };
        if (i + 1 == c->layers) {
            w.out = above;
            w.middle = c->type == BLOCK_K ? above : c->out;
        }
        load_layer(b, m, l, c, i, w, is_first);
    }
}

static dfx_value *record_resnet(const struct k_layer *k, dfx_value *x, dfx_value *time)
{
    dfx_value *h = record_norm(&k->norm1, "norm1", x, time, k->act);
    h = record_norm(&k->norm2, "norm2", dfx__conv_record(&k->conv1, h), time, k->act);
    dfx_value *add = k->shortcut.weight ? dfx__conv_record(&k->shortcut, x) : x;
    return dfx__conv_then_record(&k->conv2, h, (dfx_epilogue){ .add = add });
}

/* text NULL: to x itself */
static dfx_value *attend(const dfx__attention_layer *a, const char *name, const struct ada_norm *n,
                         const char *norm, dfx_value *x, dfx_value *time, dfx_value *text)
{
    dfx_spec image = *dfx_value_spec(x);
    int64_t tokens[] = { image.dim[0], image.dim[1] * image.dim[2], image.dim[3] };
    dfx_value *h = dfx_reshape(record_norm(n, norm, x, time, NULL), 3, tokens);
    dfx__push_in(x, "%s", name);
    h = dfx__attention_record(a, h, text, dfx_reshape(x, 3, tokens));
    dfx__pop_in(x);
    return dfx_reshape(h, 4, image.dim);
}

dfx_value *dfx__unet_k_layer_record(const struct block *b, int i, dfx_value *x, dfx_value *time,
                                    dfx_value *text)
{
    const struct k_layer *k = &b->k[i];
    dfx__push_in(x, "resnets.%d", i);
    x = record_resnet(k, x, time);
    dfx__pop_in(x);
    if (b->type != BLOCK_K_CROSS)
        return x;
    dfx__push_in(x, "attentions.%d", i);
    if (k->attend1.to_q.weight)
        x = attend(&k->attend1, "attn1", &k->attend_norm1, "norm1", x, time, NULL);
    x = attend(&k->attend2, "attn2", &k->attend_norm2, "norm2", x, time,
               dfx__norm_record(&k->cross_norm, text));
    dfx__pop_in(x);
    return x;
}

dfx_value *dfx__unet_k_down_sampler_record(dfx_value *x)
{
    return dfx_resample(x, &(dfx_resample_options){ DFX_BINOMIAL, 1, 2, 1, 1, 1 });
}

dfx_value *dfx__unet_k_up_sampler_record(dfx_value *x)
{
    return dfx_resample(x, &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 1 });
}
