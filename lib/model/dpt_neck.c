/* dpt_neck.c - the neck and head of a dense prediction transformer (Ranftl et al. 2021): states of
 * several depths become images, coarse ones are fused into finer ones, the last is a depth map. */
#include "core/dtype.h"
#include "model/dpt.h"
#include "nn/activation.h"
#include "sequence/weight.h"

#include <math.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 14, MAX_FACTOR = 16, HEAD_CHANNELS = 32, LEVELS = DFX__DPT_LEVELS };

/* Tokens to an image of `up` times, or a `down`-th of, its patches' size. */
struct reassemble {
    int up, down; /* one of them 1 */
    dfx__linear_layer readout;
    dfx__conv projection, smaller;
    dfx_weight *larger[MAX_FACTOR], *larger_bias; /* a line of each pixel's results */
};

/* x + conv2(relu(conv1(relu x))) */
struct residual {
    dfx__conv conv1, conv2;
};

struct fusion {
    dfx__conv projection;
    struct residual residual1, residual2;
};

struct dfx__dpt_neck {
    dfx__dpt_states states;
    int levels, channels[LEVELS], width, taken, biased, projected;
    dfx__readout readout;
    struct reassemble reassemble[LEVELS];
    dfx__conv conv[LEVELS];
    struct fusion fusion[LEVELS];
    dfx__conv projection, head[3];
};

int dfx__dpt_neck_levels(const dfx__dpt_neck *m)
{
    return m->levels;
}

int dfx__dpt_neck_channels(const dfx__dpt_neck *m, int level)
{
    return m->channels[level];
}

static const dfx__config_rule rules[] = {
    { "add_projection", NULL, "a convolution before the head" },
    { "auxiliary_loss_weight", "*", "of training" },
    { "fusion_hidden_size", NULL, "channels while levels are fused" },
    { "head_in_index", NULL, "the fused level that the head takes" },
    { "neck_hidden_sizes", NULL, "channels of each level" },
    { "readout_type", NULL, "what becomes of the class token: project, add or ignore" },
    { "reassemble_factors", NULL, "the size of each level's image in patches" },
    { "semantic_classifier_dropout", "*", "of training" },
    { "semantic_loss_ignore_index", "*", "of training" },
    { "use_auxiliary_head", "*", "of segmentation" },
    { "use_batch_norm_in_fusion_residual", "false", "batch norms in fusion" },
    { "use_bias_in_fusion_residual", NULL, "whether convolutions of fusion have a bias" },
    { NULL, NULL, NULL },
};

static void read_levels(dfx__dpt_neck *m, dfx__config *c)
{
    static const int channels[] = { 96, 192, 384, 768 };
    static const float factors[] = { 4, 2, 1, 0.5f };
    int n = dfx__config_length(c, "neck_hidden_sizes", LEVELS);
    int given = dfx__config_length(c, "reassemble_factors", LEVELS);
    float factor[LEVELS];
    m->levels = n ? n : 4;
    dfx__config_ints(c, "neck_hidden_sizes", m->channels, n, 0, 1, MAX_CHANNELS);
    dfx__config_floats(c, "reassemble_factors", factor, given, 1);
    dfx__config_default(c, "neck_hidden_sizes", "[96, 192, 384, 768]");
    dfx__config_default(c, "reassemble_factors", "[4, 2, 1, 0.5]");
    if (m->levels < m->states.images + 1)
        dfx__config_refuse(c, "neck_hidden_sizes", "%d levels are too few", m->levels);
    if ((given ? given : 4) != m->levels)
        dfx__config_refuse(c, "reassemble_factors", "they are not one for each of %d levels",
                           m->levels);
    for (int i = 0; i < m->levels && c->status == DFX_OK; i++) {
        float f = given ? factor[i] : factors[i];
        struct reassemble *r = &m->reassemble[i];
        m->channels[i] = n ? m->channels[i] : channels[i];
        r->up = f > 1 && f <= MAX_FACTOR ? (int)f : 1;
        r->down = f < 1 && f >= 1.0f / MAX_FACTOR ? (int)lroundf(1 / f) : 1;
        if (!(fabsf(f * (float)r->down / (float)r->up - 1) < 1e-5f))
            dfx__config_refuse(c, "reassemble_factors", "%g is not 1 to %d or one divided by them",
                               f, MAX_FACTOR);
    }
}

