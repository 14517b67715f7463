/* dpt.c - DPTForDepthEstimation (Ranftl et al. 2021), as transformers builds it: a vision
 * transformer on patches, or on BiT's features (hybrid), with a depth map at its end. */
#include "model/dpt.h"

#include "model/forward.h"
#include "nn/activation.h"
#include "sequence/sequence.h"

#include <math.h>
#include <string.h>

enum { MAX_LAYERS = 256, MAX_CHANNELS = 1 << 14, MAX_SIDE = 1 << 14 };
enum { HYBRID_IMAGES = 2 }; /* levels of a hybrid that are the backbone's */

struct layer {
    dfx__norm norm1, norm2;
    dfx__linear_layer q, k, v, out, fc1, fc2;
};

struct dfx__dpt {
    int in, side, patch, channels, wide, heads, layers, grid, qkv_bias;
    float eps;
    int level_of[MAX_LAYERS]; /* the level that a layer's result is, or -1 */
    dfx__activation *act;
    dfx__bit *bit;     /* of a hybrid */
    dfx__conv patches; /* of features, if hybrid */
    dfx_weight *cls, *positions;
    struct layer *layer;
    dfx__dpt_neck *neck;
};

static const dfx__config_rule rules[] = {
    { "attention_probs_dropout_prob", "*", "of training" },
    { "backbone", "null", "a backbone of another library" },
    { "backbone_config", NULL, "the keys of a hybrid's BiT backbone" },
    { "backbone_featmap_shape", NULL, "channels and size of what a hybrid's backbone gives" },
    { "backbone_kwargs", "*", "of a backbone of another library" },
    { "backbone_out_indices", NULL, "the layers whose states become levels" },
    { "hidden_act", NULL, "the activation" },
    { "hidden_dropout_prob", "*", "of training" },
    { "hidden_size", NULL, "the width of states" },
    { "image_size", NULL, "the side of pictures that positions were learnt for" },
    { "initializer_range", "*", "of training" },
    { "intermediate_size", NULL, "the width inside of each layer" },
    { "is_hybrid", NULL, "whether a BiT backbone stands before the transformer" },
    { "layer_norm_eps", NULL, "epsilon of layer norms" },
    { "neck_ignore_stages", NULL, "the levels of a hybrid that are the backbone's: the first two" },
    { "num_attention_heads", NULL, "heads of attention" },
    { "num_channels", NULL, "channels of pictures" },
    { "num_hidden_layers", NULL, "layers" },
    { "patch_size", NULL, "the side of a patch" },
    { "pooler_act", "*", "of classifiers" },
    { "pooler_output_size", "*", "of classifiers" },
    { "qkv_bias", NULL, "whether queries, keys and values have a bias" },
    { "use_pretrained_backbone", "*", "all weights are in the files" },
    { "use_timm_backbone", "false", "a backbone of another library" },
    { NULL, NULL, NULL },
};

static void read_sizes(dfx__dpt *m, dfx__config *c)
{
    m->in = dfx__config_int(c, "num_channels", 3, 1, 16);
    m->side = dfx__config_int(c, "image_size", 384, 1, MAX_SIDE);
    m->patch = dfx__config_int(c, "patch_size", 16, 1, MAX_SIDE);
    m->channels = dfx__config_int(c, "hidden_size", 768, 1, MAX_CHANNELS);
    m->wide = dfx__config_int(c, "intermediate_size", 3072, 1, 8 * MAX_CHANNELS);
    m->layers = dfx__config_int(c, "num_hidden_layers", 12, 1, MAX_LAYERS);
    m->heads = dfx__config_int(c, "num_attention_heads", 12, 1, MAX_CHANNELS);
    m->qkv_bias = dfx__config_bool(c, "qkv_bias", 1);
    m->eps = dfx__config_float(c, "layer_norm_eps", 1e-12f);
    m->act = dfx__config_activation(c, "hidden_act", "gelu");
    m->grid = m->side / m->patch;
    if (m->channels % m->heads)
        dfx__config_refuse(c, "num_attention_heads", "it must divide hidden_size");
    if (m->grid < 1)
        dfx__config_refuse(c, "patch_size", "it is larger than image_size");
}

