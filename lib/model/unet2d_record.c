/* unet2d_record.c - what a UNet2DModel computes. */
#include "model/forward.h"
#include "model/unet2d.h"

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

static dfx_status read_labels(dfx_value **to, dfx__forward *f, const dfx__unet2d_facts *facts,
                              int64_t batch)
{
    static const char name[] = "class_labels";
    int count = facts->labels == DFX__LABEL_IDS ? facts->label_count : facts->timestep_count;
    if (facts->labels == DFX__NO_LABELS)
        return DFX_OK;
    if (facts->labels == DFX__LABEL_EMBEDDING)
        return dfx__given_numbers(to, f, name, 2, (int64_t[]){ batch, facts->label_width });
    return count ? dfx__given_whole(to, f, name, batch, count)
                 : dfx__given_numbers(to, f, name, 1, &batch);
}

dfx_status dfx__unet2d_forward(const dfx_model *m, dfx__forward *f)
{
    dfx__unet2d_facts facts = dfx__unet2d_get_facts(m);
    dfx__unet2d_inputs in = { .sample = NULL };
    DFX__TRY(dfx__given_image(&in.sample, f, "sample", facts.in_channels));
    const int64_t *dim = f->given[0].spec.dim;
    int64_t n = dim[0];
    if (dim[1] % facts.multiple || dim[2] % facts.multiple)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the input tensor sample has %lld x %lld pixels; its sides must be "
                         "multiples of %d",
                         (long long)dim[2], (long long)dim[1], facts.multiple);
    DFX__TRY(facts.timestep_count
                 ? dfx__given_whole(&in.timestep, f, "timestep", n, facts.timestep_count)
                 : dfx__given_numbers(&in.timestep, f, "timestep", 1, &n));
    DFX__TRY(read_labels(&in.labels, f, &facts, n));
    dfx__forward_result(f, "sample", dfx__unet2d_record(m, &in));
    return dfx__forward_run(f);
}
