/* unet.c - UNet2DConditionModel (Ronneberger et al. 2015; Rombach et al. 2022). */
#include "model/unet.h"

static const dfx__config_rule rules[] = {
    { "act_fn", NULL, "the activation of resnets and of the time embedding" },
    { "addition_embed_type", NULL, "what is added to the time: text_time (SDXL), text, null" },
    { "addition_embed_type_num_heads", NULL, "heads of addition_embed_type text" },
    { "addition_time_embed_dim", NULL, "the width of a size of addition_embed_type text_time" },
    { "attention_head_dim", NULL, "heads of each level's attention, not their width" },
    { "attention_type", "\"default\"", "only default: GLIGEN's gated attention is another" },
    { "block_out_channels", NULL, "channels of each level" },
    { "center_input_sample", NULL, "takes a sample in 0..1 to -1..1" },
    { "class_embed_type", NULL, "how class labels are embedded" },
    { "class_embeddings_concat", NULL, "joins class embeddings to the time instead of adding" },
    { "conv_in_kernel", NULL, "the side of the first convolution" },
    { "conv_out_kernel", NULL, "the side of the last convolution" },
    { "cross_attention_dim", NULL, "the width of the text that is attended to" },
    { "cross_attention_norm", NULL, "the norm of the text in SimpleCrossAttn blocks" },
    { "down_block_types", NULL, "blocks on the way down" },
    { "downsample_padding", NULL, "padding of samplers on the way down" },
    { "dropout", "*", "of training" },
    { "dual_cross_attention", "false", "only false: there is one text" },
    { "encoder_hid_dim", NULL, "the width of a text that is projected to cross_attention_dim" },
    { "encoder_hid_dim_type", NULL, "how it is projected: text_proj" },
    { "flip_sin_to_cos", NULL, "cosines come first in the time embedding" },
    { "freq_shift", NULL, "shifts the frequencies of the time embedding" },
    { "in_channels", NULL, "channels of the sample" },
    { "layers_per_block", NULL, "resnets of each level" },
    { "mid_block_only_cross_attention", NULL, "only_cross_attention of the middle" },
    { "mid_block_scale_factor", NULL, "divides the results of the middle's resnets" },
    { "mid_block_type", NULL, "the block in the middle; null: none" },
    { "norm_eps", NULL, "epsilon of group norms" },
    { "norm_num_groups", NULL, "groups of group norms; null: no norm at the end" },
    { "num_attention_heads", "null", "only null, as in diffusers: see attention_head_dim" },
    { "num_class_embeds", NULL, "how many class ids there are" },
    { "only_cross_attention", NULL, "attention to the text alone" },
    { "out_channels", NULL, "channels of the result" },
    { "projection_class_embeddings_input_dim", NULL,
      "the width of what is projected for the time" },
    { "resnet_out_scale_factor", NULL, "divides the results of resnets" },
    { "resnet_skip_time_act", NULL, "resnets take the time without an activation" },
    { "resnet_time_scale_shift", NULL, "whether the time scales and shifts or is added" },
    { "reverse_transformer_layers_per_block", NULL, "transformer_layers_per_block of the way up" },
    { "sample_size", NULL, "the size of latents where none is asked for" },
    { "time_cond_proj_dim", NULL, "the width of timestep_cond (the guidance of LCM)" },
    { "time_embedding_act_fn", NULL, "an activation at the end of the time embedding" },
    { "time_embedding_dim", NULL, "the width of the time embedding" },
    { "time_embedding_type", NULL, "sinusoids or Fourier features of the time" },
    { "timestep_post_act", NULL, "an activation after the time embedding's layers" },
    { "transformer_layers_per_block", NULL, "layers of each transformer" },
    { "up_block_types", NULL, "blocks on the way up" },
    { "upcast_attention", "*", "softmax and sums are in f32 always" },
    { "use_linear_projection", NULL, "transformers begin and end linear, not as convolutions" },
    { NULL, NULL, NULL },
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
