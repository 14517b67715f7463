/* long_prompts.c - prompts of any length with weights, as diffusers' community pipelines
 * lpw_stable_diffusion and lpw_stable_diffusion_xl encode them: in chunks that the text encoder
 * takes, whose states are joined and then weighted. */
#include "core/dtype.h"
#include "pipeline/run.h"
#include "tokenizer/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BESIDE = 2, MULTIPLES = 3 }; /* BOS and EOS; the community pipeline's chunks at most */

struct job {
    dfx__run *r;
    int xl;
    int prompts;                             /* and as many negative ones, which come first */
    int first_tower;                         /* up to the last */
    dfx__weighted_tokens *text[DFX__TOWERS]; /* [2 * prompts] */
    int begin;                               /* texts before it are not encoded */
    int chunks, length, last;                /* tokens of a chunk, and of the last one that stay */
    int middle;                              /* whether BOS and EOS in the middle stay */
    int tokens, channels;                    /* of the joined states [texts, tokens, channels] */
    float *states, *embeds;                  /* the result's */
};

static const dfx_tokenizer *tokenizer(const struct job *j, int tower)
{
    return j->r->p->tokenizer[tower];
}

/* ---- texts to chunks ---- */

/* Of both towers: "PROMPT PROMPT_2" where there is a second one. To be freed. */
static char *whole_text(const struct job *j, int i)
{
    const dfx_generate_options *o = j->r->o;
    int negative = i < j->prompts;
    const char *text = dfx__prompt(o, i % j->prompts, negative);
    const char *second = negative ? o->negative_prompt_2 : o->prompt_2;
    size_t bytes = strlen(text) + 1;
    if (!j->xl || !second || !*second)
        second = NULL;
    else
        bytes += strlen(second) + 1;
    char *whole = dfx__alloc(bytes, 1);
    if (whole)
        snprintf(whole, bytes, "%s%s%s", text, second ? " " : "", second ? second : "");
    return whole;
}

static dfx_status read_text(struct job *j, int tower, int i)
{
    char *text = whole_text(j, i);
    dfx_status status =
        text ? dfx__weighted_tokens_read(&j->text[tower][i], tokenizer(j, tower), text, j->xl)
             : dfx__no_memory();
    free(text);
    return status;
}

/* Reads all texts; returns the most tokens of one that counts in *most. */
static dfx_status read_texts(struct job *j, int *most)
{
    int texts = 2 * j->prompts;
    for (int t = j->first_tower; t < dfx__end_tower(j->r->p); t++) {
        j->text[t] = dfx__alloc((size_t)texts, sizeof *j->text[t]);
        if (!j->text[t])
            return dfx__no_memory();
        for (int i = 0; i < texts; i++) {
            DFX__TRY(read_text(j, t, i));
            /* a negative prompt makes XL's chunks more even where there is no guidance */
            if ((i >= j->begin || j->xl) && j->text[t][i].count > *most)
                *most = j->text[t][i].count;
        }
    }
    return DFX_OK;
}

static int chunk_begin(const struct job *j, int chunk)
{
    return chunk > 0 && !j->middle;
}

static int chunk_end(const struct job *j, int chunk)
{
    return chunk + 1 == j->chunks ? j->last : j->middle ? j->length : j->length - 1;
}

/* SD's last chunk is padded, XL's ends behind its text. */
static void lay_out(struct job *j, int most)
{
    const dfx_generate_options *o = j->r->o;
    int inner = dfx_tokenizer_length(tokenizer(j, j->first_tower)) - BESIDE;
    int limit = o->max_embeddings_multiples;
    limit = limit ? limit : j->xl ? most : MULTIPLES;
    j->length = inner + BESIDE;
    j->chunks = most > inner ? (most - 1) / inner + 1 : 1;
    if (j->chunks > limit && limit > 0) {
        dfx__log("a prompt of %d tokens is longer than %d times %d; the end is ignored", most,
                 limit, inner);
        j->chunks = limit;
        most = limit * inner;
    }
    j->last = j->xl ? most - (j->chunks - 1) * inner + BESIDE : j->length;
    j->middle = j->xl || !o->no_boseos_middle;
    for (int k = 0; k < j->chunks; k++)
        j->tokens += chunk_end(j, k) - chunk_begin(j, k);
}

/* ids [texts][chunks][length]; behind a text SD pads, XL repeats EOS */
static void fill_ids(const struct job *j, int tower, int32_t *ids)
{
    const dfx_tokenizer *t = tokenizer(j, tower);
    int32_t pad = j->xl ? dfx_tokenizer_eos(t) : dfx_tokenizer_pad(t);
    int inner = j->length - BESIDE;
    for (int i = j->begin; i < 2 * j->prompts; i++)
        for (int k = 0; k < j->chunks; k++, ids += j->length) {
            const dfx__weighted_tokens *text = &j->text[tower][i];
            ids[0] = dfx_tokenizer_bos(t);
            for (int n = 0; n < inner; n++)
                ids[n + 1] = k * inner + n < text->count ? text->id[k * inner + n] : pad;
            ids[inner + 1] = dfx_tokenizer_eos(t);
        }
}

/* ---- states ---- */

/* A tower's states [texts][chunks][length][width] into its channels, from `channel` on. */
static void join(struct job *j, const float *states, int width, int channel)
{
    float *to = j->states + channel;
    size_t bytes = (size_t)width * sizeof *to;
    for (int i = j->begin; i < 2 * j->prompts; i++)
        for (int k = 0; k < j->chunks; k++, states += j->length * width)
            for (int n = chunk_begin(j, k); n < chunk_end(j, k); n++, to += j->channels)
                memcpy(to, states + n * width, bytes);
}

