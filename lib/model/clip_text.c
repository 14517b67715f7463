/* clip_text.c - CLIPTextModel (Radford et al. 2021), as transformers builds it. */
#include "core/dtype.h"
#include "model/model.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 256, MAX_CHANNELS = 1 << 15 };

struct layer {
    dfx__norm norm1, norm2;
    dfx__linear_layer q, k, v, out, fc1, fc2;
};

struct dfx__clip_text {
    dfx__clip_text_facts facts;
    int layers, heads, wide;
    float eps;
    dfx_activation activation;
    dfx_weight *tokens, *positions;
    struct layer *layer;
    dfx__norm norm_out;
};

static const dfx__config_rule rules[] = {
    { "architectures", "*" },
    { "attention_dropout", "*" },
    { "bos_token_id", "*" },
    { "dropout", "*" },
    { "dtype", "*" },
    { "eos_token_id", "*" },
    { "gradient_checkpointing", "*" },
    { "initializer_factor", "*" },
    { "initializer_range", "*" },
    { "model_type", "*" },
    { "pad_token_id", "*" },
    { "projection_dim", "*" },
    { "torch_dtype", "*" },
    { "transformers_version", "*" },
    { NULL, NULL },
};

dfx__clip_text_facts dfx__clip_text_get_facts(const dfx__clip_text *m)
{
    return m->facts;
}

static void read_config(dfx__clip_text *m, dfx__config *c)
{
    m->facts.vocabulary = dfx__config_int(c, "vocab_size", 49408, 1, 1 << 24);
    m->facts.positions = dfx__config_int(c, "max_position_embeddings", 77, 1, 1 << 16);
    m->facts.channels = dfx__config_int(c, "hidden_size", 512, 1, MAX_CHANNELS);
    m->wide = dfx__config_int(c, "intermediate_size", 2048, 1, 8 * MAX_CHANNELS);
    m->layers = dfx__config_int(c, "num_hidden_layers", 12, 1, MAX_LAYERS);
    m->heads = dfx__config_int(c, "num_attention_heads", 8, 1, MAX_CHANNELS);
    m->eps = dfx__config_float(c, "layer_norm_eps", 1e-5f);
    if (m->facts.channels % m->heads)
        dfx__config_refuse(c, "num_attention_heads", "it must divide hidden_size");
    const char *act = dfx__config_string(c, "hidden_act", "quick_gelu");
    m->activation = strcmp(act, "quick_gelu") == 0 ? DFX_QUICK_GELU
                    : strcmp(act, "gelu") == 0     ? DFX_GELU
                                                   : DFX_IDENTITY;
    if (m->activation == DFX_IDENTITY)
        dfx__config_refuse(c, "hidden_act", "only quick_gelu and gelu are supported");
}

static void load_layer(struct layer *y, dfx__loader *l, const dfx__clip_text *m)
{
    int c = m->facts.channels;
    dfx__norm_load(&y->norm1, l, "layer_norm1", c, 0, m->eps);
    dfx__linear_load(&y->q, l, "self_attn.q_proj", c, c, 1);
    dfx__linear_load(&y->k, l, "self_attn.k_proj", c, c, 1);
    dfx__linear_load(&y->v, l, "self_attn.v_proj", c, c, 1);
    dfx__linear_load(&y->out, l, "self_attn.out_proj", c, c, 1);
    dfx__norm_load(&y->norm2, l, "layer_norm2", c, 0, m->eps);
    dfx__linear_load(&y->fc1, l, "mlp.fc1", c, m->wide, 1);
    dfx__linear_load(&y->fc2, l, "mlp.fc2", m->wide, c, 1);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    dfx__clip_text *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    m->layer = dfx__loader_alloc(l, (size_t)m->layers, sizeof *m->layer);
    if (!m->layer)
        return NULL;
    /* transformers before 5 saved this class with the prefix of the wider model */
    int prefix = dfx__loader_has(l, "text_model.embeddings.token_embedding.weight");
    int64_t c = m->facts.channels;
    if (prefix)
        dfx__enter(l, "text_model");
    dfx__enter(l, "embeddings");
    m->tokens = dfx__load(l, "token_embedding.weight", 2, (int64_t[]){ m->facts.vocabulary, c });
    m->positions =
        dfx__load(l, "position_embedding.weight", 2, (int64_t[]){ m->facts.positions, c });
    dfx__ignore(l, "position_ids"); /* 0, 1, 2 ... in files of transformers before 4.31 */
    dfx__leave(l);
    for (int i = 0; i < m->layers; i++) {
        dfx__enter(l, "encoder.layers.%d", i);
        load_layer(&m->layer[i], l, m);
        dfx__leave(l);
    }
    dfx__norm_load(&m->norm_out, l, "final_layer_norm", (int)c, 0, m->eps);
    if (prefix)
        dfx__leave(l);
    return l->status == DFX_OK ? m : NULL;
}

