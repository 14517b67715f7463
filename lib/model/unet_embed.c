/* unet_embed.c - a UNet2DConditionModel's embeddings of the time and of what is added to it. */
#include "model/unet.h"

#include <math.h>

static void load_layers(struct time_layers *t, dfx__loader *l, const char *name, int in, int width,
                        dfx__activation *act)
{
    t->act = act;
    dfx__enter(l, "%s", name);
    dfx__linear_load(&t->linear1, l, "linear_1", in, width, 1);
    dfx__linear_load(&t->linear2, l, "linear_2", width, width, 1);
    dfx__leave(l);
}

static void load_time(dfx__unet *m, dfx__loader *l, int in)
{
    const struct embed_config *e = &m->embed;
    if (e->fourier)
        m->frequency = dfx__load(l, "time_proj.weight", 1, (int64_t[]){ in / 2 });
    load_layers(&m->time, l, "time_embedding", in, e->width, e->act);
    m->time.post = e->post;
    if (m->facts.cond_width) {
        dfx__enter(l, "time_embedding");
        dfx__linear_load(&m->time.cond, l, "cond_proj", m->facts.cond_width, in, 0);
        dfx__leave(l);
    }
}

static void load_class(dfx__unet *m, dfx__loader *l, int in)
{
    const struct embed_config *e = &m->embed;
    const dfx__unet_facts *f = &m->facts;
    if (e->class == CLASS_IDS)
        m->class_table =
            dfx__load(l, "class_embedding.weight", 2, (int64_t[]){ f->class_count, e->width });
    else if (e->class == CLASS_TIMESTEP)
        load_layers(&m->class, l, "class_embedding", in, e->width, e->act);
    else if (e->class == CLASS_LAYERS)
        load_layers(&m->class, l, "class_embedding", f->class_width, e->width, dfx_silu);
    else if (e->class == CLASS_LINEAR)
        dfx__linear_load(&m->class_linear, l, "class_embedding", f->class_width, e->width, 1);
}

static void load_pool(struct text_pool *p, dfx__loader *l, const struct embed_config *e)
{
    int width = e->pooled_width;
    p->heads = e->pool_heads;
    dfx__norm_load(&p->norm1, l, "norm1", width, 0, 1e-5f);
    dfx__enter(l, "pool");
    p->position = dfx__load(l, "positional_embedding", 2, (int64_t[]){ 1, width });
    dfx__linear_load(&p->q, l, "q_proj", width, width, 1);
    dfx__linear_load(&p->k, l, "k_proj", width, width, 1);
    dfx__linear_load(&p->v, l, "v_proj", width, width, 1);
    dfx__leave(l);
    dfx__linear_load(&p->proj, l, "proj", width, e->width, 1);
    dfx__norm_load(&p->norm2, l, "norm2", e->width, 0, 1e-5f);
}

void dfx__unet_embed_load(dfx__unet *m, dfx__loader *l)
{
    int in = m->embed.fourier ? m->embed.width : m->channels[0]; /* of sinusoids */
    load_time(m, l, in);
    load_class(m, l, in);
    if (m->facts.added_width)
        load_layers(&m->added, l, "add_embedding", m->facts.added_width, m->embed.width, dfx_silu);
    if (m->embed.pooled_width) {
        dfx__enter(l, "add_embedding");
        load_pool(&m->pool, l, &m->embed);
        dfx__leave(l);
    }
    if (m->projects_text)
        dfx__linear_load(&m->text_proj, l, "encoder_hid_proj", m->facts.context, m->text_width, 1);
}

/* t [N] f32 -> [N, channels of sinusoids] in dtype */
static dfx_value *sinusoids(const dfx__unet *m, dfx_value *t, dfx_dtype dtype)
{
    const struct embed_config *e = &m->embed;
    if (m->frequency)
        t = dfx_fourier_embedding(t, dfx__weight_value(t, m->frequency), 0, e->flip);
    else
        t = dfx_timestep_embedding(t, m->channels[0], e->flip, e->freq_shift);
    return dfx_cast(t, dtype);
}

/* condition: NULL for none; last: what is done to the result; add: to the result, or NULL */
static dfx_value *record_layers(const struct time_layers *t, const char *name, dfx_value *x,
                                dfx_value *condition, dfx__activation *last, dfx_value *add)
{
    dfx_value *path = x;
    dfx__push_in(path, "%s", name);
    if (condition)
        x = dfx__linear_then_record(&t->cond, condition, (dfx_epilogue){ .add = x });
    x = dfx__linear_act_record(&t->linear1, x, t->act);
    if (add)
        x = dfx__linear_then_record(&t->linear2, x, (dfx_epilogue){ .add = add });
    else
        x = dfx__linear_act_record(&t->linear2, x, last);
    dfx__pop_in(path);
    return x;
}