static void read_readout(dfx__dpt_neck *m, dfx__config *c)
{
    static const char *const names[] = { "ignore", "add", "project" };
    const char *name = dfx__config_string(c, "readout_type", "project");
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            m->readout = (dfx__readout)i;
            return;
        }
    dfx__config_refuse(c, "readout_type", "only ignore, add and project are supported");
}

dfx__dpt_neck *dfx__dpt_neck_new(dfx__config *config, dfx__loader *l, const dfx__dpt_states *states)
{
    enum { PROJECTED = 256 }; /* transformers knows no other */
    dfx__dpt_neck *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    m->states = *states;
    read_levels(m, config);
    read_readout(m, config);
    m->width = dfx__config_int(config, "fusion_hidden_size", 256, 2, MAX_CHANNELS);
    m->biased = dfx__config_bool(config, "use_bias_in_fusion_residual", 1);
    m->projected = dfx__config_bool(config, "add_projection", 0);
    int taken = dfx__config_int(config, "head_in_index", -1, -m->levels, m->levels - 1);
    m->taken = taken < 0 ? taken + m->levels : taken;
    if (m->projected && m->width != PROJECTED)
        dfx__config_refuse(config, "add_projection", "it needs a fusion_hidden_size of %d",
                           PROJECTED);
    dfx__config_add_rules(config, rules);
    return config->status == DFX_OK ? m : NULL;
}

/* ---- weights ---- */

/* A transposed convolution whose stride is its kernel, [in, out, k, k], as k linear layers [k out,
 * in]: the first makes the upper line of each pixel's k x k results. */
static void load_larger(struct reassemble *r, dfx__loader *l, int channels)
{
    int64_t k = r->up, n = channels;
    dfx__enter(l, "resize");
    dfx_weight *w = dfx__load(l, "weight", 4, (int64_t[]){ n, n, k, k });
    dfx_weight *bias = dfx__load(l, "bias", 1, (int64_t[]){ n });
    dfx__leave(l);
    float *all =
        w && bias ? dfx__loader_alloc(l, (size_t)(2 * n * n * k * k + n * k), sizeof *all) : NULL;
    dfx_weight *made = all ? dfx__loader_alloc(l, (size_t)k + 1, sizeof *made) : NULL;
    if (!made)
        return;
    float *line = all + n * n * k * k, *repeated = line + n * n * k * k;
    dfx__to_f32(all, w->data, w->spec.dtype, (size_t)(n * n * k * k));
    for (int64_t y = 0; y < k; y++, line += k * n * n) {
        for (int64_t x = 0; x < k; x++)
            for (int64_t o = 0; o < n; o++)
                for (int64_t i = 0; i < n; i++)
                    line[(x * n + o) * n + i] = all[((i * n + o) * k + y) * k + x];
        made[y] = (dfx_weight){
            .name = w->name, .file = w->file, .spec = { DFX_F32, 2, { k * n, n } }, .data = line
        };
        r->larger[y] = &made[y];
    }
    for (int64_t x = 0; x < k; x++)
        dfx__to_f32(repeated + x * n, bias->data, bias->spec.dtype, (size_t)n);
    made[k] = (dfx_weight){
        .name = bias->name, .file = bias->file, .spec = { DFX_F32, 1, { k * n } }, .data = repeated
    };
    r->larger_bias = &made[k];
}