/* The layers that become levels, in their order; the first entries of a hybrid's list stand for its
 * backbone and are not looked at. */
static void read_levels(dfx__dpt *m, dfx__config *c)
{
    int taken[DFX__DPT_LEVELS] = { 2, 5, 8, 11 }, images = m->bit ? HYBRID_IMAGES : 0;
    int n = dfx__config_length(c, "backbone_out_indices", DFX__DPT_LEVELS);
    dfx__config_ints(c, "backbone_out_indices", taken, n, 0, 0, MAX_LAYERS);
    dfx__config_default(c, "backbone_out_indices", "[2, 5, 8, 11]");
    if (c->status == DFX_OK && (n ? n : 4) != dfx__dpt_neck_levels(m->neck))
        dfx__config_refuse(c, "backbone_out_indices", "they are not one for each of %d levels",
                           dfx__dpt_neck_levels(m->neck));
    memset(m->level_of, -1, sizeof m->level_of);
    for (int i = images; i < (n ? n : 4) && c->status == DFX_OK; i++) {
        if (taken[i] >= m->layers || (i > images && taken[i] <= taken[i - 1]))
            dfx__config_refuse(c, "backbone_out_indices",
                               "they must ascend and be below num_hidden_layers");
        else
            m->level_of[taken[i]] = i;
    }
}

/* What the backbone gives is what the transformer and the neck take. */
static void check_backbone(const dfx__dpt *m, dfx__config *c)
{
    int shape[4] = { 1, 1024, 24, 24 }, ignored[HYBRID_IMAGES] = { 0, 1 };
    if (dfx__config_length(c, "backbone_featmap_shape", 4))
        dfx__config_ints(c, "backbone_featmap_shape", shape, 4, 0, 1, 1 << 16);
    if (dfx__config_length(c, "neck_ignore_stages", HYBRID_IMAGES))
        dfx__config_ints(c, "neck_ignore_stages", ignored, HYBRID_IMAGES, 0, 0, 16);
    dfx__config_default(c, "backbone_featmap_shape", m->bit ? "[1, 1024, 24, 24]" : "null");
    dfx__config_default(c, "neck_ignore_stages", m->bit ? "[0, 1]" : "[]");
    if (c->status != DFX_OK || !m->bit)
        return;
    if (ignored[0] != 0 || ignored[1] != 1)
        dfx__config_refuse(c, "neck_ignore_stages", "only [0, 1] is supported");
    if (shape[1] != dfx__bit_channels(m->bit, DFX__BIT_STAGES - 1))
        dfx__config_refuse(c, "backbone_featmap_shape", "the backbone gives %d channels",
                           dfx__bit_channels(m->bit, DFX__BIT_STAGES - 1));
    for (int i = 0; i < HYBRID_IMAGES; i++)
        if (dfx__dpt_neck_channels(m->neck, i) != dfx__bit_channels(m->bit, i))
            dfx__config_refuse(c, "neck_hidden_sizes", "the backbone's stage %d gives %d channels",
                               i + 1, dfx__bit_channels(m->bit, i));
    if (dfx__bit_in_channels(m->bit) != m->in)
        dfx__config_refuse(c, "num_channels", "the backbone takes %d",
                           dfx__bit_in_channels(m->bit));
    if ((m->side + 15) / 16 != m->grid)
        dfx__config_refuse(c, "patch_size", "the backbone gives %d x %d features, not %d x %d",
                           (m->side + 15) / 16, (m->side + 15) / 16, m->grid, m->grid);
}

static void read_config(dfx__dpt *m, dfx__config *c, dfx__loader *l)
{
    int hybrid = dfx__config_bool(c, "is_hybrid", 0);
    read_sizes(m, c);
    if (hybrid)
        m->bit = dfx__bit_new(c, l);
    else if (!dfx__config_is_null(c, "backbone_config") &&
             json_object_object_get(c->json, "backbone_config"))
        dfx__config_refuse(c, "backbone_config", "only the BiT backbone of is_hybrid is supported");
    dfx__dpt_states states = { hybrid ? HYBRID_IMAGES : 0, m->channels, m->act };
    m->neck = dfx__dpt_neck_new(c, l, &states);
    if (!m->neck || (hybrid && !m->bit))
        return;
    read_levels(m, c);
    check_backbone(m, c);
    if (hybrid && strcmp(dfx__config_string(c, "readout_type", "project"), "project") != 0)
        dfx__config_refuse(c, "readout_type", "a hybrid's is project");
}