/* text_embeds of each text are those of its last chunk. */
static void take_embeds(struct job *j, const float *embeds, int width)
{
    for (int i = 0; i < 2 * j->prompts - j->begin; i++)
        memcpy(j->embeds + i * width, embeds + ((i + 1) * j->chunks - 1) * width,
               (size_t)width * sizeof *embeds);
}

static dfx_status encode_tower(struct job *j, int tower, int channel)
{
    int texts = 2 * j->prompts - j->begin, rows = texts * j->chunks;
    dfx__clip_text_facts f = dfx__tower_facts(j->r->p, tower);
    /* clip skip is for negative prompts too in the community pipeline of SD, not in XL's */
    const dfx__texts t = { .tower = tower,
                           .count = rows,
                           .negative = j->xl ? (texts - j->prompts) * j->chunks : 0,
                           .skip = j->xl,
                           .clip_skip = j->r->o->clip_skip,
                           .norm = !j->xl };
    int32_t *ids = dfx__alloc((size_t)(rows * j->length), sizeof *ids);
    float *states = dfx__alloc((size_t)rows * (size_t)(j->length * f.channels), sizeof *states);
    float *embeds = NULL;
    if (j->embeds && f.projection)
        embeds = dfx__alloc((size_t)rows * (size_t)f.projection, sizeof *embeds);
    dfx_status status =
        ids && states && (embeds || !j->embeds || !f.projection) ? DFX_OK : dfx__no_memory();
    if (status == DFX_OK) {
        fill_ids(j, tower, ids);
        status = dfx__encode_ids(j->r, &t, ids, states, embeds);
    }
    if (status == DFX_OK)
        join(j, states, f.channels, channel);
    if (status == DFX_OK && embeds)
        take_embeds(j, embeds, f.projection);
    free(embeds);
    free(states);
    free(ids);
    return status;
}

/* ---- weights ---- */

/* Of position n of a chunk. */
static double weight_of(const struct job *j, const dfx__weighted_tokens *text, int chunk, int n)
{
    int inner = j->length - BESIDE, token = chunk * inner + n - 1;
    return n >= 1 && n <= inner && token < text->count ? text->weight[token] : 1;
}

static double mean(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* SD: states are multiplied by their weights, and all of a text by what restores their mean. */
static void weigh(const struct job *j, const dfx__weighted_tokens *text, float *states)
{
    size_t n = (size_t)j->tokens * (size_t)j->channels;
    double before = mean(states, n);
    float *x = states;
    for (int k = 0; k < j->chunks; k++)
        for (int p = chunk_begin(j, k); p < chunk_end(j, k); p++)
            for (int c = 0; c < j->channels; c++)
                *x++ *= (float)weight_of(j, text, k, p);
    float factor = (float)(before / mean(states, n));
    for (size_t i = 0; i < n; i++)
        states[i] *= factor;
}

/* XL: states go away from, or to, that of their chunk's EOS. Weights are rounded to f16, as the
 * community pipeline keeps them. */
static void weigh_xl(const struct job *j, const dfx__weighted_tokens *text, float *states)
{
    size_t channels = (size_t)j->channels;
    for (int k = 0; k < j->chunks; k++) {
        int tokens = chunk_end(j, k);
        const float *eos = states + (size_t)(tokens - 1) * channels;
        for (int p = 0; p < tokens; p++, states += channels) {
            float w = dfx__f16_to_f32(dfx__f32_to_f16((float)weight_of(j, text, k, p)));
            for (size_t c = 0; w != 1 && c < channels; c++)
                states[c] = eos[c] + (states[c] - eos[c]) * w;
        }
    }
}

static void weigh_all(struct job *j)
{
    size_t n = (size_t)j->tokens * (size_t)j->channels;
    for (int i = j->begin; i < 2 * j->prompts; i++)
        (j->xl ? weigh_xl : weigh)(j, &j->text[j->first_tower][i],
                                   j->states + (size_t)(i - j->begin) * n);
}

/* ---- the run ---- */

static dfx_status encode(struct job *j)
{
    int most = 0, channel = 0;
    DFX__TRY(read_texts(j, &most));
    lay_out(j, most);
    DFX__TRY(dfx__make_prompt_embeds(j->r, 2 * j->prompts - j->begin, j->tokens));
    j->states = (float *)j->r->result->prompt_embeds.data;
    j->embeds = (float *)j->r->result->pooled_prompt_embeds.data;
    j->channels = (int)j->r->result->prompt_embeds.spec.dim[2];
    for (int t = j->first_tower; t < dfx__end_tower(j->r->p); t++) {
        DFX__TRY(encode_tower(j, t, channel));
        channel += dfx__tower_facts(j->r->p, t).channels;
    }
    weigh_all(j);
    return dfx__take_prompt_embeds(j->r);
}

dfx_status dfx__encode_long_prompts(dfx__run *r)
{
    struct job j = { .r = r,
                     .xl = dfx__end_tower(r->p) == 2,
                     .prompts = r->pictures / r->o->batch };
    j.begin = r->branches > 1 ? 0 : j.prompts;
    j.first_tower = dfx__first_tower(r->p);
    dfx_status status = encode(&j);
    for (int t = 0; t < DFX__TOWERS; t++) {
        for (int i = 0; j.text[t] && i < 2 * j.prompts; i++)
            dfx__weighted_tokens_free(&j.text[t][i]);
        free(j.text[t]);
    }
    return status;
}
