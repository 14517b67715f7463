/* unet2d_record.c - what a UNet2DModel computes. */
#include "core/dtype.h"
#include "model/unet2d.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdlib.h>

dfx__unet2d_facts dfx__unet2d_get_facts(const dfx_model *m)
{
    return ((const dfx__unet2d *)m->net)->facts;
}

/* What runs along the layers. */
struct flow {
    const dfx__unet2d *m;
    dfx_value *x;
    dfx_value *time;   /* as resnets take it */
    dfx_value *beside; /* the sample beside x in another size, of blocks with Skip; or NULL */
    dfx_value *kept[DFX__UNET2D_LEVELS * (DFX__UNET2D_LAYERS + 1) + 1];
    int count; /* of the outputs of the way down that are kept for the way up, newest last */
};

static void resnet(struct flow *f, const dfx__unet2d_block *b, int i)
{
    dfx__push_in(f->x, "resnets.%d", i);
    f->x = dfx__resnet_record(&b->resnet[i], f->x, f->time);
    dfx__pop_in(f->x);
}

static void resample(struct flow *f, const dfx__unet2d_block *b, const char *name)
{
    dfx__push_in(f->x, "%s", name);
    f->x = dfx__resnet_record(&b->resampler, f->x, f->time);
    dfx__pop_in(f->x);
}

static void attention(struct flow *f, const dfx__unet2d_block *b, int i)
{
    if (i >= b->attentions)
        return;
    dfx__push_in(f->x, "attentions.%d", i);
    f->x = dfx__attention_block_record(&b->attention[i], f->x);
    dfx__pop_in(f->x);
}

static void down(struct flow *f, const dfx__unet2d_block *b, int level)
{
    dfx__push_in(f->x, "down_blocks.%d", level);
    for (int i = 0; i < b->layers; i++) {
        resnet(f, b, i);
        attention(f, b, i);
        f->kept[f->count++] = f->x;
    }
    if (b->conv.weight)
        f->x = dfx__conv_record(&b->conv, f->x);
    else if (b->samples)
        resample(f, b, b->type->skips ? "resnet_down" : "downsamplers.0");
    if (b->samples && b->type->skips) {
        f->beside = dfx_resample(f->beside, &(dfx_resample_options){ DFX_BINOMIAL, 1, 2, 1, 1, 0 });
        f->x = dfx__conv_then_record(&b->skip_conv, f->beside, (dfx_epilogue){ .add = f->x });
    }
    if (b->samples)
        f->kept[f->count++] = f->x;
    dfx__pop_in(f->x);
}

static void middle(struct flow *f, const dfx__unet2d_block *b)
{
    if (!b->layers)
        return;
    dfx__push_in(f->x, "mid_block");
    resnet(f, b, 0);
    attention(f, b, 0);
    resnet(f, b, 1);
    dfx__pop_in(f->x);
}

/* Adds the block's own picture to what runs beside, in the size before it is doubled. */
static void add_beside(struct flow *f, const dfx__unet2d_block *b)
{
    if (f->beside)
        f->beside = dfx_resample(f->beside, &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 0 });
    if (b->samples)
        f->beside = dfx__conv_then_record(&b->skip_conv, dfx__norm_silu_record(&b->skip_norm, f->x),
                                          (dfx_epilogue){ .add = f->beside });
}

static void up(struct flow *f, const dfx__unet2d_block *b, int k)
{
    dfx__push_in(f->x, "up_blocks.%d", k);
    for (int i = 0; i < b->layers; i++) {
        f->x = dfx_concat(f->x, f->kept[--f->count]);
        resnet(f, b, i);
        if (!b->type->skips)
            attention(f, b, i);
    }
    if (b->type->skips) {
        attention(f, b, 0);
        add_beside(f, b);
    }
    if (b->conv.weight) {
        const dfx_spec *s = dfx_value_spec(f->x);
        f->x = dfx__conv_resized_record(&b->conv, f->x, 2 * s->dim[1], 2 * s->dim[2]);
    } else if (b->samples) {
        resample(f, b, b->type->skips ? "resnet_up" : "upsamplers.0");
    }
    dfx__pop_in(f->x);
}

