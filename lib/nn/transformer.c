/* transformer.c - attention, BasicTransformerBlock and Transformer2DModel of diffusers. */
#include "nn/nn.h"

#include <math.h>

void dfx__attention_load(dfx__attention_layer *m, dfx__loader *l, int channels, int context,
                         int heads, int bias)
{
    m->heads = heads;
    m->scale = 1 / sqrtf((float)(channels / heads));
    dfx__linear_load(&m->to_q, l, "to_q", channels, channels, bias);
    dfx__linear_load(&m->to_k, l, "to_k", context, channels, bias);
    dfx__linear_load(&m->to_v, l, "to_v", context, channels, bias);
    dfx__linear_load(&m->to_out, l, "to_out.0", channels, channels, 1);
}

dfx_value *dfx__attention_record(const dfx__attention_layer *m, dfx_value *x, dfx_value *context,
                                 dfx_value *residual)
{
    dfx_value *from = context ? context : x;
    dfx_value *q = dfx__linear_record(&m->to_q, x);
    dfx_value *k = dfx__linear_record(&m->to_k, from);
    dfx_value *v = dfx__linear_record(&m->to_v, from);
    return dfx__linear_then_record(&m->to_out, dfx_attention(q, k, v, m->heads, m->scale, 0),
                                   (dfx_epilogue){ .add = residual });
}

dfx_value *dfx__concat_tokens(dfx_value *a, dfx_value *b)
{
    dfx_spec s = *dfx_value_spec(a), t = *dfx_value_spec(b);
    int64_t n = s.dim[0], channels = s.dim[2];
    a = dfx_reshape(a, 2, (int64_t[]){ n, s.dim[1] * channels });
    b = dfx_reshape(b, 2, (int64_t[]){ n, t.dim[1] * channels });
    return dfx_reshape(dfx_concat(a, b), 3, (int64_t[]){ n, s.dim[1] + t.dim[1], channels });
}

static void block_load(dfx__transformer_block *m, dfx__loader *l, const dfx__transformer_config *c)
{
    int channels = c->channels, wide = 4 * channels;
    m->only_cross = c->only_cross;
    dfx__norm_load(&m->norm1, l, "norm1", channels, 0, 1e-5f);
    dfx__enter(l, "attn1");
    dfx__attention_load(&m->attn1, l, channels, c->only_cross ? c->context : channels, c->heads, 0);
    dfx__leave(l);
    dfx__norm_load(&m->norm2, l, "norm2", channels, 0, 1e-5f);
    dfx__enter(l, "attn2");
    dfx__attention_load(&m->attn2, l, channels, c->context, c->heads, 0);
    dfx__leave(l);
    dfx__norm_load(&m->norm3, l, "norm3", channels, 0, 1e-5f);
    dfx__linear_load(&m->ff_in, l, "ff.net.0.proj", channels, 2 * wide, 1);
    dfx__linear_load(&m->ff_out, l, "ff.net.2", wide, channels, 1);
}

/* The attention of one name on a norm of x, added to x. */
static dfx_value *attend(const dfx__attention_layer *m, const char *name, const dfx__norm *norm,
                         dfx_value *x, dfx_value *context)
{
    dfx_value *h = dfx__norm_record(norm, x);
    dfx__push_in(x, "%s", name);
    h = dfx__attention_record(m, h, context, x);
    dfx__pop_in(x);
    return h;
}

static dfx_value *block_record(const dfx__transformer_block *m, dfx_value *x, dfx_value *text)
{
    x = attend(&m->attn1, "attn1", &m->norm1, x, m->only_cross ? text : NULL);
    x = attend(&m->attn2, "attn2", &m->norm2, x, text);
    dfx_value *h = dfx__linear_then_record(&m->ff_in, dfx__norm_record(&m->norm3, x),
                                           (dfx_epilogue){ .activation = DFX_GEGLU });
    return dfx__linear_then_record(&m->ff_out, h, (dfx_epilogue){ .add = x });
}

void dfx__transformer_load(dfx__transformer *m, dfx__loader *l, const dfx__transformer_config *c)
{
    m->use_linear = c->use_linear;
    m->layers = c->layers;
    if (c->layers)
        m->block = dfx__loader_alloc(l, (size_t)c->layers, sizeof *m->block);
    dfx__norm_load(&m->norm, l, "norm", c->channels, c->groups, 1e-6f);
    if (c->use_linear) {
        dfx__linear_load(&m->linear_in, l, "proj_in", c->channels, c->channels, 1);
        dfx__linear_load(&m->linear_out, l, "proj_out", c->channels, c->channels, 1);
    } else {
        dfx__conv_load(&m->conv_in, l, "proj_in", c->channels, c->channels, 1);
        dfx__conv_load(&m->conv_out, l, "proj_out", c->channels, c->channels, 1);
    }
    for (int i = 0; m->block && i < c->layers; i++) {
        dfx__enter(l, "transformer_blocks.%d", i);
        block_load(&m->block[i], l, c);
        dfx__leave(l);
    }
}

dfx_value *dfx__transformer_record(const dfx__transformer *m, dfx_value *x, dfx_value *text)
{
    dfx_spec image = *dfx_value_spec(x);
    int64_t tokens[] = { image.dim[0], image.dim[1] * image.dim[2], image.dim[3] };
    dfx_value *h = dfx__norm_record(&m->norm, x);
    h = m->use_linear ? dfx__linear_record(&m->linear_in, h) : dfx__conv_record(&m->conv_in, h);
    h = dfx_reshape(h, 3, tokens);
    for (int i = 0; i < m->layers; i++) {
        dfx__push_in(x, "transformer_blocks.%d", i);
        h = block_record(&m->block[i], h, text);
        dfx__pop_in(x);
    }
    h = dfx_reshape(h, 4, image.dim);
    dfx_epilogue then = { .add = x };
    return m->use_linear ? dfx__linear_then_record(&m->linear_out, h, then)
                         : dfx__conv_then_record(&m->conv_out, h, then);
}
