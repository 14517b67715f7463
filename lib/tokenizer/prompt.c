/* prompt.c - prompts whose parts have weights, as diffusers' community pipelines read them
 * (examples/community/lpw_stable_diffusion.py and lpw_stable_diffusion_xl.py there). */
#include "tokenizer/prompt.h"

#include "core/memory.h"
#include "core/status.h"
#include "tokenizer/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPT = 1 << 16 }; /* brackets in brackets take quadratic time */

struct part {
    int begin, end; /* in the reader's text */
    double weight;
};

/* Positions of brackets that are open: the part that comes next there. */
struct open {
    int *part, depth;
};

struct reader {
    int breaks;
    char *text; /* the prompt without what only weighs */
    int bytes;
    struct part *part;
    int parts;
    struct open round, square;
};

static int is_space(int32_t c) /* Python's \s */
{
    return dfx__char_class(c) == DFX__SPACE || (c >= 0x1c && c <= 0x1f);
}

static int is_word(int32_t c) /* Python's \w */
{
    enum dfx__class class = dfx__char_class(c);
    return class == DFX__LETTER || class == DFX__NUMBER || c == '_';
}

static void add_part(struct reader *r, const char *text, int bytes, double weight)
{
    r->part[r->parts++] = (struct part){ r->bytes, r->bytes + bytes, weight };
    memcpy(r->text + r->bytes, text, (size_t)bytes);
    r->bytes += bytes;
}

static int decode(int32_t *c, const char *text, int bytes)
{
    return (int)dfx__utf8_decode(c, (const unsigned char *)text, (size_t)bytes);
}

/* Whether the text begins with BREAK and the word ends there. */
static int is_break(const char *text, int bytes)
{
    enum { BREAK = 5 };
    int32_t c;
    if (bytes < BREAK || memcmp(text, "BREAK", BREAK) != 0)
        return 0;
    if (bytes == BREAK)
        return BREAK;
    decode(&c, text + BREAK, bytes - BREAK);
    return is_word(c) ? 0 : BREAK;
}

/* Text between brackets; at each BREAK the white space around it goes. */
static void add_text(struct reader *r, const char *text, int bytes)
{
    int begin = 0, end = 0, at = 0, in_word = 0; /* end: of what is no white space */
    int32_t c;
    while (r->breaks && at < bytes) {
        int length = in_word ? 0 : is_break(text + at, bytes - at);
        if (length) {
            add_part(r, text + begin, end - begin, 1);
            add_part(r, text + at, length, -1);
            for (at += length; at < bytes; at += length) {
                length = decode(&c, text + at, bytes - at);
                if (!is_space(c))
                    break;
            }
            begin = end = at;
            continue;
        }
        at += decode(&c, text + at, bytes - at);
        if (!is_space(c))
            end = at;
        in_word = is_word(c);
    }
    add_part(r, text + begin, bytes - begin, 1);
}

static void open_bracket(const struct reader *r, struct open *o)
{
    o->part[o->depth++] = r->parts;
}

static void close_bracket(struct reader *r, struct open *o, double factor)
{
    for (int i = o->part[--o->depth]; i < r->parts; i++)
        r->part[i].weight *= factor;
}

/* The factor of ":1.3)" in *factor and its length in bytes; 0: the text is no such thing. A factor
 * with two points, or with none of the digits, is NaN. */
static int read_factor(double *factor, const char *text, int bytes)
{
    int at = 1, digits = 0, points = 0, length;
    double value = 0, scale = 1, sign = 1;
    int32_t c;
    if (at < bytes && (text[at] == '+' || text[at] == '-'))
        sign = text[at++] == '-' ? -1 : 1;
    for (int start = at; at < bytes; at += length) {
        length = decode(&c, text + at, bytes - at);
        int digit = dfx__char_digit(c);
        if (c == ')' && at > start) {
            *factor = digits && points < 2 ? sign * value / scale : NAN;
            return at + 1;
        }
        if (c != '.' && digit < 0)
            return 0;
        points += c == '.';
        if (digit >= 0) {
            digits++;
            value = 10 * value + digit;
            scale *= points ? 10 : 1;
        }
    }
    return 0;
}

