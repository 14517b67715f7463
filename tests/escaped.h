/* escaped.h - lines of fixtures with bytes as \xHH. */
#ifndef DFX_ESCAPED_H
#define DFX_ESCAPED_H

#include <stdio.h>

/* Puts bytes in the place of \xHH, and ends the text at the line's end. */
static void unescape(char *text)
{
    char *to = text;
    unsigned byte;
    for (char *from = text; *from && *from != '\n'; to++)
        if (*from == '\\' && sscanf(from, "\\x%2x", &byte) == 1) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    *to = 0;
}

#endif
