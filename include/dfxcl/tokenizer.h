/* dfxcl/tokenizer.h - text to token ids, exactly as transformers. */
#ifndef DFXCL_TOKENIZER_H
#define DFXCL_TOKENIZER_H

#include "dfxcl/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_tokenizer dfx_tokenizer;

/* Opens a CLIP tokenizer's folder: vocab.json and merges.txt, or tokenizer.json; with
 * tokenizer_config.json and special_tokens_map.json where they are. Errors: DFX_ERROR_FILE,
 * DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED (another class of tokenizer). */
DFX_API dfx_status dfx_tokenizer_open(dfx_tokenizer **out, const char *folder);
DFX_API void dfx_tokenizer_free(dfx_tokenizer *t);

/* Ids of one text: model_max_length (dfx_tokenizer_length) of them, BOS first, truncated before
 * EOS, padded as the tokenizer's config says. `used`, where not NULL, receives how many are not
 * padding; `lost` how many tokens truncation dropped. Text is UTF-8; wrong bytes count as U+FFFD.
 */
DFX_API dfx_status dfx_tokenizer_encode(const dfx_tokenizer *t, const char *text, int32_t *ids,
                                        int *used, int *lost);

/* Ids of one text of any length without BOS, EOS and padding: `count`, where not NULL, receives how
 * many there are, `ids` the first `room` of them. */
DFX_API dfx_status dfx_tokenizer_encode_all(const dfx_tokenizer *t, const char *text, int32_t *ids,
                                            int room, int *count);

/* The ids that dfx_tokenizer_encode puts around and after those of the text. */
DFX_API int32_t dfx_tokenizer_bos(const dfx_tokenizer *t);
DFX_API int32_t dfx_tokenizer_eos(const dfx_tokenizer *t);
DFX_API int32_t dfx_tokenizer_pad(const dfx_tokenizer *t);

DFX_API int dfx_tokenizer_length(const dfx_tokenizer *t); /* 77 for SD */
DFX_API int dfx_tokenizer_vocabulary(const dfx_tokenizer *t);

#ifdef __cplusplus
}
#endif
#endif
