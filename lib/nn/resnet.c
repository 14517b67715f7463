/* resnet.c - ResnetBlock2D of diffusers. */
#include "nn/nn.h"

void dfx__resnet_load(dfx__resnet *m, dfx__loader *l, int in, int out, int temb, int groups,
                      float eps)
{
    m->out_scale = 1;
    dfx__norm_load(&m->norm1, l, "norm1", in, groups, eps);
    dfx__conv_load(&m->conv1, l, "conv1", in, out, 3);
    if (temb)
        dfx__linear_load(&m->time_proj, l, "time_emb_proj", temb, out, 1);
    dfx__norm_load(&m->norm2, l, "norm2", out, groups, eps);
    dfx__conv_load(&m->conv2, l, "conv2", out, out, 3);
    if (in != out)
        dfx__conv_load(&m->shortcut, l, "conv_shortcut", in, out, 1);
}

dfx_value *dfx__resnet_record(const dfx__resnet *m, dfx_value *x, dfx_value *time)
{
    dfx_epilogue then = DFX_EPILOGUE_DEFAULT;
    dfx_value *h = dfx__norm_silu_record(&m->norm1, x);
    if (m->time_proj.weight)
        then.channels = dfx__linear_record(&m->time_proj, time);
    h = dfx__norm_silu_record(&m->norm2, dfx__conv_then_record(&m->conv1, h, then));
    then.channels = NULL;
    then.add = m->shortcut.weight ? dfx__conv_record(&m->shortcut, x) : x;
    h = dfx__conv_then_record(&m->conv2, h, then);
    return m->out_scale == 1 ? h : dfx_scale(h, m->out_scale, 0);
}