static void load_reassemble(dfx__dpt_neck *m, dfx__loader *l)
{
    int width = m->states.width;
    dfx__enter(l, "reassemble_stage");
    for (int i = m->states.images; i < m->levels; i++) {
        struct reassemble *r = &m->reassemble[i];
        if (m->readout == DFX__READOUT_PROJECT) {
            dfx__enter(l, "readout_projects.%d", i);
            dfx__linear_load(&r->readout, l, "0", 2 * width, width, 1);
            dfx__leave(l);
        }
        dfx__enter(l, "layers.%d", i);
        dfx__conv_load(&r->projection, l, "projection", width, m->channels[i], 1);
        if (r->up > 1)
            load_larger(r, l, m->channels[i]);
        if (r->down > 1) {
            dfx__conv_load(&r->smaller, l, "resize", m->channels[i], m->channels[i], 3);
            r->smaller.options.stride = r->down;
        }
        dfx__leave(l);
    }
    dfx__leave(l);
}

static void load_fusion_conv(dfx__conv *m, dfx__loader *l, const dfx__dpt_neck *n, const char *name)
{
    (n->biased ? dfx__conv_load : dfx__conv_without_bias_load)(m, l, name, n->width, n->width, 3);
}

static void load_residual(struct residual *m, dfx__loader *l, const dfx__dpt_neck *n,
                          const char *name)
{
    dfx__enter(l, "%s", name);
    load_fusion_conv(&m->conv1, l, n, "convolution1");
    load_fusion_conv(&m->conv2, l, n, "convolution2");
    dfx__leave(l);
}

static void load_neck(dfx__dpt_neck *m, dfx__loader *l)
{
    dfx__enter(l, "neck");
    load_reassemble(m, l);
    for (int i = 0; i < m->levels; i++) {
        dfx__enter(l, "convs");
        static const char *const names[LEVELS] = { "0", "1", "2", "3", "4", "5", "6", "7" };
        dfx__conv_without_bias_load(&m->conv[i], l, names[i], m->channels[i], m->width, 3);
        dfx__leave(l);
        dfx__enter(l, "fusion_stage.layers.%d", i);
        dfx__conv_load(&m->fusion[i].projection, l, "projection", m->width, m->width, 1);
        load_residual(&m->fusion[i].residual1, l, m, "residual_layer1");
        load_residual(&m->fusion[i].residual2, l, m, "residual_layer2");
        dfx__leave(l);
    }
    dfx__leave(l);
}

void dfx__dpt_neck_load(dfx__dpt_neck *m, dfx__loader *l)
{
    load_neck(m, l);
    dfx__enter(l, "head");
    if (m->projected)
        dfx__conv_load(&m->projection, l, "projection", m->width, m->width, 3);
    dfx__enter(l, "head");
    dfx__conv_load(&m->head[0], l, "0", m->width, m->width / 2, 3);
    dfx__conv_load(&m->head[1], l, "2", m->width / 2, HEAD_CHANNELS, 3);
    dfx__conv_load(&m->head[2], l, "4", HEAD_CHANNELS, 1, 1);
    dfx__leave(l);
    dfx__leave(l);
}

/* ---- record ---- */

/* cls [N, 1, C] -> [N, tokens, C] */
static dfx_value *repeated(dfx_value *cls, int64_t tokens)
{
    dfx_spec s = *dfx_value_spec(cls);
    cls = dfx_reshape(cls, 4, (int64_t[]){ s.dim[0], 1, 1, s.dim[2] });
    cls = dfx_upsample_nearest(cls, tokens, 1);
    return dfx_reshape(cls, 3, (int64_t[]){ s.dim[0], tokens, s.dim[2] });
}

/* x [N, 1 + T, C], the class token first -> [N, T, C] */
static dfx_value *record_readout(const dfx__dpt_neck *m, const struct reassemble *r, dfx_value *x)
{
    dfx_spec s = *dfx_value_spec(x);
    dfx_value *cls = dfx_slice(x, 1, 0, 1);
    x = dfx_slice(x, 1, 1, s.dim[1] - 1);
    if (m->readout == DFX__READOUT_ADD)
        return dfx_add_channels(x, dfx_reshape(cls, 2, (int64_t[]){ s.dim[0], s.dim[2] }));
    if (m->readout == DFX__READOUT_IGNORE)
        return x;
    x = dfx_concat(x, repeated(cls, s.dim[1] - 1));
    return dfx__linear_act_record(&r->readout, x, m->states.act);
}

