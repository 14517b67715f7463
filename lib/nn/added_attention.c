/* added_attention.c - attention of pixels to a text and to themselves at once. */
#include "nn/added_attention.h"

#include <math.h>

void dfx__added_attention_load(dfx__added_attention *m, dfx__loader *l,
                               const dfx__added_attention_config *c)
{
    int channels = c->channels, context = c->context;
    m->heads = channels / c->head_dim;
    m->scale = 1 / sqrtf((float)c->head_dim);
    dfx__norm_load(&m->norm, l, "group_norm", channels, c->groups, 1e-5f);
    if (c->cross_norm != DFX__CROSS_NORM_NONE)
        dfx__norm_load(&m->norm_cross, l, "norm_cross", context,
                       c->cross_norm == DFX__CROSS_NORM_GROUP ? DFX__CROSS_NORM_GROUPS : 0, 1e-5f);
    dfx__linear_load(&m->to_q, l, "to_q", channels, channels, 1);
    if (!c->only_cross) {
        dfx__linear_load(&m->to_k, l, "to_k", channels, channels, 1);
        dfx__linear_load(&m->to_v, l, "to_v", channels, channels, 1);
    }
    dfx__linear_load(&m->add_k, l, "add_k_proj", context, channels, 1);
    dfx__linear_load(&m->add_v, l, "add_v_proj", context, channels, 1);
    dfx__linear_load(&m->to_out, l, "to_out.0", channels, channels, 1);
}

dfx_value *dfx__added_attention_record(const dfx__added_attention *m, dfx_value *x, dfx_value *text)
{
    dfx_spec image = *dfx_value_spec(x);
    int64_t tokens[] = { image.dim[0], image.dim[1] * image.dim[2], image.dim[3] };
    dfx_value *h = dfx_reshape(dfx__norm_record(&m->norm, x), 3, tokens);
    if (m->norm_cross.scale)
        text = dfx__norm_record(&m->norm_cross, text);
    dfx_value *q = dfx__linear_record(&m->to_q, h);
    dfx_value *k = dfx__linear_record(&m->add_k, text), *v = dfx__linear_record(&m->add_v, text);
    if (m->to_k.weight) {
        k = dfx__concat_tokens(k, dfx__linear_record(&m->to_k, h));
        v = dfx__concat_tokens(v, dfx__linear_record(&m->to_v, h));
    }
    h = dfx__linear_then_record(&m->to_out, dfx_attention(q, k, v, m->heads, m->scale, 0),
                                (dfx_epilogue){ .add = dfx_reshape(x, 3, tokens) });
    return dfx_reshape(h, 4, image.dim);
}
