/* unet.c - UNet2DConditionModel (Ronneberger et al. 2015; Rombach et al. 2022). */
#include "model/unet.h"

/* Keys that other UNets of this class use and that have one value here, and those that change
 * nothing. */
static const dfx__config_rule rules[] = {
    { "addition_time_embed_dim", "*" }, /* read where addition_embed_type needs it */
    { "attention_type", "\"default\"" },
    { "dropout", "*" },
    { "dual_cross_attention", "false" },
    { "num_attention_heads", "null" },                /* diffusers refuses others, too */
    { "projection_class_embeddings_input_dim", "*" }, /* likewise */
    { "upcast_attention", "*" },                      /* softmax and sums are in f32 always */
    { NULL, NULL },
};

static const int no_skips[DFX__UNET_LAYERS + 1];

static void load_down(dfx__unet *m, dfx__loader *l, int level)
{
    struct block *b = &m->down[level];
    const struct block_config *c = &m->down_config[level];
    int in = m->channels[level ? level - 1 : 0];
    dfx__enter(l, "down_blocks.%d", level);
    if (dfx__unet_is_k(c->type)) {
        dfx__unet_k_down_load(b, m, l, c, in);
    } else {
        dfx__unet_block_load(b, m, l, c, in, no_skips);
        if (c->has_sampler)
            dfx__unet_down_sampler_load(b, m, l, c->out);
    }
    dfx__leave(l);
}

/* Up block k works at level levels-1-k and takes the skips of that level's down block, but for the
 * last one, which is of the level above. */
static void load_up(dfx__unet *m, dfx__loader *l, int k)
{
    struct block *b = &m->up[k];
    const struct block_config *c = &m->up_config[k];
    int level = m->levels - 1 - k, skip[DFX__UNET_LAYERS + 1];
    int below = m->channels[k ? level + 1 : level], above = m->channels[level ? level - 1 : 0];
    for (int i = 0; i < c->layers; i++)
        skip[i] = i + 1 < c->layers ? c->out : above;
    dfx__enter(l, "up_blocks.%d", k);
    if (dfx__unet_is_k(c->type)) {
        dfx__unet_k_up_load(b, m, l, c, above);
    } else {
        dfx__unet_block_load(b, m, l, c, below, skip);
        if (c->has_sampler)
            dfx__unet_up_sampler_load(b, m, l, c->out);
    }
    dfx__leave(l);
}

static void load_mid(dfx__unet *m, dfx__loader *l)
{
    if (m->mid_config.type == BLOCK_NONE)
        return;
    dfx__enter(l, "mid_block");
    dfx__unet_mid_load(&m->mid, m, l, &m->mid_config);
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    dfx__unet *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    dfx__unet_read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    int first = m->channels[0];
    dfx__conv_load(&m->conv_in, l, "conv_in", m->facts.in_channels, first, m->kernel_in);
    dfx__unet_embed_load(m, l);
    for (int i = 0; i < m->levels; i++)
        load_down(m, l, i);
    load_mid(m, l);
    for (int k = 0; k < m->levels; k++)
        load_up(m, l, k);
    if (m->groups)
        dfx__norm_load(&m->norm_out, l, "conv_norm_out", first, m->groups, m->eps);
    dfx__conv_load(&m->conv_out, l, "conv_out", first, m->facts.out_channels, m->kernel_out);
    return l->status == DFX_OK ? m : NULL;
}

const dfx__model_class dfx__unet_class = { "UNet2DConditionModel", "diffusion_pytorch_model", build,
                                           dfx__unet_forward, NULL };