/* ---- time and labels ---- */

/* [N] -> [N, first layer's width] */
static dfx_value *project(const dfx__unet2d *m, dfx_value *t, dfx_dtype dtype)
{
    dfx_value *y, *weight = dfx__weight_value(t, m->time_proj);
    dfx__push_in(t, "time_proj");
    if (m->time == DFX__TIME_FOURIER)
        y = dfx_fourier_embedding(t, weight, 1, 0);
    else if (m->time == DFX__TIME_LEARNED)
        y = dfx_embedding(t, weight);
    else
        y = dfx_timestep_embedding(t, m->channels[0], m->flip, m->freq_shift);
    dfx__pop_in(t);
    return dfx_cast(y, dtype);
}

static dfx_value *embed(const dfx__linear_layer *first, const dfx__linear_layer *second,
                        dfx_value *t, dfx_value *add)
{
    t = dfx__linear_then_record(first, t, (dfx_epilogue){ .activation = DFX_SILU });
    return dfx__linear_then_record(second, t, (dfx_epilogue){ .add = add });
}

static dfx_value *embed_time(const dfx__unet2d *m, const dfx__unet2d_inputs *in)
{
    dfx_dtype dtype = dfx_value_spec(in->sample)->dtype;
    dfx_value *t = embed(&m->time1, &m->time2, project(m, in->timestep, dtype), NULL);
    switch (m->facts.labels) {
    case DFX__LABEL_IDS:
        return dfx_add(t, dfx_embedding(in->labels, dfx__weight_value(t, m->label_table)));
    case DFX__LABEL_TIMES:
        return embed(&m->label1, &m->label2, project(m, in->labels, dtype), t);
    case DFX__LABEL_EMBEDDING:
        return dfx_add(t, dfx_cast(in->labels, dtype));
    default:
        return t;
    }
}

dfx_value *dfx__unet2d_record(const dfx_model *model, const dfx__unet2d_inputs *in)
{
    const dfx__unet2d *m = model->net;
    dfx_value *x = m->center_input ? dfx_scale(in->sample, 2, -1) : in->sample;
    dfx__push_in(x, "unet");
    struct flow f = { .m = m, .beside = x, .time = m->act(embed_time(m, in)) };
    f.kept[f.count++] = f.x = dfx__conv_record(&m->conv_in, x);
    for (int i = 0; i < m->levels; i++)
        down(&f, &m->down[i], i);
    middle(&f, &m->middle);
    f.beside = NULL;
    for (int k = 0; k < m->levels; k++)
        up(&f, &m->up[k], k);
    x = dfx__conv_then_record(&m->conv_out, dfx__norm_silu_record(&m->norm_out, f.x),
                              (dfx_epilogue){ .add = f.beside });
    if (m->time == DFX__TIME_FOURIER) /* scores: the network's result by the noise level */
        x = dfx_divide(x, in->timestep);
    dfx__pop_in(x);
    return x;
}

/* ---- forward ---- */

enum { SAMPLE, TIMESTEP, LABELS, INPUTS };
static const char *const input_name[] = { "sample", "timestep", "class_labels" };

struct given {
    dfx_spec spec[INPUTS];
    void *data[INPUTS]; /* NULL: the UNet takes no such input */
};

static dfx_status read_floats(struct given *g, int i, const dfx_tensors *in, int rank,
                              const int64_t *dim)
{
    float *data = NULL;
    dfx_status status = dfx__forward_floats(&data, &g->spec[i], in, input_name[i], rank, dim);
    g->data[i] = data;
    return status;
}

/* Numbers become ids, in place. */
static dfx_status make_ids(struct given *g, int i, int count)
{
    int32_t *id = g->data[i];
    for (size_t k = 0; k < dfx__elements(&g->spec[i]); k++) {
        float v = ((const float *)g->data[i])[k];
        if (!(v >= 0 && v < (float)count) || v != floorf(v))
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "the input tensor %s has %g: not a whole number from 0 to %d",
                             input_name[i], (double)v, count - 1);
        id[k] = (int32_t)v;
    }
    g->spec[i].dtype = DFX_I32;
    return DFX_OK;
}

