/* unicode.c - utf8proc's tables, corrected to the Unicode versions that tokenizers works with.
 *
 * Its parts are built on different ones: regular expressions on Unicode 16, lower case on 17, NFC
 * on 9. The tables below hold the differences that utf8proc from Unicode 14 on can have. */
#include "tokenizer/unicode.h"

#include <utf8proc.h>

struct range {
    int32_t first, last;
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int in_ranges(const struct range *ranges, size_t count, int32_t c)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else if (c < ranges[middle].first)
            count = middle;
        else
            return 1;
    }
    return 0;
}

/* Letters and numbers of Unicode 15 to 16. */
static const struct range new_letters[] = {
    { 0x1c89, 0x1c8a },   { 0xa7cb, 0xa7cd },   { 0xa7da, 0xa7dc },   { 0x105c0, 0x105f3 },
    { 0x10d4a, 0x10d65 }, { 0x10d6f, 0x10d85 }, { 0x10ec2, 0x10ec4 }, { 0x1123f, 0x11240 },
    { 0x11380, 0x11389 }, { 0x1138b, 0x1138b }, { 0x1138e, 0x1138e }, { 0x11390, 0x113b5 },
    { 0x113b7, 0x113b7 }, { 0x113d1, 0x113d1 }, { 0x113d3, 0x113d3 }, { 0x11bc0, 0x11be0 },
    { 0x11f02, 0x11f02 }, { 0x11f04, 0x11f10 }, { 0x11f12, 0x11f33 }, { 0x1342f, 0x1342f },
    { 0x13441, 0x13446 }, { 0x13460, 0x143fa }, { 0x16100, 0x1611d }, { 0x16d40, 0x16d6c },
    { 0x18cff, 0x18cff }, { 0x1b132, 0x1b132 }, { 0x1b155, 0x1b155 }, { 0x1df25, 0x1df2a },
    { 0x1e030, 0x1e06d }, { 0x1e4d0, 0x1e4eb }, { 0x1e5d0, 0x1e5ed }, { 0x1e5f0, 0x1e5f0 },
    { 0x2b739, 0x2b739 }, { 0x2ebf0, 0x2ee5d }, { 0x31350, 0x323af },
};
static const struct range new_numbers[] = {
    { 0x10d40, 0x10d49 }, { 0x116d0, 0x116e3 }, { 0x11bf0, 0x11bf9 }, { 0x11f50, 0x11f59 },
    { 0x16130, 0x16139 }, { 0x16d70, 0x16d79 }, { 0x1ccf0, 0x1ccf9 }, { 0x1d2c0, 0x1d2d3 },
    { 0x1e4f0, 0x1e4f9 }, { 0x1e5f1, 0x1e5fa },
};

/* Capital letters of Unicode 16 and 17, and how far their small ones are. */
static const struct {
    int32_t first, last, distance;
} new_capitals[] = {
    { 0x1c89, 0x1c89, 1 },      { 0xa7cb, 0xa7cb, 0x264 - 0xa7cb },
    { 0xa7cc, 0xa7cc, 1 },      { 0xa7ce, 0xa7ce, 1 },
    { 0xa7d2, 0xa7d2, 1 },      { 0xa7d4, 0xa7d4, 1 },
    { 0xa7da, 0xa7da, 1 },      { 0xa7dc, 0xa7dc, 0x19b - 0xa7dc },
    { 0x10d50, 0x10d65, 0x20 }, { 0x16ea0, 0x16eb8, 0x1b },
};

/* Characters with a combining class or a decomposition that Unicode gained after version 9: NFC
 * leaves them alone, as it does any starter. */
