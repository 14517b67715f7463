/* text.c - prompts become the states of CLIP's text encoder. */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <stdlib.h>

static dfx_status tokenize(const dfx_tokenizer *t, const char *text, const char *what, int32_t *ids)
{
    int lost;
    DFX__TRY(dfx_tokenizer_encode(t, text, ids, NULL, &lost));
    if (lost)
        dfx__log("the %s is %d token%s longer than the %d that the model takes; the end is ignored",
                 what, lost, lost == 1 ? "" : "s", dfx_tokenizer_length(t));
    return DFX_OK;
}

static const char *prompt(const dfx_generate_options *o, int i, int negative)
{
    const char *text = o->prompts ? o->prompts[i] : o->prompt;
    if (negative)
        text = o->negative_prompts ? o->negative_prompts[i] : o->negative_prompt;
    return text ? text : "";
}

/* Ids [branches][prompts][tokens], those of the negative prompts first. */
static dfx_status tokenize_all(const dfx__run *r, int32_t *ids)
{
    const dfx_tokenizer *t = r->p->tokenizer[0];
    int prompts = r->pictures / r->o->batch, tokens = dfx_tokenizer_length(t);
    for (int b = 0; b < r->branches; b++)
        for (int i = 0; i < prompts; i++, ids += tokens) {
            int negative = b + 1 < r->branches;
            DFX__TRY(tokenize(t, prompt(r->o, i, negative), negative ? "negative prompt" : "prompt",
                              ids));
        }
    return DFX_OK;
}

/* With clip skip an earlier hidden state takes the last one's way through the final norm. */
static void record(const dfx__run *r, dfx_value *ids)
{
    const dfx__clip_text *m = r->p->model[DFX__TEXT_ENCODER]->net;
    int skip = r->o->clip_skip;
    dfx__clip_text_inputs in = { ids, NULL, skip };
    dfx__clip_text_outputs out;
    dfx__clip_text_record(m, &in, skip ? DFX__CLIP_HIDDEN : DFX__CLIP_LAST, &out);
    dfx_value *v = skip ? dfx__clip_text_norm(m, out.hidden) : out.last_hidden_state;
    dfx_output(dfx_cast(v, DFX_F32), "embeds");
}

/* ids [texts, tokens] -> states [texts, tokens, C] */
static dfx_status encode(const dfx__run *r, const int32_t *ids, const dfx_spec *spec, float *states)
{
    dfx_sequence *s;
    DFX__TRY(dfx_sequence_new(&s, r->p->device, r->p->dtype));
    record(r, dfx_input(s, "ids", DFX_I32, 2, spec->dim));
    size_t rows = (size_t)(spec->dim[0] * spec->dim[1]);
    dfx_status status = dfx_sequence_prepare(s);
    if (status == DFX_OK)
        status = dfx_sequence_write(s, "ids", ids, rows * sizeof *ids);
    if (status == DFX_OK)
        status = dfx_sequence_run(s);
    if (status == DFX_OK)
        status = dfx_sequence_read(s, "embeds", states, dfx__spec_bytes(spec));
    dfx_sequence_free(s);
    return status;
}

dfx_status dfx__encode_prompts(dfx__run *r)
{
    int tokens = dfx_tokenizer_length(r->p->tokenizer[0]);
    int texts = r->pictures / r->o->batch * r->branches;
    int channels = dfx__clip_text_get_facts(r->p->model[DFX__TEXT_ENCODER]->net).channels;
    dfx_spec spec = { DFX_F32, 3, { texts, tokens, channels } };
    int32_t *ids = dfx__alloc((size_t)(texts * tokens), sizeof *ids);
    float *states = dfx__alloc(dfx__elements(&spec), sizeof *states);
    r->result->prompt_embeds =
        (dfx_tensor){ "prompt_embeds", spec, states, dfx__spec_bytes(&spec) };
    dfx_status status = ids && states ? tokenize_all(r, ids) : dfx__no_memory();
    if (status == DFX_OK)
        status = encode(r, ids, &spec, states);
    if (status == DFX_OK)
        status = dfx__set_condition(r, DFX__ENCODER_HIDDEN_STATES, &spec, states);
    free(ids);
    return status;
}
