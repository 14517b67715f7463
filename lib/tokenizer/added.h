/* added.h - added tokens: whole strings that are found in the text before it is split in words. */
#ifndef DFX_TOKENIZER_ADDED_H
#define DFX_TOKENIZER_ADDED_H

#include "core/json.h"
#include "core/memory.h"

enum { DFX__MAX_ADDED = 4096, DFX__MAX_ADDED_BYTES = 256 };

/* A token as the files give it. `normalized`: it is found in the normalised text, itself normalised
 * (so whatever its case); otherwise in the text as it was given. */
typedef struct {
    const char *content;
    int normalized;
} dfx__added_token;

/* What is looked for. */
typedef struct {
    const unsigned char *text;
    size_t bytes;
    int32_t id;
} dfx__pattern;

typedef struct {
    dfx__pattern *list; /* in the order of their bytes */
    size_t count;
    unsigned char first[256]; /* whether a pattern begins with the byte */
} dfx__patterns;

typedef struct {
    dfx__pool pool;
    struct dfx__added_entry *entries;
    size_t count;
    int created; /* how many were not in the vocabulary */
    dfx__patterns raw, normalized;
} dfx__added;

/* Adds a token, with the vocabulary's id or, if it has none, the next one after as many as the
 * vocabulary has. Of tokens with one id the last one counts. */
dfx_status dfx__added_put(dfx__added *a, json_object *vocab, const dfx__added_token *token);

/* The id of a token that was put; -1 for others. And the largest id, -1 when there is none. */
int32_t dfx__added_id(const dfx__added *a, const char *content);
int32_t dfx__added_largest(const dfx__added *a);

/* Makes the patterns, once every token is put. */
dfx_status dfx__added_prepare(dfx__added *a);
void dfx__added_close(dfx__added *a);

/* The longest pattern at the leftmost place from *at on where there is one, which *at becomes; NULL
 * and the text's end when there is none. */
const dfx__pattern *dfx__find_pattern(const dfx__patterns *p, const unsigned char *text,
                                      size_t bytes, size_t *at);

#endif