/* ---- weights ---- */

static void load_layer(struct layer *y, dfx__loader *l, const dfx__dpt *m)
{
    int c = m->channels;
    dfx__norm_load(&y->norm1, l, "layernorm_before", c, 0, m->eps);
    dfx__linear_load(&y->q, l, "attention.attention.query", c, c, m->qkv_bias);
    dfx__linear_load(&y->k, l, "attention.attention.key", c, c, m->qkv_bias);
    dfx__linear_load(&y->v, l, "attention.attention.value", c, c, m->qkv_bias);
    dfx__linear_load(&y->out, l, "attention.output.dense", c, c, 1);
    dfx__norm_load(&y->norm2, l, "layernorm_after", c, 0, m->eps);
    dfx__linear_load(&y->fc1, l, "intermediate.dense", c, m->wide, 1);
    dfx__linear_load(&y->fc2, l, "output.dense", m->wide, c, 1);
}

static void load_embeddings(dfx__dpt *m, dfx__loader *l)
{
    int64_t c = m->channels, tokens = 1 + (int64_t)m->grid * m->grid;
    dfx__enter(l, "embeddings");
    m->cls = dfx__load(l, "cls_token", 3, (int64_t[]){ 1, 1, c });
    m->positions = dfx__load(l, "position_embeddings", 3, (int64_t[]){ 1, tokens, c });
    if (m->bit) {
        dfx__enter(l, "backbone.bit");
        dfx__bit_load(m->bit, l);
        dfx__leave(l);
        dfx__conv_load(&m->patches, l, "projection", dfx__bit_channels(m->bit, DFX__BIT_STAGES - 1),
                       (int)c, 1);
    } else {
        dfx__conv_load(&m->patches, l, "patch_embeddings.projection", m->in, (int)c, m->patch);
        m->patches.options = (dfx_conv2d_options){ .stride = m->patch, .dilation = 1, .groups = 1 };
    }
    dfx__leave(l);
}

static void *build(dfx__config *config, dfx__loader *l)
{
    dfx__dpt *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    read_config(m, config, l);
    if (config->status != DFX_OK || l->status != DFX_OK)
        return NULL;
    if (dfx__config_finish(config, rules) != DFX_OK)
        return NULL;
    m->layer = dfx__loader_alloc(l, (size_t)m->layers, sizeof *m->layer);
    if (!m->layer)
        return NULL;
    dfx__enter(l, "dpt");
    load_embeddings(m, l);
    for (int i = 0; i < m->layers; i++) {
        dfx__enter(l, "encoder.layer.%d", i);
        load_layer(&m->layer[i], l, m);
        dfx__leave(l);
    }
    dfx__ignore(l, "layernorm.weight"); /* of the last state, which no level takes */
    dfx__ignore(l, "layernorm.bias");
    dfx__leave(l);
    dfx__dpt_neck_load(m->neck, l);
    return l->status == DFX_OK ? m : NULL;
}

/* ---- record ---- */

dfx_status dfx__dpt_check_size(const dfx__dpt *m, int64_t height, int64_t width)
{
    int64_t rows = height / m->patch, columns = width / m->patch;
    if (m->bit && (height != m->side || width != m->side))
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "pixel_values: %lld x %lld pixels; the model takes %d x %d",
                         (long long)width, (long long)height, m->side, m->side);
    if (rows != columns || rows < 1)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "pixel_values: %lld x %lld pixels are %lld x %lld patches of %d; the "
                         "model takes as many across as down",
                         (long long)width, (long long)height, (long long)columns, (long long)rows,
                         m->patch);
    return DFX_OK;
}

