/* text.c - prompts become the states of CLIP's text encoders. */
#include "core/dtype.h"
#include "device/device.h"
#include "pipeline/fit.h"
#include "pipeline/run.h"

#include <stdlib.h>
#include <string.h>

const char *dfx__prompt(const dfx_generate_options *o, int i, int negative)
{
    const char *text = o->prompts ? o->prompts[i] : o->prompt;
    if (negative)
        text = o->negative_prompts ? o->negative_prompts[i] : o->negative_prompt;
    return text ? text : "";
}

/* ---- texts to states ---- */

static const dfx__clip_text *text_encoder(const dfx__run *r, int tower)
{
    return r->p->model[DFX__TEXT_ENCODER + tower]->net;
}

/* ids [texts, tokens] */
static dfx_status tokenize(const dfx__run *r, const dfx__texts *t, int32_t *ids)
{
    const dfx_tokenizer *tokenizer = r->p->tokenizer[t->tower];
    int lost, tokens = dfx_tokenizer_length(tokenizer);
    for (int i = 0; i < t->count; i++) {
        DFX__TRY(dfx_tokenizer_encode(tokenizer, t->text[i], ids + i * tokens, NULL, &lost));
        if (lost && !t->quiet && !r->p->device->rehearses)
            dfx__log("the %s is %d token%s longer than the %d that the model takes; the end is "
                     "ignored",
                     i < t->negative ? "negative prompt" : "prompt", lost, lost == 1 ? "" : "s",
                     tokens);
    }
    return DFX_OK;
}

/* Texts of a run, as one sequence. */
typedef struct {
    const dfx__run *r;
    const dfx__texts *t;
    int pooled;
} encoding;

static void record(const void *user, dfx_sequence *s)
{
    const encoding *e = user;
    const dfx__run *r = e->r;
    const dfx__texts *t = e->t;
    const dfx__clip_text *m = text_encoder(r, t->tower);
    const int64_t count = t->count, tokens = dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    dfx__clip_text_inputs in = { dfx_input(s, "ids", DFX_I32, 2, (int64_t[]){ count, tokens }),
                                 NULL, t->skip };
    dfx__clip_text_outputs out;
    if (e->pooled)
        in.pool = dfx_input(s, "pool", DFX_F32, 3, (int64_t[]){ count, 1, tokens });
    int pools = t->pooler ? DFX__CLIP_POOLED : DFX__CLIP_EMBEDS;
    dfx__clip_text_record(m, &in, DFX__CLIP_HIDDEN | (e->pooled ? pools : 0), &out);
    dfx_value *states = t->norm ? dfx__clip_text_norm(m, out.hidden) : out.hidden;
    dfx_output(dfx_cast(states, DFX_F32), "states");
    if (e->pooled)
        dfx_output(dfx_cast(t->pooler ? out.pooler_output : out.text_embeds, DFX_F32), "pooled");
}

static int pooled_width(const dfx__run *r, const dfx__texts *t)
{
    dfx__clip_text_facts facts = dfx__tower_facts(r->p, t->tower);
    return t->pooler ? facts.channels : facts.projection;
}

/* `pool` is a room of ids' size. */
static dfx_status run(const dfx__run *r, const dfx__texts *t, dfx_sequence *s, const int32_t *ids,
                      float *pool, float *states, float *pooled, int *again)
{
    const dfx__clip_text *m = text_encoder(r, t->tower);
    int tokens = dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    size_t rows = (size_t)(t->count * tokens), width = sizeof(float);
    dfx__clip_text_facts facts = dfx__tower_facts(r->p, t->tower);
    DFX__TRY(dfx_sequence_write(s, "ids", ids, rows * sizeof *ids));
    if (pooled) {
        dfx__clip_text_pool(m, ids, t->count, tokens, pool);
        DFX__TRY(dfx_sequence_write(s, "pool", pool, rows * width));
    }
    DFX__TRY(dfx_sequence_run(s));
    int slot = DFX__TEXT_ENCODER + t->tower;
    size_t n = rows * (size_t)facts.channels;
    DFX__TRY(dfx_sequence_read(s, "states", states, n * width));
    DFX__TRY(dfx__guard(r->p, slot, s, states, n, again));
    if (!pooled || *again)
        return DFX_OK;
    n = (size_t)(t->count * pooled_width(r, t));
    DFX__TRY(dfx_sequence_read(s, "pooled", pooled, n * width));
    return dfx__guard(r->p, slot, s, pooled, n, again);
}

