/* normalize.c - NFC in linear time, white space, lower case.
 *
 * utf8proc has NFC in one call, but that takes quadratic time for long runs of combining marks, and
 * composes by a later Unicode than transformers: only its tables are used. */
#include "tokenizer/normalize.h"

#include "core/status.h"
#include "tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Characters of text: no decomposition is longer than 2 characters for each of its bytes. */
static dfx_status reserve_chars(dfx__normalizer *n, size_t bytes)
{
    size_t room = 2 * bytes + DFX__DECOMPOSED;
    if (room <= n->room)
        return DFX_OK;
    int32_t *chars = realloc(n->chars, room * sizeof *chars);
    if (chars)
        n->chars = chars;
    int32_t *spare = realloc(n->spare, room * sizeof *spare);
    if (spare)
        n->spare = spare;
    if (!chars || !spare)
        return dfx__no_memory();
    n->room = room;
    return DFX_OK;
}

static size_t decompose(int32_t *chars, const unsigned char *text, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes;) {
        int32_t c;
        i += dfx__utf8_decode(&c, text + i, bytes - i);
        if (c < 0x80)
            chars[count++] = c;
        else
            count += (size_t)dfx__char_decompose(chars + count, c);
    }
    return count;
}

/* Sorts a run of combining marks by class, those of one class in their order. */
static void sort_run(int32_t *run, int32_t *spare, size_t count)
{
    size_t start[257] = { 0 };
    for (size_t i = 0; i < count; i++)
        start[dfx__char_combining(run[i]) + 1]++;
    for (int k = 1; k < 257; k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < count; i++)
        spare[start[dfx__char_combining(run[i])]++] = run[i];
    memcpy(run, spare, count * sizeof *run);
}

static void order(int32_t *chars, int32_t *spare, size_t count)
{
    size_t run = 0; /* how many combining marks lie before i */
    for (size_t i = 0; i <= count; i++) {
        if (i < count && dfx__char_combining(chars[i]) > 0) {
            run++;
            continue;
        }
        if (run > 1)
            sort_run(chars + i - run, spare, run);
        run = 0;
    }
}

/* Composes in place; returns how many characters are left. */
static size_t compose(int32_t *chars, size_t count)
{
    size_t kept = 0, starter = 0;
    int has_starter = 0, last = -1; /* combining class of what was kept after the starter */
    for (size_t i = 0; i < count; i++) {
        int combining = dfx__char_combining(chars[i]);
        int32_t composed =
            has_starter && combining > last ? dfx__char_compose(chars[starter], chars[i]) : 0;
        if (composed) {
            chars[starter] = composed;
            continue;
        }
        last = combining;
        if (combining == 0) {
            has_starter = 1;
            starter = kept;
            last = -1;
        }
        chars[kept++] = chars[i];
    }
    return kept;
}

/* Writes the characters as UTF-8 in lower case, with one space for each run of white space. */
static size_t write_lower(unsigned char *text, const int32_t *chars, size_t count)
{
    size_t bytes = 0;
    int space = 0;
    for (size_t i = 0; i < count; i++) {
        int was_space = space;
        space = dfx__char_class(chars[i]) == DFX__SPACE;
        if (space) {
            if (!was_space)
                text[bytes++] = ' ';
            continue;
        }
        int32_t lower[2];
        int n = dfx__char_lower(lower, chars[i]);
        for (int k = 0; k < n; k++)
            bytes += (size_t)utf8proc_encode_char(lower[k], text + bytes);
    }
    return bytes;
}

dfx_status dfx__normalize(dfx__normalizer *n, const unsigned char **out, size_t *out_bytes,
                          const unsigned char *text, size_t bytes)
{
    DFX__TRY(reserve_chars(n, bytes));
    size_t count = decompose(n->chars, text, bytes);
    order(n->chars, n->spare, count);
    count = compose(n->chars, count);
    size_t room = 4 * count + 1; /* bytes of the longest character, in lower case too */
    if (room > n->text_room) {
        unsigned char *larger = realloc(n->text, room);
        if (!larger)
            return dfx__no_memory();
        n->text = larger;
        n->text_room = room;
    }
    *out_bytes = write_lower(n->text, n->chars, count);
    *out = n->text;
    return DFX_OK;
}

void dfx__normalizer_free(dfx__normalizer *n)
{
    free(n->chars);
    free(n->spare);
    free(n->text);
    *n = (dfx__normalizer)DFX__NORMALIZER_INIT;
}