static const struct range new_marks[] = {
    { 0x7fd, 0x7fd },     { 0x897, 0x89f },     { 0x8ca, 0x8d3 },     { 0x9fe, 0x9fe },
    { 0xc3c, 0xc3c },     { 0xd3b, 0xd3c },     { 0xeba, 0xeba },     { 0x1715, 0x1715 },
    { 0x1abf, 0x1aeb },   { 0x1df6, 0x1dfa },   { 0xa82c, 0xa82c },   { 0x105c9, 0x105c9 },
    { 0x105e4, 0x105e4 }, { 0x10d24, 0x10d27 }, { 0x10d69, 0x10d6d }, { 0x10eab, 0x10eac },
    { 0x10efa, 0x10eff }, { 0x10f46, 0x10f50 }, { 0x10f82, 0x10f85 }, { 0x11070, 0x11070 },
    { 0x1133b, 0x1133b }, { 0x11383, 0x113e2 }, { 0x1145e, 0x1145e }, { 0x11839, 0x1183a },
    { 0x11938, 0x11938 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 }, { 0x119e0, 0x119e0 },
    { 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 }, { 0x11a99, 0x11a99 }, { 0x11d42, 0x11d45 },
    { 0x11d97, 0x11d97 }, { 0x11f41, 0x11f42 }, { 0x16121, 0x1612f }, { 0x16d68, 0x16d6a },
    { 0x16ff0, 0x16ff1 }, { 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 }, { 0x1e2ae, 0x1e2ae },
    { 0x1e2ec, 0x1e2ef }, { 0x1e4ec, 0x1e4ef }, { 0x1e5ee, 0x1e5ef }, { 0x1e6e0, 0x1e6ff },
};

static int is_new_mark(int32_t c)
{
    return in_ranges(new_marks, COUNT(new_marks), c);
}

/* How many bytes the character that `lead` begins has, with its smallest second byte and largest in
 * *low and *high (which rule out overlong forms, surrogates and more than U+10FFFF); 0 if none. */
static size_t sequence_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t dfx__utf8_decode(int32_t *c, const unsigned char *text, size_t n)
{
    unsigned char low, high;
    size_t length = sequence_length(text[0], &low, &high);
    if (length == 1) {
        *c = text[0];
        return 1;
    }
    int32_t value = length ? text[0] & (0xff >> (length + 1)) : 0;
    size_t i = 1;
    while (i < length && i < n && text[i] >= low && text[i] <= high) {
        value = value << 6 | (text[i++] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *c = length && i == length ? value : 0xfffd;
    return i;
}

static int is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

enum dfx__class dfx__char_class(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return DFX__LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return DFX__NUMBER;
    case UTF8PROC_CATEGORY_CN:
        if (in_ranges(new_letters, COUNT(new_letters), c))
            return DFX__LETTER;
        return in_ranges(new_numbers, COUNT(new_numbers), c) ? DFX__NUMBER : DFX__SYMBOL;
    default:
        return is_space(c) ? DFX__SPACE : DFX__SYMBOL;
    }
}

int dfx__char_digit(int32_t c)
{
    int before = 0; /* a script's digits stand together, from 0 to 9; some twice or more */
    if (utf8proc_category(c) != UTF8PROC_CATEGORY_ND)
        return -1;
    while (utf8proc_category(c - before - 1) == UTF8PROC_CATEGORY_ND)
        before++;
    return before % 10;
}

int dfx__char_lower(int32_t out[2], int32_t c)
{
    if (c == 0x130) { /* the one that becomes two: i and a dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = utf8proc_tolower(c);
    for (size_t i = 0; i < COUNT(new_capitals); i++)
        if (c >= new_capitals[i].first && c <= new_capitals[i].last)
            out[0] = c + new_capitals[i].distance;
    return 1;
}

int dfx__char_decompose(int32_t out[DFX__DECOMPOSED], int32_t c)
{
    int boundary = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, out, DFX__DECOMPOSED, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > DFX__DECOMPOSED || (n > 1 && is_new_mark(c))) {
        out[0] = c;
        return 1;
    }
    return (int)n;
}

int dfx__char_combining(int32_t c)
{
    int combining = utf8proc_get_property(c)->combining_class;
    return combining && !is_new_mark(c) ? combining : 0;
}

int32_t dfx__char_compose(int32_t first, int32_t second)
{
    /* Nothing below U+0300 composes with what is before it; U+11A7 is where Hangul's finals begin
     * to count, itself none, but utf8proc before 2.10 composes it. */
    if (second < 0x300 || second == 0x11a7)
        return 0;
    utf8proc_int32_t pair[2] = { first, second };
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1 ||
        is_new_mark(pair[0]))
        return 0;
    return pair[0];
}