/* One piece of the grammar; its length in bytes, -1 after a failure. */
static int read_piece(struct reader *r, const char *text, int bytes)
{
    double factor;
    int length = 1;
    if (text[0] == '\\') {
        length = bytes > 1 && strchr("()[]\\", text[1]) ? 2 : 1;
        add_part(r, text + 1, length - 1, 1);
    } else if (text[0] == '(') {
        open_bracket(r, &r->round);
    } else if (text[0] == '[') {
        open_bracket(r, &r->square);
    } else if (text[0] == ':' && (length = read_factor(&factor, text, bytes))) {
        if (!r->round.depth) {
            add_text(r, text, length);
        } else if (!isfinite(factor)) {
            dfx__fail(DFX_ERROR_ARGUMENT, "the weight in \"%.*s\" is not a number", length, text);
            return -1;
        } else {
            close_bracket(r, &r->round, factor);
        }
    } else if (text[0] == ')' && r->round.depth) {
        close_bracket(r, &r->round, 1.1);
    } else if (text[0] == ']' && r->square.depth) {
        close_bracket(r, &r->square, 1 / 1.1);
    } else {
        length = (int)strcspn(text, "\\()[]:");
        length = length ? length : 1;
        add_text(r, text, length);
    }
    return length;
}

static dfx_status read_parts(struct reader *r, const char *prompt, int bytes)
{
    for (int at = 0, length; at < bytes; at += length) {
        length = read_piece(r, prompt + at, bytes - at);
        if (length < 0)
            return DFX_ERROR_ARGUMENT;
    }
    while (r->round.depth)
        close_bracket(r, &r->round, 1.1);
    while (r->square.depth)
        close_bracket(r, &r->square, 1 / 1.1);
    return DFX_OK;
}

/* Appends the tokens of `count` parts of one weight. */
static dfx_status encode_parts(dfx__weighted_tokens *out, const dfx_tokenizer *t, struct reader *r,
                               const struct part *part, int count)
{
    int begin = part[0].begin, end = part[count - 1].end, tokens;
    char after = r->text[end];
    r->text[end] = '\0';
    int32_t *id = NULL;
    double *weight = NULL;
    dfx_status status = dfx_tokenizer_encode_all(t, r->text + begin, NULL, 0, &tokens);
    if (status == DFX_OK && tokens) {
        size_t all = (size_t)out->count + (size_t)tokens;
        id = realloc(out->id, all * sizeof *id);
        out->id = id ? id : out->id;
        weight = realloc(out->weight, all * sizeof *weight);
        out->weight = weight ? weight : out->weight;
        status = id && weight
                     ? dfx_tokenizer_encode_all(t, r->text + begin, id + out->count, tokens, NULL)
                     : dfx__no_memory();
        for (int i = 0; status == DFX_OK && i < tokens; i++)
            weight[out->count++] = part[0].weight;
    }
    r->text[end] = after;
    return status;
}

static dfx_status encode(dfx__weighted_tokens *out, const dfx_tokenizer *t, struct reader *r)
{
    int next;
    for (int i = 0; i < r->parts; i = next) {
        for (next = i + 1; next < r->parts; next++)
            if (r->part[next].weight != r->part[i].weight)
                break;
        DFX__TRY(encode_parts(out, t, r, &r->part[i], next - i));
    }
    return DFX_OK;
}

dfx_status dfx__weighted_tokens_read(dfx__weighted_tokens *out, const dfx_tokenizer *t,
                                     const char *prompt, int breaks)
{
    size_t bytes = strlen(prompt), room = bytes + 2;
    *out = (dfx__weighted_tokens){ 0, NULL, NULL };
    if (bytes > MAX_PROMPT)
        return dfx__fail(DFX_ERROR_ARGUMENT, "a prompt with weights has %zu bytes, at most %d",
                         bytes, MAX_PROMPT);
    struct reader r = { .breaks = breaks,
                        .text = dfx__alloc(room, 1),
                        .part = dfx__alloc(room, sizeof *r.part),
                        .round = { dfx__alloc(room, sizeof *r.round.part), 0 },
                        .square = { dfx__alloc(room, sizeof *r.square.part), 0 } };
    dfx_status status = r.text && r.part && r.round.part && r.square.part
                            ? read_parts(&r, prompt, (int)bytes)
                            : dfx__no_memory();
    if (status == DFX_OK)
        status = encode(out, t, &r);
    free(r.text);
    free(r.part);
    free(r.round.part);
    free(r.square.part);
    if (status != DFX_OK)
        dfx__weighted_tokens_free(out);
    return status;
}

void dfx__weighted_tokens_free(dfx__weighted_tokens *w)
{
    free(w->id);
    free(w->weight);
    *w = (dfx__weighted_tokens){ 0, NULL, NULL };
}
