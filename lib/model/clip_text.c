/* clip_text.c - CLIPTextModel and CLIPTextModelWithProjection (Radford et al. 2021), as
 * transformers builds them. */
#include "core/dtype.h"
#include "model/forward.h"
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
    int heads, wide, eos;
    float eps;
    dfx_activation activation;
    dfx_weight *tokens, *positions;
    struct layer *layer;
    dfx__norm norm_out;
    dfx__linear_layer projection; /* of the class that has one: facts.projection */
};

static const dfx__config_rule rules[] = {
    { "attention_dropout", "*", "of training" },
    { "bos_token_id", "*", "the tokenizer puts it" },
    { "dropout", "*", "of training" },
    { "eos_token_id", NULL, "the token whose state is pooled; 2: the largest id" },
    { "gradient_checkpointing", "*", "of training" },
    { "hidden_act", NULL, "the activation: quick_gelu or gelu" },
    { "hidden_size", NULL, "the width of states" },
    { "initializer_factor", "*", "of training" },
    { "initializer_range", "*", "of training" },
    { "intermediate_size", NULL, "the width inside of each layer" },
    { "layer_norm_eps", NULL, "epsilon of layer norms" },
    { "max_position_embeddings", NULL, "tokens of a prompt" },
    { "num_attention_heads", NULL, "heads of attention" },
    { "num_hidden_layers", NULL, "layers" },
    { "pad_token_id", "*", "the tokenizer puts it" },
    { "projection_dim", NULL, "the width of text_embeds (CLIPTextModelWithProjection)" },
    { "vocab_size", NULL, "how many tokens there are" },
    { NULL, NULL, NULL },
};

dfx__clip_text_facts dfx__clip_text_get_facts(const dfx__clip_text *m)
{
    return m->facts;
}

static void read_config(dfx__clip_text *m, dfx__config *c, int projected)
{
    m->facts.vocabulary = dfx__config_int(c, "vocab_size", 49408, 1, 1 << 24);
    m->facts.positions = dfx__config_int(c, "max_position_embeddings", 77, 1, 1 << 16);
    m->facts.channels = dfx__config_int(c, "hidden_size", 512, 1, MAX_CHANNELS);
    m->wide = dfx__config_int(c, "intermediate_size", 2048, 1, 8 * MAX_CHANNELS);
    m->facts.layers = dfx__config_int(c, "num_hidden_layers", 12, 1, MAX_LAYERS);
    m->heads = dfx__config_int(c, "num_attention_heads", 8, 1, MAX_CHANNELS);
    m->eps = dfx__config_float(c, "layer_norm_eps", 1e-5f);
    m->eos = dfx__config_int(c, "eos_token_id", 49407, -1, 1 << 24);
    if (projected)
        m->facts.projection = dfx__config_int(c, "projection_dim", 512, 1, MAX_CHANNELS);
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

/* Everything below "text_model". */
static void load_tower(dfx__clip_text *m, dfx__loader *l)
{
    int64_t c = m->facts.channels;
    dfx__enter(l, "embeddings");
    m->tokens = dfx__load(l, "token_embedding.weight", 2, (int64_t[]){ m->facts.vocabulary, c });
    m->positions =
        dfx__load(l, "position_embedding.weight", 2, (int64_t[]){ m->facts.positions, c });
    dfx__ignore(l, "position_ids"); /* 0, 1, 2 ... in files of transformers before 4.31 */
    dfx__leave(l);
    for (int i = 0; i < m->facts.layers; i++) {
        dfx__enter(l, "encoder.layers.%d", i);
        load_layer(&m->layer[i], l, m);
        dfx__leave(l);
    }
    dfx__norm_load(&m->norm_out, l, "final_layer_norm", (int)c, 0, m->eps);
}

static void *build_class(dfx__config *config, dfx__loader *l, int projected)
{
    dfx__clip_text *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config, projected);
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    m->layer = dfx__loader_alloc(l, (size_t)m->facts.layers, sizeof *m->layer);
    if (!m->layer)
        return NULL;
    /* transformers before 5 saved CLIPTextModel too with the prefix of the wider model */
    int prefix = projected || dfx__loader_has(l, "text_model.embeddings.token_embedding.weight");
    if (prefix)
        dfx__enter(l, "text_model");
    load_tower(m, l);
    if (prefix)
        dfx__leave(l);
    if (projected)
        dfx__linear_load(&m->projection, l, "text_projection", m->facts.channels,
                         m->facts.projection, 0);
    return l->status == DFX_OK ? m : NULL;
}

static void *build(dfx__config *config, dfx__loader *l)
{
    return build_class(config, l, 0);
}

