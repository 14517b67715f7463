/* fuzz_json.c - parses any bytes as JSON; what is parsed can be printed and parsed again. */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_object *o, *again;
    char *text = malloc(size ? size : 1); /* so that reading past its end is seen */
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    if (dfx__json_parse(&o, text, size, "input") == DFX_OK) {
        dfx__json_repeats(o, text, size);
        dfx__json_string(o, "a");
        const char *printed = json_object_to_json_string(o);
        if (dfx__json_parse(&again, printed, strlen(printed), "printed") != DFX_OK)
            abort();
        json_object_put(again);
        json_object_put(o);
    }
    free(text);
    return 0;
}