/* -> [N, width] */
static dfx_value *embed_class(const dfx__unet *m, dfx_value *labels, dfx_dtype dtype)
{
    switch (m->embed.class) {
    case CLASS_IDS:
        return dfx_embedding(labels, dfx__weight_value(labels, m->class_table));
    case CLASS_TIMESTEP:
        labels = sinusoids(m, labels, dtype);
        return record_layers(&m->class, "class_embedding", labels, NULL, NULL, NULL);
    case CLASS_LAYERS:
        return record_layers(&m->class, "class_embedding", labels, NULL, NULL, NULL);
    case CLASS_LINEAR:
        return dfx__linear_record(&m->class_linear, labels);
    default:
        return labels;
    }
}

/* [N, P], [N, K] -> [N, width], added to `time` */
static dfx_value *embed_added(const dfx__unet *m, dfx_value *text_embeds, dfx_value *time_ids,
                              dfx_value *time)
{
    dfx_spec ids = *dfx_value_spec(time_ids);
    int64_t n = ids.dim[0], count = ids.dim[1], width = m->facts.size_width;
    dfx_value *t = dfx_reshape(time_ids, 1, (int64_t[]){ n * count });
    t = dfx_timestep_embedding(t, (int)width, m->embed.flip, m->embed.freq_shift);
    t = dfx_reshape(t, 2, (int64_t[]){ n, count * width });
    t = dfx_concat(text_embeds, dfx_cast(t, dfx_value_spec(text_embeds)->dtype));
    return record_layers(&m->added, "add_embedding", t, NULL, NULL, time);
}

/* text [N, T, D] -> [N, width]. Attention with scale 0 is the mean of what it attends to. */
static dfx_value *pool_text(const struct text_pool *p, dfx_value *text)
{
    dfx_spec s = *dfx_value_spec(text);
    dfx__push_in(text, "add_embedding");
    dfx_value *x = dfx__norm_record(&p->norm1, text);
    dfx_value *mean = dfx_attention(dfx_slice(x, 1, 0, 1), x, x, 1, 0, 0);
    mean = dfx_add(mean, dfx__weight_value(x, p->position));
    x = dfx__concat_tokens(mean, x);
    float scale = 1 / sqrtf((float)(s.dim[2] / p->heads));
    dfx_value *q = dfx__linear_record(&p->q, mean);
    x = dfx_attention(q, dfx__linear_record(&p->k, x), dfx__linear_record(&p->v, x), p->heads,
                      scale, 0);
    x = dfx__linear_record(&p->proj, dfx_reshape(x, 2, (int64_t[]){ s.dim[0], s.dim[2] }));
    x = dfx__norm_record(&p->norm2, x);
    dfx__pop_in(text);
    return x;
}

static int takes_act(const struct block *b)
{
    return b->type != BLOCK_NONE && !b->raw_time;
}

/* The activation is the last linear layer's where nothing lies between them. */
struct block_time dfx__unet_embed_record(const dfx__unet *m, const dfx__unet_inputs *in)
{
    const struct embed_config *e = &m->embed;
    dfx_dtype dtype = dfx_value_spec(in->sample)->dtype;
    int raw = m->mid.raw_time, act = takes_act(&m->mid);
    for (int i = 0; i < m->levels; i++) {
        raw |= m->down[i].raw_time || m->up[i].raw_time;
        act |= takes_act(&m->down[i]) || takes_act(&m->up[i]);
    }
    int bare = !raw && !e->post && !e->last && e->class == CLASS_NONE && !m->facts.added_width &&
               !e->pooled_width;
    dfx_value *t = record_layers(&m->time, "time_embedding", sinusoids(m, in->timestep, dtype),
                                 in->timestep_cond, bare ? e->act : e->post, NULL);
    if (bare)
        return (struct block_time){ NULL, t };
    if (e->class != CLASS_NONE) {
        dfx_value *class = embed_class(m, in->class_labels, dtype);
        t = e->blocks_width != e->width ? dfx_concat(t, class) : dfx_add(t, class);
    }
    if (m->facts.added_width)
        t = embed_added(m, in->text_embeds, in->time_ids, t);
    if (e->pooled_width)
        t = dfx_add(t, pool_text(&m->pool, in->text));
    if (e->last)
        t = e->last(t);
    return (struct block_time){ raw ? t : NULL, act ? e->act(t) : NULL };
}
