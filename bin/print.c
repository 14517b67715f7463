/* print.c - results on standard output: JSON, text from files. */
#include "print.h"

#include "cmd.h"

#include <stdio.h>
#include <string.h>

/* Whether something of what is to be printed found no memory. */
static int incomplete;

void print_put(json_object *object, const char *key, json_object *value)
{
    if (object && value && json_object_object_add(object, key, value) == 0)
        return;
    incomplete = 1;
    json_object_put(value);
}

void print_append(json_object *array, json_object *value)
{
    if (array && value && json_object_array_add(array, value) == 0)
        return;
    incomplete = 1;
    json_object_put(value);
}

const char *print_text_of(json_object *object)
{
    const int style =
        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    return object && !incomplete ? json_object_to_json_string_ext(object, style) : NULL;
}

int print_json(json_object *object)
{
    const char *text = print_text_of(object);
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
