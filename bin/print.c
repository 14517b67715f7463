/* print.c - results on standard output: JSON, text from files. */
#include "print.h"

#include "cmd.h"

#include <stdio.h>
#include <string.h>

int print_json(json_object *object)
{
    const int style =
        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    const char *text = object ? json_object_to_json_string_ext(object, style) : NULL;
    int code = EXIT_DONE;
    if (text)
        puts(text);
    else
        code = cmd_fail_with(EXIT_FAILED, "out of memory");
    json_object_put(object);
    return code;
}

void print_text(const char *text, int indent)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        int c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0; /* U+0080 to U+009F in UTF-8 */
        if (*c == '\n') {
            printf("\n%*s", indent, "");
        } else if (*c < ' ' || *c == 127 || c1) {
            putchar('?');
            c += c1;
        } else {
            putchar(*c);
        }
    }
}

void print_column(const char *text, int width)
{
    print_text(text, 0);
    printf("%*s ", strlen(text) < (size_t)width ? width - (int)strlen(text) : 0, "");
}
