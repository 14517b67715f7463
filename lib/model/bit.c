/* bit.c - the BiT backbone of DPT-Hybrid: a ResNet with group norms and standardised weights
 * (Kolesnikov et al. 2020), as transformers builds it with bottlenecks. */
#include "core/dtype.h"
#include "model/dpt.h"
#include "nn/activation.h"
#include "sequence/weight.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

enum { MAX_CHANNELS = 1 << 14, MAX_LAYERS = 64, STAGES = DFX__BIT_STAGES };

static const float weight_eps = 1e-8f, norm_eps = 1e-5f;

/* act(norm3(conv3(act(norm2(conv2(act(norm1(conv1 x))))))) + shortcut), its middle narrower */
struct bottleneck {
    dfx__conv conv1, conv2, conv3, shortcut; /* shortcut without weight: x itself */
    dfx__norm norm1, norm2, norm3, norm_shortcut;
};

struct dfx__bit {
    int in, embedding, groups, padded_pool;
    int depth[STAGES], channels[STAGES];
    dfx__activation *act;
    dfx__conv stem;
    dfx__norm norm;
    struct bottleneck *layer[STAGES];
};

static const dfx__config_rule rules[] = {
    { "depths", NULL, "bottlenecks of each stage" },
    { "drop_path_rate", "*", "of training" },
    { "embedding_dynamic_padding", NULL, "whether the pooling after the stem is padded" },
    { "embedding_size", NULL, "channels of the stem" },
    { "global_padding", NULL, "how convolutions are padded: SAME" },
    { "hidden_act", NULL, "the activation" },
    { "hidden_sizes", NULL, "channels of each stage" },
    { "layer_type", NULL, "what stages are made of: bottleneck" },
    { "num_channels", NULL, "channels of pictures" },
    { "num_groups", NULL, "groups of group norms" },
    { "out_features", NULL, "the stages that are taken: all three" },
    { "out_indices", "*", "out_features names them" },
    { "output_stride", NULL, "where stages dilate instead of halving: beyond the three" },
    { "stage_names", "*", "depths counts them" },
    { "width_factor", "1", "hidden_sizes says the width" },
    { NULL, NULL, NULL },
};

int dfx__bit_in_channels(const dfx__bit *m)
{
    return m->in;
}

int dfx__bit_channels(const dfx__bit *m, int stage)
{
    return m->channels[stage];
}

/* The next multiple of 8, unless that takes a tenth away. */
static int rounded(double channels)
{
    int y = (int)(channels + 4) / 8 * 8;
    y = y < 8 ? 8 : y;
    return y < 0.9 * channels ? y + 8 : y;
}

static void read_sizes(dfx__bit *m, dfx__config *c, int has_own)
{
    static const int depths[STAGES] = { 3, 4, 9 }, sizes[STAGES] = { 256, 512, 1024 };
    enum { MOST = 8 };
    int depth[MOST], size[MOST];
    int stages = dfx__config_length(c, "depths", MOST),
        n = dfx__config_length(c, "hidden_sizes", MOST);
    dfx__config_ints(c, "depths", depth, stages, 0, 1, MAX_LAYERS);
    dfx__config_ints(c, "hidden_sizes", size, n, 0, 1, MAX_CHANNELS);
    dfx__config_default(c, "depths", "[3, 4, 9]");
    dfx__config_default(c, "hidden_sizes", "[256, 512, 1024, 2048]");
    if (stages != STAGES && (stages || has_own))
        dfx__config_refuse(c, "depths", "only %d stages are supported", STAGES);
    if (n && n < STAGES)
        dfx__config_refuse(c, "hidden_sizes", "there are fewer than %d", STAGES);
    for (int i = 0; i < STAGES; i++) {
        m->depth[i] = stages ? depth[i] : depths[i];
        m->channels[i] = rounded(n ? size[i] : sizes[i]);
    }
}

static void read_stages(dfx__config *c)
{
    static const char *const name[STAGES] = { "stage1", "stage2", "stage3" };
    int n = dfx__config_length(c, "out_features", STAGES);
    dfx__config_default(c, "out_features", "[\"stage1\", \"stage2\", \"stage3\"]");
    for (int i = 0; i < n; i++)
        if (n != STAGES || strcasecmp(dfx__config_string_at(c, "out_features", i), name[i]) != 0)
            dfx__config_refuse(c, "out_features", "only stage1, stage2, stage3 are supported");
}

