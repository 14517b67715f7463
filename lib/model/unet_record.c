/* unet_record.c - what a UNet2DConditionModel computes. */
#include "core/dtype.h"
#include "model/unet.h"
#include "sequence/sequence.h"

#include <stdlib.h>
#include <string.h>

dfx__unet_facts dfx__unet_get_facts(const dfx__unet *m)
{
    return m->facts;
}

/* The outputs of the down path that the up path takes, the newest last. */
struct skips {
    dfx_value *v[DFX__UNET_LEVELS * 65 + 1];
    int n;
};

static dfx_value *resnet(const struct block *b, int i, dfx_value *x, dfx_value *time)
{
    dfx__push_in(x, "resnets.%d", i);
    x = dfx__resnet_record(&b->resnet[i], x, time);
    dfx__pop_in(x);
    return x;
}

static dfx_value *transformer(const struct block *b, int i, dfx_value *x, dfx_value *text)
{
    dfx__push_in(x, "attentions.%d", i);
    x = dfx__transformer_record(&b->transformer[i], x, text);
    dfx__pop_in(x);
    return x;
}

static dfx_value *layer(const struct block *b, int i, dfx_value *x, dfx_value *time,
                        dfx_value *text)
{
    x = resnet(b, i, x, time);
    return b->attention ? transformer(b, i, x, text) : x;
}

static dfx_value *down(const struct block *b, int level, dfx_value *x, dfx_value *time,
                       dfx_value *text, struct skips *skips)
{
    dfx__push_in(x, "down_blocks.%d", level);
    for (int i = 0; i < b->layers; i++)
        skips->v[skips->n++] = x = layer(b, i, x, time, text);
    if (b->sampler.weight)
        skips->v[skips->n++] = x = dfx__conv_record(&b->sampler, x);
    dfx__pop_in(x);
    return x;
}

static dfx_value *mid(const struct block *b, dfx_value *x, dfx_value *time, dfx_value *text)
{
    dfx__push_in(x, "mid_block");
    x = resnet(b, 0, x, time);
    x = transformer(b, 0, x, text);
    x = resnet(b, 1, x, time);
    dfx__pop_in(x);
    return x;
}

/* The result is brought to the size of the next block's first skip: twice, unless a size on the way
 * down was odd. */
static dfx_value *up(const struct block *b, int k, dfx_value *x, dfx_value *time, dfx_value *text,
                     struct skips *skips)
{
    dfx__push_in(x, "up_blocks.%d", k);
    for (int i = 0; i < b->layers; i++)
        x = layer(b, i, dfx_concat(x, skips->v[--skips->n]), time, text);
    if (b->sampler.weight) {
        const dfx_spec *next = dfx_value_spec(skips->v[skips->n - 1]);
        x = dfx__conv_resized_record(&b->sampler, x, next->dim[1], next->dim[2]);
    }
    dfx__pop_in(x);
    return x;
}

/* [N] -> [N, time_width], after the activation unless more is to be added */
static dfx_value *embed_time(const dfx__unet *m, dfx_value *timestep, dfx_dtype dtype)
{
    dfx__push_in(timestep, "time_embedding");
    dfx_value *t = dfx_timestep_embedding(timestep, m->channels[0], m->flip, m->freq_shift);
    dfx_activation last = m->facts.added_width ? DFX_IDENTITY : DFX_SILU;
    t = dfx__linear_then_record(&m->time1, dfx_cast(t, dtype),
                                (dfx_epilogue){ .activation = DFX_SILU });
    t = dfx__linear_then_record(&m->time2, t, (dfx_epilogue){ .activation = last });
    dfx__pop_in(timestep);
    return t;
}

/* [N, P], [N, K] -> [N, time_width], added to `time` */
static dfx_value *embed_added(const dfx__unet *m, dfx_value *text_embeds, dfx_value *time_ids,
                              dfx_value *time)
{
    dfx_spec ids = *dfx_value_spec(time_ids);
    int64_t n = ids.dim[0], count = ids.dim[1], width = m->facts.size_width;
    dfx__push_in(time_ids, "add_embedding");
    dfx_value *t = dfx_reshape(time_ids, 1, (int64_t[]){ n * count });
    t = dfx_timestep_embedding(t, (int)width, m->flip, m->freq_shift);
    t = dfx_reshape(t, 2, (int64_t[]){ n, count * width });
    t = dfx_concat(text_embeds, dfx_cast(t, dfx_value_spec(text_embeds)->dtype));
    t = dfx__linear_then_record(&m->added1, t, (dfx_epilogue){ .activation = DFX_SILU });
    t = dfx__linear_then_record(&m->added2, t, (dfx_epilogue){ .add = time });
    dfx__pop_in(time_ids);
    return t;
}

/* -> [N, time_width], after the activation that every resnet applies to it */
static dfx_value *embed(const dfx__unet *m, const dfx__unet_inputs *in)
{
    dfx_value *t = embed_time(m, in->timestep, dfx_value_spec(in->sample)->dtype);
    if (!m->facts.added_width)
        return t;
    return dfx_silu(embed_added(m, in->text_embeds, in->time_ids, t));
}

