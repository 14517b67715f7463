/* split.c - the two regular expressions that split normalised text, by hand.
 *
 * CLIP's keeps these and drops what is between them (white space):
 *     <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
 * GPT-2's then splits each match further:
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
#include "tokenizer/split.h"

#include "tokenizer/unicode.h"

#include <string.h>

static const char *const literals[] = { "<|startoftext|>", "<|endoftext|>", NULL };
static const char *const contractions[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", NULL };

/* Length of the first of the words that the text begins with; 0 if it is none of them. */
static size_t starts_with(const unsigned char *text, size_t bytes, const char *const *words)
{
    for (; *words; words++) {
        size_t length = strlen(*words);
        if (length <= bytes && memcmp(text, *words, length) == 0)
            return length;
    }
    return 0;
}

/* Length of the run of characters of one class that the text begins with. */
static size_t run_length(const unsigned char *text, size_t bytes)
{
    int32_t c;
    size_t length = dfx__utf8_decode(&c, text, bytes);
    enum dfx__class class = dfx__char_class(c);
    while (length < bytes) {
        size_t next = dfx__utf8_decode(&c, text + length, bytes - length);
        if (dfx__char_class(c) != class)
            break;
        length += next;
    }
    return length;
}

/* Length of what CLIP's expression matches at the start of the text, where there is no space. */
static size_t clip_length(const unsigned char *text, size_t bytes)
{
    size_t length = starts_with(text, bytes, literals);
    if (length == 0)
        length = starts_with(text, bytes, contractions);
    if (length)
        return length;
    int32_t c;
    length = dfx__utf8_decode(&c, text, bytes);
    return dfx__char_class(c) == DFX__NUMBER ? length : run_length(text, bytes);
}

/* The same of GPT-2's expression, within a match of CLIP's. */
static size_t gpt2_length(const unsigned char *text, size_t bytes)
{
    size_t length = starts_with(text, bytes, contractions);
    return length ? length : run_length(text, bytes);
}

const unsigned char *dfx__next_word(dfx__splitter *s, size_t *bytes)
{
    if (s->at >= s->end) {
        while (s->at < s->bytes && s->text[s->at] == ' ') /* all white space there is by now */
            s->at++;
        if (s->at == s->bytes)
            return NULL;
        s->end = s->at + clip_length(s->text + s->at, s->bytes - s->at);
    }
    const unsigned char *word = s->text + s->at;
    *bytes = gpt2_length(word, s->end - s->at);
    s->at += *bytes;
    return word;
}