static void check_groups(const dfx__bit *m, dfx__config *c)
{
    int fit = m->embedding % m->groups == 0;
    for (int i = 0; i < STAGES; i++)
        fit = fit && m->channels[i] % m->groups == 0 &&
              rounded(0.25 * m->channels[i]) % m->groups == 0;
    if (!fit)
        dfx__config_refuse(c, "num_groups", "%d groups do not divide all of the channels",
                           m->groups);
}

static void read_config(dfx__bit *m, dfx__config *c, int has_own)
{
    const char *padding = dfx__config_string(c, "global_padding", has_own ? "" : "SAME");
    const char *layers =
        dfx__config_string(c, "layer_type", has_own ? "preactivation" : "bottleneck");
    m->in = dfx__config_int(c, "num_channels", 3, 1, 16);
    m->embedding = dfx__config_int(c, "embedding_size", 64, 1, MAX_CHANNELS);
    m->groups = dfx__config_int(c, "num_groups", 32, 1, MAX_CHANNELS);
    m->padded_pool = dfx__config_bool(c, "embedding_dynamic_padding", !has_own);
    m->act = dfx__config_activation(c, "hidden_act", "relu");
    dfx__config_int(c, "output_stride", 32, 16, 1 << 16); /* stride of the third stage */
    if (strcasecmp(padding, "SAME") != 0)
        dfx__config_refuse(c, "global_padding", "only SAME is supported");
    if (strcmp(layers, "bottleneck") != 0)
        dfx__config_refuse(c, "layer_type", "only bottleneck is supported");
    read_sizes(m, c, has_own);
    read_stages(c);
    check_groups(m, c);
}

dfx__bit *dfx__bit_new(dfx__config *config, dfx__loader *l)
{
    dfx__config own;
    dfx__bit *m = dfx__loader_alloc(l, 1, sizeof *m);
    if (!m)
        return NULL;
    int has_own = dfx__config_open_part(&own, config, "backbone_config");
    read_config(m, &own, has_own);
    dfx__config_finish(&own, rules);
    dfx__config_close_part(&own, config);
    for (int i = 0; i < STAGES && config->status == DFX_OK; i++)
        m->layer[i] = dfx__loader_alloc(l, (size_t)m->depth[i], sizeof *m->layer[i]);
    return config->status == DFX_OK && l->status == DFX_OK ? m : NULL;
}

/* ---- weights ---- */

/* n numbers to mean 0 and variance 1 (Qiao et al. 2019). */
static void standardize(float *w, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += w[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (w[i] - mean) * (w[i] - mean);
    double factor = 1 / sqrt(squares / (double)n + weight_eps);
    for (size_t i = 0; i < n; i++)
        w[i] = (float)((w[i] - mean) * factor);
}

/* A convolution whose weight is standardised for each output, in f32 whatever its file has. */
static void load_conv(dfx__conv *m, dfx__loader *l, const char *name, int in, int out, int kernel)
{
    dfx__conv_without_bias_load(m, l, name, in, out, kernel);
    size_t n = (size_t)in * (size_t)(kernel * kernel);
    if (!m->weight)
        return;
    dfx_weight *w = dfx__loader_alloc(l, 1, sizeof *w);
    float *data = dfx__loader_alloc(l, (size_t)out * n, sizeof *data);
    if (!w || !data)
        return;
    *w = (dfx_weight){ .name = m->weight->name, .file = m->weight->file, .spec = m->weight->spec };
    w->spec.dtype = DFX_F32;
    w->data = data;
    dfx__to_f32(data, m->weight->data, m->weight->spec.dtype, (size_t)out * n);
    for (int o = 0; o < out; o++)
        standardize(data + (size_t)o * n, n);
    m->weight = w;
}

static void load_layer(struct bottleneck *y, dfx__loader *l, const dfx__bit *m, int in, int out,
                       int stride)
{
    int middle = rounded(0.25 * out);
    load_conv(&y->conv1, l, "conv1", in, middle, 1);
    dfx__norm_load(&y->norm1, l, "norm1", middle, m->groups, norm_eps);
    load_conv(&y->conv2, l, "conv2", middle, middle, 3);
    dfx__norm_load(&y->norm2, l, "norm2", middle, m->groups, norm_eps);
    load_conv(&y->conv3, l, "conv3", middle, out, 1);
    dfx__norm_load(&y->norm3, l, "norm3", out, m->groups, norm_eps);
    y->conv2.options.stride = stride;
}

static void load_shortcut(struct bottleneck *y, dfx__loader *l, const dfx__bit *m, int in, int out,
                          int stride)
{
    dfx__enter(l, "downsample");
    load_conv(&y->shortcut, l, "conv", in, out, 1);
    dfx__norm_load(&y->norm_shortcut, l, "norm", out, m->groups, norm_eps);
    dfx__leave(l);
    y->shortcut.options.stride = stride;
}

void dfx__bit_load(dfx__bit *m, dfx__loader *l)
{
    int in = m->embedding;
    dfx__enter(l, "embedder");
    load_conv(&m->stem, l, "convolution", m->in, m->embedding, 7);
    m->stem.options.stride = 2;
    dfx__norm_load(&m->norm, l, "norm", m->embedding, m->groups, norm_eps);
    dfx__leave(l);
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < m->depth[s]; i++) {
            int stride = s > 0 && i == 0 ? 2 : 1;
            dfx__enter(l, "encoder.stages.%d.layers.%d", s, i);
            load_layer(&m->layer[s][i], l, m, in, m->channels[s], stride);
            if (i == 0)
                load_shortcut(&m->layer[s][i], l, m, in, m->channels[s], stride);
            dfx__leave(l);
            in = m->channels[s];
        }
}

