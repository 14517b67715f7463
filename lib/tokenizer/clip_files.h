/* clip_files.h - a CLIP tokenizer's folder. */
#ifndef DFX_TOKENIZER_CLIP_FILES_H
#define DFX_TOKENIZER_CLIP_FILES_H

#include "core/config_keys.h"
#include "tokenizer/added.h"
#include "tokenizer/bpe.h"

/* The files; those that are not there are NULL. */
typedef struct {
    const char *folder;     /* the caller's */
    json_object *config;    /* tokenizer_config.json */
    json_object *special;   /* special_tokens_map.json */
    json_object *added;     /* added_tokens.json, of transformers before 4.34 */
    json_object *tokenizer; /* tokenizer.json; where it is, vocab.json and merges.txt don't count */
    json_object *vocab;     /* vocab.json, or the one in tokenizer.json */
} dfx__clip_files;

dfx_status dfx__clip_files_open(dfx__clip_files *f, const char *folder);
void dfx__clip_files_close(dfx__clip_files *f);

/* model_max_length: 77 where it is missing or more than any text encoder has. */
dfx_status dfx__clip_length(const dfx__clip_files *f, int *length);

/* Opens `bpe` with the vocabulary and the merges. */
dfx_status dfx__clip_merges(const dfx__clip_files *f, dfx__bpe *bpe, const char *unknown);

/* The special tokens that have a use, by the order that transformers adds them in. */
enum { DFX__BOS, DFX__EOS, DFX__UNK, DFX__SEP, DFX__PAD, DFX__CLS, DFX__MASK, DFX__NAMED_TOKENS };

/* Puts all added tokens, and gives the content of the named ones (NULL: there is none). */
dfx_status dfx__clip_tokens(const dfx__clip_files *f, dfx__added *added,
                            const char *named[DFX__NAMED_TOKENS]);

/* clip_keys.c: adds what becomes of each key of a folder's tokenizer_config.json. */
dfx_status dfx__clip_keys(dfx_config_keys *keys, const char *folder);

#endif
