/* text_xl.c - prompts of SDXL: the states of all its text encoders side by side, and the last one's
 * pooled text (Podell et al. 2023, section 2.1). */
#include "core/dtype.h"
#include "pipeline/run.h"

#include <stdlib.h>
#include <string.h>

/* The prompts' conditions as they come: states [count, tokens, channels], pooled [count, P]. */
struct prompts {
    const char **text; /* of one tower */
    int prompts, count, negative;
    int tokens, channels, pooled_width;
    float *states, *pooled;
};

static int first_tower(const dfx__run *r)
{
    return r->p->model[DFX__TEXT_ENCODER] ? 0 : 1;
}

static dfx__clip_text_facts tower_facts(const dfx__run *r, int tower)
{
    return dfx__clip_text_get_facts(r->p->model[DFX__TEXT_ENCODER + tower]->net);
}

/* Without a negative prompt the model was trained with zeros in the place of its states. */
static int has_zeros(const dfx__run *r)
{
    return r->p->force_zeros_for_empty_prompt && !r->o->negative_prompt && !r->o->negative_prompts;
}

/* Text i of `count` for a tower; a refiner's only one takes the first tower's, as in diffusers. */
static const char *text_of(const dfx__run *r, int tower, int i, int negative)
{
    const char *second = negative ? r->o->negative_prompt_2 : r->o->prompt_2;
    if (tower > first_tower(r) && second && *second)
        return second;
    return dfx__prompt(r->o, i, negative);
}

/* A tower's texts, into the columns of all states from `column` on: the state before the last
 * layer's. */
static dfx_status encode(dfx__run *r, struct prompts *q, int tower, int column)
{
    int from = has_zeros(r) ? q->negative : 0, width = tower_facts(r, tower).channels;
    size_t rows = (size_t)((q->count - from) * q->tokens);
    float *to = q->states + (size_t)(from * q->tokens) * (size_t)q->channels + column;
    float *pooled = tower + 1 == DFX__TOWERS ? q->pooled + from * q->pooled_width : NULL;
    float *states = dfx__alloc(rows * (size_t)width, sizeof *states);
    const dfx__texts t = { .tower = tower,
                           .text = q->text + from,
                           .count = q->count - from,
                           .negative = q->negative - from,
                           .skip = 1,
                           .clip_skip = r->o->clip_skip,
                           .quiet = tower > first_tower(r) };
    for (int i = from; i < q->count; i++)
        q->text[i] = text_of(r, tower, i % q->prompts, i < q->negative);
    dfx_status status = states ? dfx__encode_texts(r, &t, states, pooled) : dfx__no_memory();
    for (size_t i = 0; status == DFX_OK && i < rows; i++)
        memcpy(to + i * (size_t)q->channels, states + i * (size_t)width,
               (size_t)width * sizeof *states);
    free(states);
    return status;
}

static dfx_status encode_all(dfx__run *r, struct prompts *q)
{
    dfx_spec states = { DFX_F32, 3, { q->count, q->tokens, q->channels } };
    dfx_spec pooled = { DFX_F32, 2, { q->count, q->pooled_width } };
    int column = 0;
    for (int tower = first_tower(r); tower < DFX__TOWERS; tower++) {
        DFX__TRY(encode(r, q, tower, column));
        column += tower_facts(r, tower).channels;
    }
    DFX__TRY(dfx__set_condition(r, DFX__ENCODER_HIDDEN_STATES, &states, q->states));
    return dfx__set_condition(r, DFX__TEXT_EMBEDS, &pooled, q->pooled);
}

/* The result keeps what is encoded. */
static dfx_status make_rooms(dfx__run *r, struct prompts *q)
{
    dfx_spec states = { DFX_F32, 3, { q->count, q->tokens, q->channels } };
    dfx_spec pooled = { DFX_F32, 2, { q->count, q->pooled_width } };
    q->text = dfx__alloc((size_t)q->count, sizeof *q->text);
    q->states = calloc(dfx__elements(&states), sizeof *q->states);
    q->pooled = calloc(dfx__elements(&pooled), sizeof *q->pooled);
    r->result->prompt_embeds =
        (dfx_tensor){ "prompt_embeds", states, q->states, dfx__spec_bytes(&states) };
    r->result->pooled_prompt_embeds =
        (dfx_tensor){ "pooled_prompt_embeds", pooled, q->pooled, dfx__spec_bytes(&pooled) };
    return q->text && q->states && q->pooled ? DFX_OK : dfx__no_memory();
}

dfx_status dfx__encode_prompts_xl(dfx__run *r)
{
    int prompts = r->pictures / r->o->batch, count = prompts * r->branches;
    struct prompts q = { .prompts = prompts,
                         .count = count,
                         .negative = count - prompts,
                         .tokens = dfx_tokenizer_length(r->p->tokenizer[DFX__TOWERS - 1]),
                         .pooled_width = tower_facts(r, DFX__TOWERS - 1).projection };
    for (int tower = first_tower(r); tower < DFX__TOWERS; tower++)
        q.channels += tower_facts(r, tower).channels;
    dfx_status status = make_rooms(r, &q);
    if (status == DFX_OK)
        status = encode_all(r, &q);
    free(q.text);
    return status;
}
