/* redux_image_encoder.c - ReduxImageEncoder: pictures' embeddings as prompts (FLUX.1 Redux). */
#include "model/forward.h"

enum { MAX_CHANNELS = 1 << 15 };

struct redux {
    int in, out;
    dfx__linear_layer up, down;
};

static const dfx__config_rule rules[] = {
    { "redux_dim", NULL, "the width of embeddings of pictures" },
    { "txt_in_features", NULL, "the width of prompts" },
    { NULL, NULL, NULL },
};

static void *build(dfx__config *config, dfx__loader *l)
{
    struct redux *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    m->in = dfx__config_int(config, "redux_dim", 1152, 1, MAX_CHANNELS);
    m->out = dfx__config_int(config, "txt_in_features", 4096, 1, MAX_CHANNELS);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    dfx__linear_load(&m->up, l, "redux_up", m->in, 3 * m->out, 1);
    dfx__linear_load(&m->down, l, "redux_down", 3 * m->out, m->out, 1);
    return l->status == DFX_OK ? m : NULL;
}

/* x [N, T, in] -> [N, T, out] */
static dfx_value *record(const struct redux *m, dfx_value *x)
{
    dfx_epilogue silu = { .activation = DFX_SILU };
    return dfx__linear_record(&m->down, dfx__linear_then_record(&m->up, x, silu));
}

static dfx_status forward(const dfx_model *model, dfx__forward *f)
{
    const struct redux *m = model->net;
    dfx_value *x;
    DFX__TRY(dfx__given_floats(&x, f, "x", 3, (int64_t[]){ -1, -1, m->in }));
    dfx__forward_result(f, "image_embeds", record(m, x));
    return dfx__forward_run(f);
}

const dfx__model_class dfx__redux_image_encoder_class = { "ReduxImageEncoder",
                                                          "diffusion_pytorch_model", build, forward,
                                                          NULL };