static dfx_status read_labels(struct given *g, const dfx__unet2d_facts *f, const dfx_tensors *in,
                              int64_t batch)
{
    int count = f->labels == DFX__LABEL_IDS ? f->label_count : f->timestep_count;
    if (f->labels == DFX__NO_LABELS)
        return DFX_OK;
    if (f->labels == DFX__LABEL_EMBEDDING)
        return read_floats(g, LABELS, in, 2, (int64_t[]){ batch, f->label_width });
    DFX__TRY(read_floats(g, LABELS, in, 1, (int64_t[]){ batch }));
    return count ? make_ids(g, LABELS, count) : DFX_OK;
}

static dfx_status read_inputs(struct given *g, const dfx__unet2d_facts *f, const dfx_tensors *in)
{
    DFX__TRY(read_floats(g, SAMPLE, in, 4, (int64_t[]){ -1, f->in_channels, -1, -1 }));
    dfx_spec nchw = g->spec[SAMPLE], *s = &g->spec[SAMPLE];
    if (nchw.dim[2] % f->multiple || nchw.dim[3] % f->multiple)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the input tensor sample has %lld x %lld pixels; its sides must be "
                         "multiples of %d",
                         (long long)nchw.dim[3], (long long)nchw.dim[2], f->multiple);
    DFX__TRY(read_floats(g, TIMESTEP, in, 1, (int64_t[]){ nchw.dim[0] }));
    if (f->timestep_count)
        DFX__TRY(make_ids(g, TIMESTEP, f->timestep_count));
    DFX__TRY(read_labels(g, f, in, nchw.dim[0]));
    float *sample = dfx__alloc(dfx__elements(&nchw), sizeof *sample);
    if (!sample)
        return dfx__no_memory();
    dfx__to_channels_last(sample, g->data[SAMPLE], &nchw);
    free(g->data[SAMPLE]);
    g->data[SAMPLE] = sample;
    *s = (dfx_spec){ DFX_F32, 4, { nchw.dim[0], nchw.dim[2], nchw.dim[3], nchw.dim[1] } };
    return DFX_OK;
}

static dfx_value *input(dfx_sequence *s, const struct given *g, int i)
{
    const dfx_spec *spec = &g->spec[i];
    return g->data[i] ? dfx_input(s, input_name[i], spec->dtype, spec->rank, spec->dim) : NULL;
}

static dfx_status forward(const dfx_model *m, dfx_sequence *s, struct given *g,
                          const dfx_tensors *in, dfx_tensors *out)
{
    dfx__unet2d_facts facts = dfx__unet2d_get_facts(m);
    DFX__TRY(read_inputs(g, &facts, in));
    dfx__unet2d_inputs inputs = { dfx_cast(input(s, g, SAMPLE), s->dtype), input(s, g, TIMESTEP),
                                  input(s, g, LABELS) };
    dfx_value *y = dfx_cast(dfx__unet2d_record(m, &inputs), DFX_F32);
    dfx_output(y, "out");
    DFX__TRY(dfx_sequence_prepare(s));
    for (int i = 0; i < INPUTS; i++)
        if (g->data[i])
            DFX__TRY(
                dfx_sequence_write(s, input_name[i], g->data[i], dfx__spec_bytes(&g->spec[i])));
    DFX__TRY(dfx_sequence_run(s));
    return dfx__forward_result(out, "sample", s, "out", dfx_value_spec(y), 1);
}

dfx_status dfx__unet2d_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                               const dfx_tensors *in, dfx_tensors *out)
{
    dfx_sequence *s;
    struct given given = { .data = { NULL } };
    DFX__TRY(dfx_sequence_new(&s, device, dtype));
    dfx_status status = forward(m, s, &given, in, out);
    dfx_sequence_free(s);
    for (int i = 0; i < INPUTS; i++)
        free(given.data[i]);
    return status;
}