/* x [N, h, w, C] -> [N, up h, up w, C] */
static dfx_value *record_larger(const struct reassemble *r, dfx_value *x)
{
    dfx_spec s = *dfx_value_spec(x);
    dfx_value *y = NULL, *bias = dfx__weight_value(x, r->larger_bias);
    for (int i = 0; i < r->up; i++) {
        dfx_value *line = dfx_linear(x, dfx__weight_value(x, r->larger[i]), bias);
        line = dfx_reshape(line, 3, (int64_t[]){ s.dim[0], s.dim[1], s.dim[2] * r->up * s.dim[3] });
        y = y ? dfx_concat(y, line) : line;
    }
    return dfx_reshape(y, 4, (int64_t[]){ s.dim[0], s.dim[1] * r->up, s.dim[2] * r->up, s.dim[3] });
}

static dfx_value *record_reassemble(const dfx__dpt_neck *m, int level, dfx_value *x, int64_t height,
                                    int64_t width)
{
    const struct reassemble *r = &m->reassemble[level];
    int64_t images = dfx_value_spec(x)->dim[0];
    x = dfx_reshape(record_readout(m, r, x), 4,
                    (int64_t[]){ images, height, width, m->states.width });
    x = dfx__conv_record(&r->projection, x);
    if (r->up > 1)
        x = record_larger(r, x);
    return r->down > 1 ? dfx__conv_record(&r->smaller, x) : x;
}

static dfx_value *record_residual(const struct residual *m, dfx_value *x)
{
    dfx_value *h = dfx__conv_record(&m->conv1, dfx_relu(x));
    return dfx__conv_then_record(&m->conv2, dfx_relu(h), (dfx_epilogue){ .add = x });
}

/* x, a coarser level's result or NULL, and the level's own image -> twice the size of either */
static dfx_value *record_fusion(const struct fusion *m, dfx_value *x, dfx_value *level)
{
    if (x) {
        dfx_spec s = *dfx_value_spec(x), own = *dfx_value_spec(level);
        if (s.dim[1] != own.dim[1] || s.dim[2] != own.dim[2])
            level = dfx_upsample_bilinear(level, s.dim[1], s.dim[2], 0);
        level = dfx_add(x, record_residual(&m->residual1, level));
    }
    x = record_residual(&m->residual2, level);
    x = dfx_upsample_bilinear(x, 2 * dfx_value_spec(x)->dim[1], 2 * dfx_value_spec(x)->dim[2], 1);
    return dfx__conv_record(&m->projection, x);
}

static dfx_value *record_head(const dfx__dpt_neck *m, dfx_value *x)
{
    if (m->projected)
        x = dfx_relu(dfx__conv_record(&m->projection, x));
    x = dfx__conv_record(&m->head[0], x);
    x = dfx_upsample_bilinear(x, 2 * dfx_value_spec(x)->dim[1], 2 * dfx_value_spec(x)->dim[2], 1);
    x = dfx_relu(dfx__conv_record(&m->head[1], x));
    x = dfx_relu(dfx__conv_record(&m->head[2], x));
    return dfx_reshape(x, 3, dfx_value_spec(x)->dim);
}

dfx_value *dfx__dpt_neck_record(const dfx__dpt_neck *m, dfx_value *const *state, int64_t height,
                                int64_t width)
{
    dfx_value *x = NULL, *any = state[0];
    for (int i = 0; i <= m->taken; i++) {
        int level = m->levels - 1 - i;
        dfx__push_in(any, "neck.%d", level);
        dfx_value *y = level < m->states.images
                           ? state[level]
                           : record_reassemble(m, level, state[level], height, width);
        x = record_fusion(&m->fusion[i], x, dfx__conv_record(&m->conv[level], y));
        dfx__pop_in(any);
    }
    dfx__push_in(any, "head");
    x = record_head(m, x);
    dfx__pop_in(any);
    return x;
}
