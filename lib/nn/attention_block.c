/* attention_block.c - self-attention over the pixels of an image. */
#include "nn/attention_block.h"

#include <math.h>
#include <stdio.h>

static void load_projection(dfx__linear_layer *to, dfx__loader *l, const char *name,
                            const char *old, int in, int out)
{
    char weight[32];
    snprintf(weight, sizeof weight, "%s.weight", old);
    dfx__linear_load(to, l, dfx__loader_has(l, weight) ? old : name, in, out, 1);
}

void dfx__attention_block_load(dfx__attention_block *m, dfx__loader *l,
                               const dfx__attention_block_config *c)
{
    int head_dim = c->head_dim ? c->head_dim : c->channels, channels = c->channels;
    m->heads = channels / head_dim;
    m->scale = 1 / sqrtf((float)head_dim);
    m->out_scale = c->out_scale_factor != 0 ? 1 / c->out_scale_factor : 1;
    int inner = m->heads * head_dim; /* fewer than channels where head_dim does not divide them */
    if (c->groups)
        dfx__norm_load(&m->norm, l, "group_norm", channels, c->groups, c->eps);
    load_projection(&m->to_q, l, "to_q", "query", channels, inner);
    load_projection(&m->to_k, l, "to_k", "key", channels, inner);
    load_projection(&m->to_v, l, "to_v", "value", channels, inner);
    load_projection(&m->to_out, l, "to_out.0", "proj_attn", inner, channels);
}

dfx_value *dfx__attention_block_record(const dfx__attention_block *m, dfx_value *x)
{
    dfx_spec image = *dfx_value_spec(x);
    int64_t tokens[] = { image.dim[0], image.dim[1] * image.dim[2], image.dim[3] };
    dfx_value *h = m->norm.scale ? dfx__norm_record(&m->norm, x) : x;
    h = dfx_reshape(h, 3, tokens);
    h = dfx_attention(dfx__linear_record(&m->to_q, h), dfx__linear_record(&m->to_k, h),
                      dfx__linear_record(&m->to_v, h), m->heads, m->scale, 0);
    h = dfx__linear_then_record(&m->to_out, h, (dfx_epilogue){ .add = dfx_reshape(x, 3, tokens) });
    h = dfx_reshape(h, 4, image.dim);
    return m->out_scale == 1 ? h : dfx_scale(h, m->out_scale, 0);
}
