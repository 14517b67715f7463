/* unicode.h - characters as tokenizers (transformers' Rust library) sees them, whatever the version
 * of the installed utf8proc. */
#ifndef DFX_TOKENIZER_UNICODE_H
#define DFX_TOKENIZER_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* The next character of `n` > 0 bytes, in *c; returns its length in bytes. The longest start of a
 * character that wrong bytes make counts as one U+FFFD, as in Python's errors="replace". */
size_t dfx__utf8_decode(int32_t *c, const unsigned char *text, size_t n);

/* The classes of the tokenizer's regular expressions: \s, \p{L}, \p{N}, the rest. */
enum dfx__class { DFX__SPACE, DFX__LETTER, DFX__NUMBER, DFX__SYMBOL };
enum dfx__class dfx__char_class(int32_t c);

/* The value of a decimal digit of any script; -1 of other characters. */
int dfx__char_digit(int32_t c);

/* Lower case of one character by itself; returns how many characters it is, 1 or 2. */
int dfx__char_lower(int32_t out[2], int32_t c);

/* For NFC: the canonical decomposition (returns its length), the combining class, and the
 * character that two compose to (0 when they don't). */
enum { DFX__DECOMPOSED = 4 }; /* characters of the longest one */
int dfx__char_decompose(int32_t out[DFX__DECOMPOSED], int32_t c);
int dfx__char_combining(int32_t c);
int32_t dfx__char_compose(int32_t first, int32_t second);

#endif
