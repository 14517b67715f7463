/* activation.c - activations by name, and what is fused with them where it can be. */
#include "nn/activation.h"

#include <strings.h>

static const struct {
    const char *name;
    dfx__activation *function;
} activations[] = {
    { "silu", dfx_silu }, { "swish", dfx_silu }, { "gelu", dfx_gelu },
    { "mish", dfx_mish }, { "relu", dfx_relu },
};

dfx__activation *dfx__config_activation(dfx__config *c, const char *key, const char *missing)
{
    const char *name = dfx__config_string(c, key, missing);
    for (size_t i = 0; name && i < sizeof activations / sizeof *activations; i++)
        if (strcasecmp(name, activations[i].name) == 0)
            return activations[i].function;
    if (name) {
        dfx__config_refuse(c, key, "%.60s is not supported (only silu, swish, gelu, mish, relu)",
                           name);
    }
    return NULL;
}

dfx_value *dfx__linear_act_record(const dfx__linear_layer *m, dfx_value *x, dfx__activation *act)
{
    dfx_activation fused = act == dfx_silu ? DFX_SILU : act == dfx_gelu ? DFX_GELU : DFX_IDENTITY;
    x = dfx__linear_then_record(m, x, (dfx_epilogue){ .activation = fused });
    return act && fused == DFX_IDENTITY ? act(x) : x;
}

dfx_value *dfx__norm_act_record(const dfx__norm *m, dfx_value *x, dfx_value *by,
                                dfx__activation *act)
{
    dfx_value *scale = dfx__weight_value(x, m->scale), *shift = dfx__weight_value(x, m->shift);
    int fused = act == dfx_silu;
    dfx__push_in(x, "%s", m->name);
    x = dfx_group_norm_then(x, scale, shift, m->groups, m->eps, by,
                            fused ? DFX_SILU : DFX_IDENTITY);
    x = act && !fused ? act(x) : x;
    dfx__pop_in(x);
    return x;
}