static void *build_projected(dfx__config *config, dfx__loader *l)
{
    return build_class(config, l, 1);
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

static dfx_value *record_embeddings(const dfx__clip_text *m, dfx_value *ids)
{
    int64_t tokens = dfx_value_spec(ids)->dim[1];
    dfx_value *positions = dfx__weight_value(ids, m->positions);
    if (tokens < m->facts.positions)
        positions = dfx_slice(positions, 0, 0, tokens);
    return dfx_add(dfx_embedding(ids, dfx__weight_value(ids, m->tokens)), positions);
}

/* states [N, T, C] -> those at the pooled positions [N, C]. A product with ones and zeros is exact.
 */
static dfx_value *record_pooled(dfx_value *states, dfx_value *pool)
{
    const dfx_spec *s = dfx_value_spec(states);
    dfx_value *y = dfx_matmul(dfx_cast(pool, s->dtype), states, 1, 0, 1);
    return dfx_reshape(y, 2, (int64_t[]){ s->dim[0], s->dim[2] });
}

void dfx__clip_text_record(const dfx__clip_text *m, const dfx__clip_text_inputs *in, int wanted,
                           dfx__clip_text_outputs *out)
{
    int above = wanted & ~DFX__CLIP_HIDDEN; /* what the last layer is needed for */
    int hidden = m->facts.layers - in->skip, layers = above ? m->facts.layers : hidden;
    *out = (dfx__clip_text_outputs){ NULL };
    dfx__push_in(in->ids, "text_encoder");
    dfx_value *x = record_embeddings(m, in->ids);
    for (int i = 0; i <= layers; i++) {
        if (wanted & DFX__CLIP_HIDDEN && i == hidden)
            out->hidden = x;
        if (i == layers)
            break;
        dfx__push_in(x, "layers.%d", i);
        x = record_layer(m, &m->layer[i], x);
        dfx__pop_in(x);
    }
    if (above)
        x = dfx__norm_record(&m->norm_out, x);
    if (wanted & DFX__CLIP_LAST)
        out->last_hidden_state = x;
    if (wanted & (DFX__CLIP_POOLED | DFX__CLIP_EMBEDS))
        out->pooler_output = record_pooled(x, in->pool);
    if (wanted & DFX__CLIP_EMBEDS && m->facts.projection)
        out->text_embeds = dfx__linear_record(&m->projection, out->pooler_output);
    dfx__pop_in(in->ids);
}

dfx_value *dfx__clip_text_norm(const dfx__clip_text *m, dfx_value *hidden)
{
    dfx__push_in(hidden, "text_encoder");
    dfx_value *y = dfx__norm_record(&m->norm_out, hidden);
    dfx__pop_in(hidden);
    return y;
}

/* The first of the largest ids for configs from before transformers knew the token's id (2 there),
 * else the first EOS, else the first token. */
static int pooled_position(const dfx__clip_text *m, const int32_t *ids, int tokens)
{
    int position = 0;
    for (int i = 0; i < tokens; i++) {
        if (m->eos == 2 && ids[i] > ids[position])
            position = i;
        if (m->eos != 2 && ids[i] == m->eos)
            return i;
    }
    return position;
}

void dfx__clip_text_pool(const dfx__clip_text *m, const int32_t *ids, int count, int tokens,
                         float *pool)
{
    for (int i = 0; i < count * tokens; i++)
        pool[i] = 0;
    for (int i = 0; i < count; i++)
        pool[i * tokens + pooled_position(m, ids + i * tokens, tokens)] = 1;
}

/* ---- dfx forward ---- */

static dfx_status read_inputs(dfx__clip_text_inputs *to, dfx__forward *f, const dfx__clip_text *m)
{
    DFX__TRY(dfx__given_ids(&to->ids, f, "input_ids", 2, m->facts.vocabulary));
    const int32_t *ids = f->given[0].data;
    const int64_t *dim = f->given[0].spec.dim;
    if (dim[1] > m->facts.positions)
        return dfx__fail(DFX_ERROR_ARGUMENT, "input_ids: %lld tokens, the model takes %d",
                         (long long)dim[1], m->facts.positions);
    dfx_spec spec = { DFX_F32, 3, { dim[0], 1, dim[1] } };
    float *pool = dfx__alloc(dfx__elements(&spec), sizeof *pool);
    if (pool)
        dfx__clip_text_pool(m, ids, (int)dim[0], (int)dim[1], pool);
    return dfx__given_own(&to->pool, f, "pool", &spec, pool);
}

static dfx_status forward(const dfx_model *model, dfx__forward *f)
{
    const dfx__clip_text *m = model->net;
    dfx__clip_text_inputs in = { .skip = 1 };
    dfx__clip_text_outputs y;
    DFX__TRY(read_inputs(&in, f, m));
    dfx__clip_text_record(
        m, &in, DFX__CLIP_LAST | DFX__CLIP_HIDDEN | DFX__CLIP_POOLED | DFX__CLIP_EMBEDS, &y);
    dfx__forward_result(f, "last_hidden_state", y.last_hidden_state);
    dfx__forward_result(f, "hidden_states.-2", y.hidden);
    dfx__forward_result(f, "pooler_output", y.pooler_output);
    if (m->facts.projection)
        dfx__forward_result(f, "text_embeds", y.text_embeds);
    return dfx__forward_run(f);
}

const dfx__model_class dfx__clip_text_class = { "CLIPTextModel", "model", build, forward, NULL };
const dfx__model_class dfx__clip_text_projection_class = { "CLIPTextModelWithProjection", "model",
                                                           build_projected, forward, NULL };
