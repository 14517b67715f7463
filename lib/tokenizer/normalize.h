/* normalize.h - text as CLIP's tokenizer compares it: NFC, one space for white space, lower case.
 */
#ifndef DFX_TOKENIZER_NORMALIZE_H
#define DFX_TOKENIZER_NORMALIZE_H

#include "dfxcl/base.h"

/* Memory that is kept from one text to the next. */
typedef struct {
    int32_t *chars, *spare;
    size_t room; /* of both */
    unsigned char *text;
    size_t text_room;
} dfx__normalizer;
#define DFX__NORMALIZER_INIT                                                                       \
    {                                                                                              \
        NULL, NULL, 0, NULL, 0                                                                     \
    }

/* The normal form of UTF-8 text, in *out and *out_bytes until the next call. */
dfx_status dfx__normalize(dfx__normalizer *n, const unsigned char **out, size_t *out_bytes,
                          const unsigned char *text, size_t bytes);
void dfx__normalizer_free(dfx__normalizer *n);

#endif
