/* unet_record.c - what a UNet2DConditionModel computes. */
#include "core/dtype.h"
#include "model/unet.h"

dfx__unet_facts dfx__unet_get_facts(const dfx__unet *m)
{
    return m->facts;
}

/* The outputs of the down path that the up path takes, the newest last; NULL where a block of
 * k-diffusion leaves one out. */
struct skips {
    dfx_value *v[DFX__UNET_LEVELS * (DFX__UNET_LAYERS + 1) + 1];
    int n;
};

static dfx_value *down(const struct block *b, int level, dfx_value *x, struct block_time time,
                       dfx_value *text, struct skips *skips)
{
    int has_sampler = b->sampler.weight || b->resnet_sampler;
    int leaves_out = b->type == BLOCK_K_CROSS && !b->k_sampler;
    dfx_value *path = x;
    dfx__push_in(path, "down_blocks.%d", level);
    for (int i = 0; i < b->layers; i++) {
        x = dfx__unet_layer_record(b, i, x, time, text);
        skips->v[skips->n++] = leaves_out ? NULL : x;
    }
    x = dfx__unet_down_sampler_record(b, x, time);
    if (has_sampler)
        skips->v[skips->n++] = x;
    dfx__pop_in(path);
    return x;
}

/* A block of k-diffusion takes the newest of its skips only. */
static dfx_value *up_k(const struct block *b, dfx_value *x, struct block_time time, dfx_value *text,
                       struct skips *skips)
{
    dfx_value *skip = skips->v[skips->n - 1];
    skips->n -= b->layers;
    x = skip ? dfx_concat(x, skip) : x;
    for (int i = 0; i < b->layers; i++)
        x = dfx__unet_layer_record(b, i, x, time, text);
    return dfx__unet_up_sampler_record(b, x, time, 0, 0);
}

/* The result is brought to the size of the next block's first skip: twice, unless a size on the way
 * down was odd. */
static dfx_value *up(const struct block *b, int k, dfx_value *x, struct block_time time,
                     dfx_value *text, struct skips *skips)
{
    dfx_value *path = x;
    dfx__push_in(path, "up_blocks.%d", k);
    if (b->k) {
        x = up_k(b, x, time, text, skips);
    } else {
        for (int i = 0; i < b->layers; i++)
            x = dfx__unet_layer_record(b, i, dfx_concat(x, skips->v[--skips->n]), time, text);
        const dfx_spec *next = dfx_value_spec(skips->n ? skips->v[skips->n - 1] : x);
        x = dfx__unet_up_sampler_record(b, x, time, next->dim[1], next->dim[2]);
    }
    dfx__pop_in(path);
    return x;
}

static dfx_value *finish(const dfx__unet *m, dfx_value *x)
{
    if (m->norm_out.scale)
        x = dfx__norm_act_record(&m->norm_out, x, NULL, m->embed.act);
    return dfx__conv_record(&m->conv_out, x);
}

dfx_value *dfx__unet_record(const dfx__unet *m, const dfx__unet_inputs *in)
{
    struct skips skips = { .n = 0 };
    dfx_value *x = m->center_input ? dfx_scale(in->sample, 2, -1) : in->sample, *path = x;
    dfx_value *text = in->text;
    dfx__push_in(path, "unet");
    struct block_time time = dfx__unet_embed_record(m, in);
    if (m->text_proj.weight)
        text = dfx__linear_record(&m->text_proj, text);
    skips.v[skips.n++] = x = dfx__conv_record(&m->conv_in, x);
    for (int i = 0; i < m->levels; i++)
        x = down(&m->down[i], i, x, time, text, &skips);
    dfx__push_in(path, "mid_block");
    x = dfx__unet_mid_record(&m->mid, x, time, text);
    dfx__pop_in(path);
    for (int k = 0; k < m->levels; k++)
        x = up(&m->up[k], k, x, time, text, &skips);
    x = finish(m, x);
    dfx__pop_in(path);
    return x;
}
