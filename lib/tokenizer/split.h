/* split.h - the words of normalised text that byte-pair encoding works on. */
#ifndef DFX_TOKENIZER_SPLIT_H
#define DFX_TOKENIZER_SPLIT_H

#include <stddef.h>

typedef struct {
    const unsigned char *text;
    size_t bytes;
    size_t at;  /* where the next word is looked for */
    size_t end; /* of the first expression's match that `at` is in */
} dfx__splitter;

/* The next word, its length in *bytes; NULL when there is none. Start with { text, bytes }. */
const unsigned char *dfx__next_word(dfx__splitter *s, size_t *bytes);

#endif