dfx_value *dfx__unet_record(const dfx__unet *m, const dfx__unet_inputs *in)
{
    struct skips skips = { .n = 0 };
    dfx_value *x = m->center_input ? dfx_scale(in->sample, 2, -1) : in->sample;
    dfx__push_in(x, "unet");
    dfx_value *time = embed(m, in);
    skips.v[skips.n++] = x = dfx__conv_record(&m->conv_in, x);
    for (int i = 0; i < m->levels; i++)
        x = down(&m->down[i], i, x, time, in->text, &skips);
    x = mid(&m->mid, x, time, in->text);
    for (int k = 0; k < m->levels; k++)
        x = up(&m->up[k], k, x, time, in->text, &skips);
    x = dfx__conv_record(&m->conv_out, dfx__norm_silu_record(&m->norm_out, x));
    dfx__pop_in(x);
    return x;
}

/* ---- forward ---- */

/* The tensors of dfx__unet_inputs, under diffusers' names. */
enum { SAMPLE, TIMESTEP, TEXT, TEXT_EMBEDS, TIME_IDS, INPUTS };
static const char *const input_name[] = { "sample", "timestep", "encoder_hidden_states",
                                          "text_embeds", "time_ids" };

struct given {
    dfx_spec spec[INPUTS];
    float *data[INPUTS]; /* NULL: the UNet takes no such input */
};

static dfx_status read_input(struct given *g, int i, const dfx_tensors *in, int rank,
                             const int64_t *dim)
{
    return dfx__forward_floats(&g->data[i], &g->spec[i], in, input_name[i], rank, dim);
}

static dfx_status read_added(struct given *g, const dfx__unet_facts *f, const dfx_tensors *in,
                             int64_t batch)
{
    DFX__TRY(read_input(g, TIME_IDS, in, 2, (int64_t[]){ batch, -1 }));
    int64_t ids = g->spec[TIME_IDS].dim[1], most = (f->added_width - 1) / f->size_width;
    if (ids > most)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the input tensor time_ids has %lld entries for each sample; the UNet's "
                         "add_embedding takes %lld at most",
                         (long long)ids, (long long)most);
    int64_t pooled = f->added_width - ids * f->size_width;
    return read_input(g, TEXT_EMBEDS, in, 2, (int64_t[]){ batch, pooled });
}

static dfx_status read_inputs(struct given *g, const dfx__unet_facts *f, const dfx_tensors *in)
{
    DFX__TRY(read_input(g, SAMPLE, in, 4, (int64_t[]){ -1, f->in_channels, -1, -1 }));
    dfx_spec nchw = g->spec[SAMPLE];
    int64_t n = nchw.dim[0], nhwc[] = { n, nchw.dim[2], nchw.dim[3], nchw.dim[1] };
    DFX__TRY(read_input(g, TIMESTEP, in, 1, (int64_t[]){ n }));
    DFX__TRY(read_input(g, TEXT, in, 3, (int64_t[]){ n, -1, f->context }));
    if (f->added_width)
        DFX__TRY(read_added(g, f, in, n));
    float *sample = dfx__alloc(dfx__elements(&nchw), sizeof *sample);
    if (!sample)
        return dfx__no_memory();
    dfx__to_channels_last(sample, g->data[SAMPLE], &nchw);
    free(g->data[SAMPLE]);
    g->data[SAMPLE] = sample;
    memcpy(g->spec[SAMPLE].dim, nhwc, sizeof nhwc);
    return DFX_OK;
}

/* In the sequence's dtype, but for numbers that go into sinusoids; NULL where not given. */
static dfx_value *input(dfx_sequence *s, const struct given *g, int i)
{
    if (!g->data[i])
        return NULL;
    dfx_value *v = dfx_input(s, input_name[i], DFX_F32, g->spec[i].rank, g->spec[i].dim);
    return i == TIMESTEP || i == TIME_IDS ? v : dfx_cast(v, s->dtype);
}

static dfx_status write_inputs(dfx_sequence *s, const struct given *g)
{
    for (int i = 0; i < INPUTS; i++) {
        size_t bytes = dfx__spec_bytes(&g->spec[i]);
        if (g->data[i])
            DFX__TRY(dfx_sequence_write(s, input_name[i], g->data[i], bytes));
    }
    return DFX_OK;
}

static dfx_status forward(const dfx__unet *m, dfx_sequence *s, struct given *g,
                          const dfx_tensors *in, dfx_tensors *out)
{
    DFX__TRY(read_inputs(g, &m->facts, in));
    dfx__unet_inputs inputs = { input(s, g, SAMPLE), input(s, g, TIMESTEP), input(s, g, TEXT),
                                input(s, g, TEXT_EMBEDS), input(s, g, TIME_IDS) };
    dfx_value *y = dfx_cast(dfx__unet_record(m, &inputs), DFX_F32);
    dfx_output(y, "out");
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(write_inputs(s, g));
    DFX__TRY(dfx_sequence_run(s));
    return dfx__forward_result(out, "sample", s, "out", dfx_value_spec(y), 1);
}

dfx_status dfx__unet_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                             const dfx_tensors *in, dfx_tensors *out)
{
    dfx_sequence *s;
    struct given given = { .data = { NULL } };
    DFX__TRY(dfx_sequence_new(&s, device, dtype));
    dfx_status status = forward(m->net, s, &given, in, out);
    dfx_sequence_free(s);
    for (int i = 0; i < INPUTS; i++)
        free(given.data[i]);
    return status;
}
