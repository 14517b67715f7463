/* resnet.c - ResnetBlock2D of diffusers. */
#include "nn/nn.h"

void dfx__resnet_load_as(dfx__resnet *m, dfx__loader *l, const dfx__resnet_config *c)
{
    int in = c->in, out = c->out;
    m->act = c->act ? c->act : dfx_silu;
    m->size = c->size;
    m->scale_shift = c->scale_shift;
    m->out_scale = c->out_scale_factor != 0 ? 1 / c->out_scale_factor : 1;
    dfx__norm_load(&m->norm1, l, "norm1", in, c->groups, c->eps);
    dfx__conv_load(&m->conv1, l, "conv1", in, out, 3);
    if (c->temb)
        dfx__linear_load(&m->time_proj, l, "time_emb_proj", c->temb, (1 + c->scale_shift) * out, 1);
    dfx__norm_load(&m->norm2, l, "norm2", out, c->groups_out ? c->groups_out : c->groups, c->eps);
    dfx__conv_load(&m->conv2, l, "conv2", out, out, 3);
    if (in != out || c->shortcut)
        dfx__conv_load(&m->shortcut, l, "conv_shortcut", in, out, 1);
}

void dfx__resnet_load(dfx__resnet *m, dfx__loader *l, int in, int out, int temb, int groups,
                      float eps)
{
    dfx__resnet_load_as(m, l, &(dfx__resnet_config){ in, out, temb, groups, .eps = eps });
}

static dfx_value *resize(const dfx__resnet *m, dfx_value *x, int64_t height, int64_t width)
{
    switch (m->size) {
    case DFX__HALVED:
        return dfx_resample(x, &(dfx_resample_options){ DFX_BOX, 1, 2, 0, 0, 0 });
    case DFX__HALVED_FIR:
        return dfx_resample(x, &(dfx_resample_options){ DFX_BINOMIAL, 1, 2, 1, 1, 0 });
    case DFX__DOUBLED_FIR:
        return dfx_resample(x, &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 0 });
    case DFX__DOUBLED:
        return dfx_upsample_nearest(x, height, width);
    default:
        return x;
    }
}

dfx_value *dfx__resnet_resized_record(const dfx__resnet *m, dfx_value *x, dfx_value *time,
                                      int64_t height, int64_t width)
{
    dfx__conv conv1 = m->conv1;
    dfx_epilogue then = DFX_EPILOGUE_DEFAULT;
    dfx_value *t = m->time_proj.weight ? dfx__linear_record(&m->time_proj, time) : NULL;
    dfx_value *h = dfx__norm_act_record(&m->norm1, x, NULL, m->act);
    if (m->size == DFX__DOUBLED) { /* by the convolution, with nothing stored between */
        conv1.options.height = (int)height;
        conv1.options.width = (int)width;
    } else {
        h = resize(m, h, 0, 0);
    }
    x = resize(m, x, height, width);
    then.channels = m->scale_shift ? NULL : t;
    h = dfx__conv_then_record(&conv1, h, then);
    h = dfx__norm_act_record(&m->norm2, h, m->scale_shift ? t : NULL, m->act);
    then.channels = NULL;
    then.add = m->shortcut.weight ? dfx__conv_record(&m->shortcut, x) : x;
    h = dfx__conv_then_record(&m->conv2, h, then);
    return m->out_scale == 1 ? h : dfx_scale(h, m->out_scale, 0);
}

dfx_value *dfx__resnet_record(const dfx__resnet *m, dfx_value *x, dfx_value *time)
{
    const dfx_spec *s = dfx_value_spec(x);
    return dfx__resnet_resized_record(m, x, time, 2 * s->dim[1], 2 * s->dim[2]);
}
