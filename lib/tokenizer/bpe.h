/* bpe.h - byte-level byte-pair encoding: the bytes of a word to token ids. */
#ifndef DFX_TOKENIZER_BPE_H
#define DFX_TOKENIZER_BPE_H

#include "core/json.h"

typedef struct {
    int32_t byte[2][256]; /* the token of a byte within a word, and of a word's last byte */
    struct dfx__merge *merges;
    size_t mask;     /* of places in the hash table `merges` */
    int32_t *merged; /* the token that the merge of each rank makes */
    uint32_t count, room;
} dfx__bpe;

/* Every id of a vocabulary is below this, with some left for added tokens. */
enum { DFX__MAX_TOKEN = 1 << 30 };

/* The id of a token of a checked vocabulary (a JSON object); -1 when there is none. */
int32_t dfx__vocab_find(json_object *vocab, const char *token);

/* Checks that the vocabulary maps tokens to ids, and finds the largest one. */
dfx_status dfx__vocab_check(json_object *vocab, int32_t *largest);

/* Takes the tokens of all bytes from the vocabulary; `unknown` is for those that it lacks. Then
 * merges are added in the order of their rank, at most `room`; the vocabulary is not kept. */
dfx_status dfx__bpe_open(dfx__bpe *bpe, json_object *vocab, const char *unknown, size_t room);
dfx_status dfx__bpe_add_merge(dfx__bpe *bpe, json_object *vocab, const char *left,
                              size_t left_bytes, const char *right, size_t right_bytes);
void dfx__bpe_close(dfx__bpe *bpe);

/* Memory for encoding, kept from one word to the next. */
typedef struct {
    struct dfx__symbol *symbols;
    uint64_t *heap;
    size_t room;
} dfx__bpe_scratch;
#define DFX__BPE_SCRATCH_INIT                                                                      \
    {                                                                                              \
        NULL, NULL, 0                                                                              \
    }
void dfx__bpe_scratch_free(dfx__bpe_scratch *s);

/* Encodes a word of at least one byte, calling emit(user, id) for each token. */
dfx_status dfx__bpe_encode(const dfx__bpe *bpe, dfx__bpe_scratch *scratch,
                           const unsigned char *word, size_t bytes,
                           void (*emit)(void *user, int32_t id), void *user);

#endif
