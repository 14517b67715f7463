/* unet_block.c - a UNet2DConditionModel's blocks: resnets, what follows each, and samplers. */
#include "model/unet.h"

static int has_resnet_samplers(enum block_type type)
{
    return type == BLOCK_RESNET || type == BLOCK_SIMPLE;
}

static dfx__resnet_config resnet_config(const dfx__unet *m, const struct block_config *c, int in)
{
    return (dfx__resnet_config){
        .in = in,
        .out = c->out,
        .temb = m->embed.blocks_width,
        .groups = c->groups,
        .eps = m->eps,
        .scale_shift = m->scale_shift,
        .out_scale_factor = has_resnet_samplers(c->type) ? m->resnet_scale_factor : 1,
        .act = m->embed.act,
    };
}

static void load_resnet(dfx__resnet *r, dfx__loader *l, int i, const dfx__resnet_config *c)
{
    dfx__enter(l, "resnets.%d", i);
    dfx__resnet_load_as(r, l, c);
    dfx__leave(l);
}

static int allocate(struct block *b, dfx__loader *l, const struct block_config *c, int resnets)
{
    size_t n = (size_t)c->layers;
    b->type = c->type;
    b->layers = c->layers;
    b->resnet = dfx__loader_alloc(l, (size_t)resnets, sizeof *b->resnet);
    if (c->type == BLOCK_CROSS)
        b->transformer = dfx__loader_alloc(l, n, sizeof *b->transformer);
    if (c->type == BLOCK_SELF)
        b->self = dfx__loader_alloc(l, n, sizeof *b->self);
    if (c->type == BLOCK_SIMPLE)
        b->added = dfx__loader_alloc(l, n, sizeof *b->added);
    return l->status == DFX_OK;
}

static void load_attention(struct block *b, const dfx__unet *m, dfx__loader *l,
                           const struct block_config *c, int i)
{
    dfx__enter(l, "attentions.%d", i);
    if (c->type == BLOCK_CROSS)
        dfx__transformer_load(&b->transformer[i], l,
                              &(dfx__transformer_config){ c->out, c->context, c->heads, c->depth[i],
                                                          c->groups, m->use_linear,
                                                          c->only_cross });
    if (c->type == BLOCK_SELF)
        dfx__attention_block_load(
            &b->self[i], l,
            &(dfx__attention_block_config){ c->out, c->head_dim, c->groups, m->eps, 1 });
    if (c->type == BLOCK_SIMPLE)
        dfx__added_attention_load(&b->added[i], l,
                                  &(dfx__added_attention_config){ c->out, c->context, c->head_dim,
                                                                  c->groups, c->only_cross,
                                                                  m->cross_norm });
    dfx__leave(l);
}

void dfx__unet_block_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                          const struct block_config *c, int in, const int *skip)
{
    if (!allocate(b, l, c, c->layers))
        return;
    b->raw_time = has_resnet_samplers(c->type) && m->skip_time_act;
    for (int i = 0; i < c->layers; i++) {
        dfx__resnet_config r = resnet_config(m, c, (i ? c->out : in) + skip[i]);
        load_resnet(&b->resnet[i], l, i, &r);
        load_attention(b, m, l, c, i);
    }
}

void dfx__unet_mid_load(struct block *b, const dfx__unet *m, dfx__loader *l,
                        const struct block_config *c)
{
    struct block_config mid = *c;
    mid.only_cross = c->only_cross && c->type == BLOCK_SIMPLE;
    if (!allocate(b, l, &mid, c->layers + 1))
        return;
    b->raw_time = c->type == BLOCK_SIMPLE && m->skip_time_act;
    for (int i = 0; i <= c->layers; i++) {
        dfx__resnet_config r = resnet_config(m, c, c->out);
        r.out_scale_factor = m->mid_scale_factor;
        load_resnet(&b->resnet[i], l, i, &r);
    }
    for (int i = 0; i < c->layers; i++)
        load_attention(b, m, l, &mid, i);
}

