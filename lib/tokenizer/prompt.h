/* prompt.h - prompts whose parts have weights: "a (red:1.3) [apple]". */
#ifndef DFX_TOKENIZER_PROMPT_H
#define DFX_TOKENIZER_PROMPT_H

#include "dfxcl/tokenizer.h"

/* Tokens of a text without BOS, EOS and padding, each with its part's weight. */
typedef struct {
    int count;
    int32_t *id;
    double *weight;
} dfx__weighted_tokens;

/* Reads a prompt as diffusers' community pipeline lpw_stable_diffusion does: (a) is a factor of 1.1
 * for what is in it, (a:1.3) one of 1.3, [a] one of 1/1.1; "\(", "\)", "\[", "\]" and "\\" are the
 * characters. Parts of unlike weight are tokenised apart. breaks: as lpw_stable_diffusion_xl, where
 * the word BREAK is a part of its own with the weight -1.
 * Errors: DFX_ERROR_ARGUMENT (a weight that is no number, a prompt of more than 64 KiB). */
dfx_status dfx__weighted_tokens_read(dfx__weighted_tokens *out, const dfx_tokenizer *t,
                                     const char *prompt, int breaks);
void dfx__weighted_tokens_free(dfx__weighted_tokens *w);

#endif
