/* unet_record.c - what a UNet2DConditionModel computes. */
#include "core/dtype.h"
#include "model/unet.h"
#include "sequence/sequence.h"

#include <stdlib.h>

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
        x = dfx_upsample_nearest(x, next->dim[1], next->dim[2]);
        x = dfx__conv_record(&b->sampler, x);
    }
    dfx__pop_in(x);
    return x;
}

/* [N] -> [N, time_width], after the activation that every resnet applies to it */
static dfx_value *embed_time(const dfx__unet *m, dfx_value *timestep, dfx_dtype dtype)
{
    dfx__push_in(timestep, "time_embedding");
    dfx_value *t = dfx_timestep_embedding(timestep, m->channels[0], m->flip, m->freq_shift);
    t = dfx__linear_record(&m->time1, dfx_cast(t, dtype));
    t = dfx_silu(dfx__linear_record(&m->time2, dfx_silu(t)));
    dfx__pop_in(timestep);
    return t;
}

dfx_value *dfx__unet_record(const dfx__unet *m, dfx_value *sample, dfx_value *timestep,
                            dfx_value *text)
{
    struct skips skips = { .n = 0 };
    dfx_value *x = m->center_input ? dfx_scale(sample, 2, -1) : sample;
    dfx__push_in(x, "unet");
    dfx_value *time = embed_time(m, timestep, dfx_value_spec(x)->dtype);
    skips.v[skips.n++] = x = dfx__conv_record(&m->conv_in, x);
    for (int i = 0; i < m->levels; i++)
        x = down(&m->down[i], i, x, time, text, &skips);
    x = mid(&m->mid, x, time, text);
    for (int k = 0; k < m->levels; k++)
        x = up(&m->up[k], k, x, time, text, &skips);
    x = dfx__conv_record(&m->conv_out, dfx__norm_silu_record(&m->norm_out, x));
    dfx__pop_in(x);
    return x;
}

static dfx_status forward(const dfx__unet *m, dfx_sequence *s, const dfx_tensors *in,
                          dfx_tensors *out, float **room)
{
    dfx_spec x, t, text;
    const dfx__unet_facts *f = &m->facts;
    DFX__TRY(dfx__forward_floats(&room[0], &x, in, "sample", 4,
                                 (int64_t[]){ -1, f->in_channels, -1, -1 }));
    DFX__TRY(dfx__forward_floats(&room[1], &t, in, "timestep", 1, (int64_t[]){ x.dim[0] }));
    DFX__TRY(dfx__forward_floats(&room[2], &text, in, "encoder_hidden_states", 3,
                                 (int64_t[]){ x.dim[0], -1, f->context }));
    int64_t nhwc[] = { x.dim[0], x.dim[2], x.dim[3], x.dim[1] };
    dfx_dtype dtype = s->dtype;
    dfx_value *y = dfx__unet_record(m, dfx_cast(dfx_input(s, "sample", DFX_F32, 4, nhwc), dtype),
                                    dfx_input(s, "timestep", DFX_F32, 1, t.dim),
                                    dfx_cast(dfx_input(s, "text", DFX_F32, 3, text.dim), dtype));
    y = dfx_cast(y, DFX_F32);
    dfx_output(y, "out");
    DFX__TRY(dfx_sequence_prepare(s));
    room[3] = dfx__alloc(dfx__elements(&x), sizeof(float));
    if (!room[3])
        return dfx__no_memory();
    dfx__to_channels_last(room[3], room[0], &x);
    DFX__TRY(dfx_sequence_write(s, "sample", room[3], dfx__spec_bytes(&x)));
    DFX__TRY(dfx_sequence_write(s, "timestep", room[1], dfx__spec_bytes(&t)));
    DFX__TRY(dfx_sequence_write(s, "text", room[2], dfx__spec_bytes(&text)));
    DFX__TRY(dfx_sequence_run(s));
    return dfx__forward_result(out, "sample", s, "out", dfx_value_spec(y), 1);
}

dfx_status dfx__unet_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                             const dfx_tensors *in, dfx_tensors *out)
{
    dfx_sequence *s;
    float *room[4] = { NULL };
    DFX__TRY(dfx_sequence_new(&s, device, dtype));
    dfx_status status = forward(m->net, s, in, out, room);
    dfx_sequence_free(s);
    for (int i = 0; i < 4; i++)
        free(room[i]);
    return status;
}