/* Texts that leave out the same layers: t->skip of them. */
static dfx_status encode_alike(dfx__run *r, const dfx__texts *t, const int32_t *ids, float *states,
                               float *pooled)
{
    dfx_sequence *s = NULL;
    encoding e = { r, t, pooled != NULL };
    dfx__job job = { r->p->model_name[DFX__TEXT_ENCODER + t->tower], r->p->dtype, record, &e, 0 };
    size_t rows = (size_t)(t->count * dfx_tokenizer_length(r->p->tokenizer[t->tower]));
    float *pool = dfx__alloc(rows, sizeof *pool);
    dfx_status status = pool ? DFX_OK : dfx__no_memory();
    int again = 1;
    while (status == DFX_OK && again) {
        job.dtype = dfx__component_dtype(r->p, DFX__TEXT_ENCODER + t->tower);
        status = dfx__fit(&s, r->p, &job);
        if (status == DFX_OK)
            status = run(r, t, s, ids, pool, states, pooled, &again);
        dfx_sequence_free(s);
        s = NULL;
    }
    free(pool);
    return status;
}

dfx_status dfx__encode_ids(dfx__run *r, const dfx__texts *t, const int32_t *ids, float *states,
                           float *pooled)
{
    dfx__clip_text_facts facts = dfx__tower_facts(r->p, t->tower);
    int before = t->clip_skip ? t->negative : 0; /* texts that leave out fewer layers */
    int tokens = before * dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    dfx__texts part = *t;
    part.count = before;
    if (before)
        DFX__TRY(encode_alike(r, &part, ids, states, pooled));
    part.count = t->count - before;
    part.skip += t->clip_skip;
    return encode_alike(r, &part, ids + tokens, states + (size_t)tokens * (size_t)facts.channels,
                        pooled ? pooled + before * pooled_width(r, t) : NULL);
}

dfx_status dfx__encode_texts(dfx__run *r, const dfx__texts *t, float *states, float *pooled)
{
    size_t rows = (size_t)(t->count * dfx_tokenizer_length(r->p->tokenizer[t->tower]));
    int32_t *ids = dfx__alloc(rows, sizeof *ids);
    dfx_status status = ids ? tokenize(r, t, ids) : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__encode_ids(r, t, ids, states, pooled);
    free(ids);
    return status;
}

/* ---- prompts ---- */

dfx_status dfx__make_prompt_embeds(dfx__run *r, int64_t texts, int64_t tokens)
{
    int first = dfx__first_tower(r->p), end = dfx__end_tower(r->p), channels = 0;
    int width = dfx__tower_facts(r->p, end - 1).projection;
    for (int tower = first; tower < end; tower++)
        channels += dfx__tower_facts(r->p, tower).channels;
    const dfx_spec states = { DFX_F32, 3, { texts, tokens, channels } };
    const dfx_spec pooled = { DFX_F32, 2, { texts, width } };
    dfx_tensor *to = &r->result->prompt_embeds, *pooled_to = &r->result->pooled_prompt_embeds;
    *to = (dfx_tensor){ "prompt_embeds", states, dfx__alloc(dfx__elements(&states), sizeof(float)),
                        dfx__spec_bytes(&states) };
    if (width)
        *pooled_to = (dfx_tensor){ "pooled_prompt_embeds", pooled,
                                   dfx__alloc(dfx__elements(&pooled), sizeof(float)),
                                   dfx__spec_bytes(&pooled) };
    return to->data && (pooled_to->data || !width) ? DFX_OK : dfx__no_memory();
}