/* One for each token [1 + height width, C], from those that were learnt for another grid. */
static dfx_value *record_positions(const dfx__dpt *m, dfx_value *x, int64_t height, int64_t width)
{
    int64_t c = m->channels, learnt = (int64_t)m->grid * m->grid, n = height * width;
    dfx_value *all = dfx__weight_value(x, m->positions);
    if (height != m->grid || width != m->grid) {
        dfx_value *first = dfx_slice(all, 1, 0, 1), *grid = dfx_slice(all, 1, 1, learnt);
        grid = dfx_reshape(grid, 4, (int64_t[]){ 1, m->grid, m->grid, c });
        grid = dfx_upsample_bilinear(grid, height, width, 0);
        all = dfx__concat_tokens(first, dfx_reshape(grid, 3, (int64_t[]){ 1, n, c }));
    }
    return dfx_reshape(all, 2, (int64_t[]){ 1 + n, c });
}

/* x [N, height, width, C] -> tokens [N, 1 + height width, C] with their positions */
static dfx_value *record_tokens(const dfx__dpt *m, dfx_value *x)
{
    dfx_spec s = *dfx_value_spec(x);
    int64_t n = s.dim[0], c = m->channels;
    dfx_value *cls = dfx_reshape(dfx__weight_value(x, m->cls), 4, (int64_t[]){ 1, 1, 1, c });
    cls = dfx_reshape(dfx_upsample_nearest(cls, n, 1), 3, (int64_t[]){ n, 1, c });
    dfx_value *tokens = dfx_reshape(x, 3, (int64_t[]){ n, s.dim[1] * s.dim[2], c });
    tokens = dfx__concat_tokens(cls, tokens);
    return dfx_add(tokens, record_positions(m, x, s.dim[1], s.dim[2]));
}

static dfx_value *record_layer(const dfx__dpt *m, const struct layer *y, dfx_value *x)
{
    float scale = 1 / sqrtf((float)(m->channels / m->heads));
    dfx_value *h = dfx__norm_record(&y->norm1, x);
    h = dfx_attention(dfx__linear_record(&y->q, h), dfx__linear_record(&y->k, h),
                      dfx__linear_record(&y->v, h), m->heads, scale, 0);
    x = dfx__linear_then_record(&y->out, h, (dfx_epilogue){ .add = x });
    h = dfx__linear_act_record(&y->fc1, dfx__norm_record(&y->norm2, x), m->act);
    return dfx__linear_then_record(&y->fc2, h, (dfx_epilogue){ .add = x });
}

dfx_value *dfx__dpt_record(const dfx__dpt *m, dfx_value *pixels)
{
    dfx_value *state[DFX__DPT_LEVELS] = { pixels }, *stage[DFX__BIT_STAGES], *x = pixels;
    dfx__push_in(pixels, "depth_estimator");
    if (m->bit) {
        dfx__bit_record(m->bit, x, stage);
        memcpy(state, stage, HYBRID_IMAGES * sizeof *state);
        x = stage[DFX__BIT_STAGES - 1];
    }
    x = dfx__conv_record(&m->patches, x);
    int64_t height = dfx_value_spec(x)->dim[1], width = dfx_value_spec(x)->dim[2];
    x = record_tokens(m, x);
    for (int i = 0; i < m->layers; i++) {
        dfx__push_in(pixels, "layer.%d", i);
        x = record_layer(m, &m->layer[i], x);
        dfx__pop_in(pixels);
        if (m->level_of[i] >= 0)
            state[m->level_of[i]] = x;
    }
    x = dfx__dpt_neck_record(m->neck, state, height, width);
    dfx__pop_in(pixels);
    return x;
}

static dfx_status forward(const dfx_model *model, dfx__forward *f)
{
    const dfx__dpt *m = model->net;
    dfx_value *x;
    DFX__TRY(dfx__given_image(&x, f, "pixel_values", m->in));
    const dfx_spec *s = dfx_value_spec(x);
    DFX__TRY(dfx__dpt_check_size(m, s->dim[1], s->dim[2]));
    dfx__forward_result(f, "predicted_depth", dfx__dpt_record(m, x));
    return dfx__forward_run(f);
}

const dfx__model_class dfx__dpt_class = { "DPTForDepthEstimation", "model", build, forward, NULL };