/* x [N, T, C]; padding is attended to, as the model was trained */
static dfx_value *record_layer(const dfx__clip_text *m, const struct layer *y, dfx_value *x)
{
    float scale = 1 / sqrtf((float)(m->facts.channels / m->heads));
    dfx_value *h = dfx__norm_record(&y->norm1, x);
    h = dfx_attention(dfx__linear_record(&y->q, h), dfx__linear_record(&y->k, h),
                      dfx__linear_record(&y->v, h), m->heads, scale, 1);
    x = dfx__linear_then_record(&y->out, h, (dfx_epilogue){ .add = x });
    h = dfx__linear_then_record(&y->fc1, dfx__norm_record(&y->norm2, x),
                                (dfx_epilogue){ .activation = m->activation });
    return dfx__linear_then_record(&y->fc2, h, (dfx_epilogue){ .add = x });
}

dfx_value *dfx__clip_text_record(const dfx__clip_text *m, dfx_value *ids, dfx_value **penultimate)
{
    int64_t tokens = dfx_value_spec(ids)->dim[1];
    dfx__push_in(ids, "text_encoder");
    dfx_value *positions = dfx__weight_value(ids, m->positions);
    if (tokens < m->facts.positions)
        positions = dfx_slice(positions, 0, 0, tokens);
    dfx_value *x = dfx_embedding(ids, dfx__weight_value(ids, m->tokens));
    x = dfx_add(x, positions);
    for (int i = 0; i < m->layers; i++) {
        if (penultimate && i == m->layers - 1)
            *penultimate = x;
        dfx__push_in(x, "layers.%d", i);
        x = record_layer(m, &m->layer[i], x);
        dfx__pop_in(x);
    }
    x = dfx__norm_record(&m->norm_out, x);
    dfx__pop_in(ids);
    return x;
}

static dfx_status run(const dfx__clip_text *m, dfx_sequence *s, const int32_t *ids,
                      const dfx_spec *spec, dfx_tensors *out)
{
    if (spec->dim[1] > m->facts.positions)
        return dfx__fail(DFX_ERROR_ARGUMENT, "input_ids: %lld tokens, the model takes %d",
                         (long long)spec->dim[1], m->facts.positions);
    dfx_value *before = NULL;
    dfx_value *y = dfx__clip_text_record(m, dfx_input(s, "ids", DFX_I32, 2, spec->dim), &before);
    y = dfx_cast(y, DFX_F32);
    before = dfx_cast(before, DFX_F32);
    dfx_output(y, "last");
    dfx_output(before, "before");
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(dfx_sequence_write(s, "ids", ids, dfx__elements(spec) * sizeof *ids));
    DFX__TRY(dfx_sequence_run(s));
    DFX__TRY(dfx__forward_result(out, "last_hidden_state", s, "last", dfx_value_spec(y), 0));
    return dfx__forward_result(out, "hidden_states.-2", s, "before", dfx_value_spec(before), 0);
}

static dfx_status forward(dfx_model *model, dfx_device *device, dfx_dtype dtype,
                          const dfx_tensors *in, dfx_tensors *out)
{
    dfx_sequence *s;
    dfx_spec spec;
    int32_t *ids;
    const dfx__clip_text *m = model->net;
    DFX__TRY(dfx__forward_ids(&ids, &spec, in, "input_ids", m->facts.vocabulary));
    dfx_status status = dfx_sequence_new(&s, device, dtype);
    if (status == DFX_OK) {
        status = run(m, s, ids, &spec, out);
        dfx_sequence_free(s);
    }
    free(ids);
    return status;
}

const dfx__model_class dfx__clip_text_class = { "CLIPTextModel", "model", build, forward };