dfx_status dfx__take_prompt_embeds(dfx__run *r)
{
    const dfx_tensor *states = &r->result->prompt_embeds;
    const dfx_tensor *pooled = &r->result->pooled_prompt_embeds;
    DFX__TRY(dfx__set_condition(r, DFX__ENCODER_HIDDEN_STATES, &states->spec, states->data));
    if (!pooled->data)
        return DFX_OK;
    return dfx__set_condition(r, DFX__TEXT_EMBEDS, &pooled->spec, pooled->data);
}

/* Without a negative prompt such models were trained with zeros in the place of its states. */
static int has_zeros(const dfx__run *r)
{
    return r->p->force_zeros_for_empty_prompt && !r->o->negative_prompt && !r->o->negative_prompts;
}

/* Text i for a tower; a refiner's only one takes the first tower's, as in diffusers. */
static const char *text_of(const dfx__run *r, int tower, int i, int negative)
{
    const char *second = negative ? r->o->negative_prompt_2 : r->o->prompt_2;
    if (tower > dfx__first_tower(r->p) && second && *second)
        return second;
    return dfx__prompt(r->o, i, negative);
}

/* A tower's texts, into the columns of all states from `column` on. Of several towers SDXL takes
 * the state before the last layer's; with clip skip an earlier one takes SD's last one's way
 * through the final norm. `text` is room for all. */
static dfx_status encode_tower(dfx__run *r, int tower, const char **text, int column)
{
    const dfx_tensor *all = &r->result->prompt_embeds, *pooled = &r->result->pooled_prompt_embeds;
    int prompts = r->pictures / r->o->batch, count = (int)all->spec.dim[0];
    int negative = count - prompts, from = has_zeros(r) ? negative : 0;
    size_t tokens = (size_t)all->spec.dim[1], channels = (size_t)all->spec.dim[2];
    size_t rows = (size_t)(count - from) * tokens;
    dfx__clip_text_facts facts = dfx__tower_facts(r->p, tower);
    size_t width = (size_t)facts.channels;
    int xl = pooled->data != NULL, pools = xl && tower + 1 == dfx__end_tower(r->p);
    float *to = (float *)all->data + (size_t)from * tokens * channels + column;
    float *pooled_to = pools ? (float *)pooled->data + from * facts.projection : NULL;
    float *states = dfx__alloc(rows * width, sizeof *states);
    const dfx__texts t = { .tower = tower,
                           .text = text,
                           .count = count - from,
                           .negative = negative - from,
                           .skip = xl,
                           .norm = !xl,
                           .clip_skip = r->o->clip_skip,
                           .quiet = tower > dfx__first_tower(r->p) };
    for (int i = from; i < count; i++)
        text[i - from] = text_of(r, tower, i % prompts, i < negative);
    dfx_status status = states ? dfx__encode_texts(r, &t, states, pooled_to) : dfx__no_memory();
    for (size_t i = 0; status == DFX_OK && i < rows; i++)
        memcpy(to + i * channels, states + i * width, width * sizeof *states);
    free(states);
    return status;
}

dfx_status dfx__encode_prompts(dfx__run *r)
{
    int count = r->pictures / r->o->batch * r->branches, first = dfx__first_tower(r->p), column = 0;
    if (r->o->long_prompts)
        return dfx__encode_long_prompts(r);
    const char **text = dfx__alloc((size_t)count, sizeof *text);
    dfx_status status =
        text ? dfx__make_prompt_embeds(r, count, dfx_tokenizer_length(r->p->tokenizer[first]))
             : dfx__no_memory();
    for (int tower = first; status == DFX_OK && tower < dfx__end_tower(r->p); tower++) {
        status = encode_tower(r, tower, text, column);
        column += dfx__tower_facts(r->p, tower).channels;
    }
    free(text);
    return status == DFX_OK ? dfx__take_prompt_embeds(r) : status;
}