static void load_resnet_sampler(struct block *b, const dfx__unet *m, dfx__loader *l,
                                const char *name, dfx__resnet_size size, int channels, int groups)
{
    struct block_config c = { .type = b->type, .out = channels, .groups = groups };
    dfx__resnet_config r = resnet_config(m, &c, channels);
    r.size = size;
    b->resnet_sampler = dfx__loader_alloc(l, 1, sizeof *b->resnet_sampler);
    if (!b->resnet_sampler)
        return;
    dfx__enter(l, "%s", name);
    dfx__resnet_load_as(b->resnet_sampler, l, &r);
    dfx__leave(l);
}

void dfx__unet_down_sampler_load(struct block *b, const dfx__unet *m, dfx__loader *l, int channels)
{
    int pad = m->down_padding;
    if (has_resnet_samplers(b->type)) {
        load_resnet_sampler(b, m, l, "downsamplers.0", DFX__HALVED, channels, m->groups);
        return;
    }
    dfx__conv_load(&b->sampler, l, "downsamplers.0.conv", channels, channels, 3);
    /* padding 0 means one row and column of zeros at the far side only */
    b->sampler.options = (dfx_conv2d_options){ 2, 1, 1, pad, pad, 1, 1, 0, 0 };
}

void dfx__unet_up_sampler_load(struct block *b, const dfx__unet *m, dfx__loader *l, int channels)
{
    if (has_resnet_samplers(b->type))
        load_resnet_sampler(b, m, l, "upsamplers.0", DFX__DOUBLED, channels, m->groups);
    else
        dfx__conv_load(&b->sampler, l, "upsamplers.0.conv", channels, channels, 3);
}

static dfx_value *time_of(const struct block *b, struct block_time time)
{
    return b->raw_time ? time.raw : time.act;
}

static dfx_value *record_resnet(const struct block *b, int i, dfx_value *x, struct block_time time)
{
    dfx__push_in(x, "resnets.%d", i);
    x = dfx__resnet_record(&b->resnet[i], x, time_of(b, time));
    dfx__pop_in(x);
    return x;
}

static dfx_value *record_attention(const struct block *b, int i, dfx_value *x, dfx_value *text)
{
    dfx_value *path = x;
    dfx__push_in(path, "attentions.%d", i);
    if (b->transformer)
        x = dfx__transformer_record(&b->transformer[i], x, text);
    else if (b->self)
        x = dfx__attention_block_record(&b->self[i], x);
    else if (b->added)
        x = dfx__added_attention_record(&b->added[i], x, text);
    dfx__pop_in(path);
    return x;
}

dfx_value *dfx__unet_layer_record(const struct block *b, int i, dfx_value *x,
                                  struct block_time time, dfx_value *text)
{
    if (b->k)
        return dfx__unet_k_layer_record(b, i, x, time.raw, text);
    return record_attention(b, i, record_resnet(b, i, x, time), text);
}

dfx_value *dfx__unet_mid_record(const struct block *b, dfx_value *x, struct block_time time,
                                dfx_value *text)
{
    if (b->type == BLOCK_NONE)
        return x;
    x = record_resnet(b, 0, x, time);
    for (int i = 0; i < b->layers; i++)
        x = record_resnet(b, i + 1, record_attention(b, i, x, text), time);
    return x;
}

dfx_value *dfx__unet_down_sampler_record(const struct block *b, dfx_value *x,
                                         struct block_time time)
{
    if (b->k_sampler)
        return dfx__unet_k_down_sampler_record(x);
    if (b->resnet_sampler) {
        dfx__push_in(x, "downsamplers.0");
        x = dfx__resnet_record(b->resnet_sampler, x, time_of(b, time));
        dfx__pop_in(x);
    }
    return b->sampler.weight ? dfx__conv_record(&b->sampler, x) : x;
}

dfx_value *dfx__unet_up_sampler_record(const struct block *b, dfx_value *x, struct block_time time,
                                       int64_t height, int64_t width)
{
    if (b->k_sampler)
        return dfx__unet_k_up_sampler_record(x);
    if (b->resnet_sampler) {
        dfx__push_in(x, "upsamplers.0");
        x = dfx__resnet_resized_record(b->resnet_sampler, x, time_of(b, time), height, width);
        dfx__pop_in(x);
    }
    return b->sampler.weight ? dfx__conv_resized_record(&b->sampler, x, height, width) : x;
}
