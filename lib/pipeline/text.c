/* text.c - prompts become the states of CLIP's text encoders. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <stdlib.h>

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
        if (lost && !t->quiet)
            dfx__log("the %s is %d token%s longer than the %d that the model takes; the end is "
                     "ignored",
                     i < t->negative ? "negative prompt" : "prompt", lost, lost == 1 ? "" : "s",
                     tokens);
    }
    return DFX_OK;
}

static void record(const dfx__run *r, const dfx__texts *t, dfx_sequence *s, int pooled)
{
    const dfx__clip_text *m = text_encoder(r, t->tower);
    const int64_t count = t->count, tokens = dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    dfx__clip_text_inputs in = { dfx_input(s, "ids", DFX_I32, 2, (int64_t[]){ count, tokens }),
                                 NULL, t->skip };
    dfx__clip_text_outputs out;
    if (pooled)
        in.pool = dfx_input(s, "pool", DFX_F32, 3, (int64_t[]){ count, 1, tokens });
    dfx__clip_text_record(m, &in, DFX__CLIP_HIDDEN | (pooled ? DFX__CLIP_EMBEDS : 0), &out);
    dfx_value *states = t->norm ? dfx__clip_text_norm(m, out.hidden) : out.hidden;
    dfx_output(dfx_cast(states, DFX_F32), "states");
    if (pooled)
        dfx_output(dfx_cast(out.text_embeds, DFX_F32), "text_embeds");
}

/* `pool` is a room of ids' size. */
static dfx_status run(const dfx__run *r, const dfx__texts *t, dfx_sequence *s, const int32_t *ids,
                      float *pool, float *states, float *pooled)
{
    const dfx__clip_text *m = text_encoder(r, t->tower);
    int tokens = dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    size_t rows = (size_t)(t->count * tokens), width = sizeof(float);
    dfx__clip_text_facts facts = dfx__clip_text_get_facts(m);
    record(r, t, s, pooled != NULL);
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(dfx_sequence_write(s, "ids", ids, rows * sizeof *ids));
    if (pooled) {
        dfx__clip_text_pool(m, ids, t->count, tokens, pool);
        DFX__TRY(dfx_sequence_write(s, "pool", pool, rows * width));
    }
    DFX__TRY(dfx_sequence_run(s));
    if (pooled)
        DFX__TRY(dfx_sequence_read(s, "text_embeds", pooled,
                                   (size_t)(t->count * facts.projection) * width));
    return dfx_sequence_read(s, "states", states, rows * (size_t)facts.channels * width);
}

/* Texts that leave out the same layers: t->skip of them. */
static dfx_status encode_alike(dfx__run *r, const dfx__texts *t, const int32_t *ids, float *states,
                               float *pooled)
{
    dfx_sequence *s;
    size_t rows = (size_t)(t->count * dfx_tokenizer_length(r->p->tokenizer[t->tower]));
    float *pool = dfx__alloc(rows, sizeof *pool);
    dfx_status status = pool ? dfx_sequence_new(&s, r->p->device, r->p->dtype) : dfx__no_memory();
    if (status == DFX_OK) {
        status = run(r, t, s, ids, pool, states, pooled);
        dfx_sequence_free(s);
    }
    free(pool);
    return status;
}

dfx_status dfx__encode_ids(dfx__run *r, const dfx__texts *t, const int32_t *ids, float *states,
                           float *pooled)
{
    dfx__clip_text_facts facts = dfx__clip_text_get_facts(text_encoder(r, t->tower));
    int before = t->clip_skip ? t->negative : 0; /* texts that leave out fewer layers */
    int tokens = before * dfx_tokenizer_length(r->p->tokenizer[t->tower]);
    dfx__texts part = *t;
    part.count = before;
    if (before)
        DFX__TRY(encode_alike(r, &part, ids, states, pooled));
    part.count = t->count - before;
    part.skip += t->clip_skip;
    return encode_alike(r, &part, ids + tokens, states + (size_t)tokens * (size_t)facts.channels,
                        pooled ? pooled + before * facts.projection : NULL);
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

/* ---- prompts of one tower ---- */

dfx_status dfx__encode_prompts(dfx__run *r)
{
    int prompts = r->pictures / r->o->batch, count = prompts * r->branches;
    int channels = dfx__clip_text_get_facts(text_encoder(r, 0)).channels;
    dfx_spec spec = { DFX_F32, 3, { count, dfx_tokenizer_length(r->p->tokenizer[0]), channels } };
    const char **text = dfx__alloc((size_t)count, sizeof *text);
    float *states = dfx__alloc(dfx__elements(&spec), sizeof *states);
    /* with clip skip an earlier hidden state takes the last one's way through the final norm */
    const dfx__texts t = { .text = text,
                           .count = count,
                           .negative = count - prompts,
                           .clip_skip = r->o->clip_skip,
                           .norm = 1 };
    r->result->prompt_embeds =
        (dfx_tensor){ "prompt_embeds", spec, states, dfx__spec_bytes(&spec) };
    for (int i = 0; text && i < count; i++)
        text[i] = dfx__prompt(r->o, i % prompts, i < t.negative);
    dfx_status status = text && states ? dfx__encode_texts(r, &t, states, NULL) : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__set_condition(r, DFX__ENCODER_HIDDEN_STATES, &spec, states);
    free(text);
    return status;
}