/* ---- record ---- */

/* Zeros around an image. */
struct padding {
    int top, left, bottom, right;
};

/* What TensorFlow's SAME adds to a side so that a result comes from every stride-th pixel. */
static int missing(int64_t side, int kernel, int stride)
{
    int64_t needed = (side + stride - 1) / stride * stride - stride + kernel;
    return needed > side ? (int)(needed - side) : 0;
}

/* Of an odd number the larger half goes behind. */
static struct padding same_padding(const dfx_spec *s, int kernel, int stride)
{
    int down = missing(s->dim[1], kernel, stride), across = missing(s->dim[2], kernel, stride);
    return (struct padding){ down / 2, across / 2, down - down / 2, across - across / 2 };
}

static dfx_value *record_conv(const dfx__conv *m, dfx_value *x)
{
    dfx__conv padded = *m;
    dfx_conv2d_options *o = &padded.options;
    struct padding p = same_padding(dfx_value_spec(x), (int)m->weight->spec.dim[2], o->stride);
    o->top = p.top;
    o->left = p.left;
    o->bottom = p.bottom;
    o->right = p.right;
    return dfx__conv_record(&padded, x);
}

static dfx_value *record_layer(const dfx__bit *m, const struct bottleneck *y, dfx_value *x)
{
    dfx_value *h = dfx__norm_act_record(&y->norm1, record_conv(&y->conv1, x), NULL, m->act);
    h = dfx__norm_act_record(&y->norm2, record_conv(&y->conv2, h), NULL, m->act);
    h = dfx__norm_record(&y->norm3, record_conv(&y->conv3, h));
    if (y->shortcut.weight)
        x = dfx__norm_record(&y->norm_shortcut, record_conv(&y->shortcut, x));
    return m->act(dfx_add(h, x));
}

static dfx_value *record_stem(const dfx__bit *m, dfx_value *x)
{
    enum { KERNEL = 3, STRIDE = 2 };
    x = dfx__norm_act_record(&m->norm, record_conv(&m->stem, x), NULL, m->act);
    struct padding p = { 0, 0, 0, 0 };
    if (m->padded_pool)
        p = same_padding(dfx_value_spec(x), KERNEL, STRIDE);
    dfx_max_pool2d_options pool = { KERNEL, STRIDE, p.top, p.left, p.bottom, p.right };
    return dfx_max_pool2d(x, &pool);
}

void dfx__bit_record(const dfx__bit *m, dfx_value *x, dfx_value *stage[STAGES])
{
    dfx__push_in(x, "backbone");
    x = record_stem(m, x);
    for (int s = 0; s < STAGES; s++) {
        for (int i = 0; i < m->depth[s]; i++) {
            dfx__push_in(x, "stages.%d.layers.%d", s, i);
            x = record_layer(m, &m->layer[s][i], x);
            dfx__pop_in(x);
        }
        stage[s] = x;
    }
    dfx__pop_in(x);
}
