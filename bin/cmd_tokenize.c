/* cmd_tokenize.c - dfx tokenize: a text as a JSON array of token ids. */
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>

struct settings {
    const char *model, *text;
};

static const struct settings defaults;

static const struct option options[] = {
    { "model", OPTION_STRING, offsetof(struct settings, model), "MODEL/tokenizer",
      "the tokenizer of a model, as generate takes those", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "TEXT", offsetof(struct settings, text), 1, "the text, in quotes" },
    { .name = NULL },
};

static dfx_status print_ids(const dfx_tokenizer *t, const char *text, int32_t *ids)
{
    int lost, length = dfx_tokenizer_length(t);
    dfx_status status = dfx_tokenizer_encode(t, text, ids, NULL, &lost);
    if (status != DFX_OK)
        return status;
    for (int i = 0; i < length; i++)
        printf("%s%d", i ? ", " : "[", (int)ids[i]);
    puts("]");
    if (lost > 0)
        fprintf(stderr, "dfx: the last %d tokens of the text don't fit in %d\n", lost, length);
    return DFX_OK;
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_tokenizer *t;
    if (!s->model)
        return cmd_fail_with(EXIT_USAGE,
                             "--model is missing; `dfx tokenize --help` shows the usage");
    dfx_status status = dfx_tokenizer_open(&t, s->model);
    if (status != DFX_OK)
        return cmd_fail(status);
    int code = EXIT_DONE;
    int32_t *ids = malloc((size_t)dfx_tokenizer_length(t) * sizeof *ids);
    if (!ids)
        code = cmd_fail_with(EXIT_FAILED, "out of memory");
    else if ((status = print_ids(t, s->text, ids)) != DFX_OK)
        code = cmd_fail(status);
    free(ids);
    dfx_tokenizer_free(t);
    return code;
}

const struct command cmd_tokenize = {
    .name = "tokenize",
    .summary = "print a text's token ids, padded as the tokenizer's config says",
    .example = "  dfx tokenize --model share/models/emoji/tokenizer \"red apple\"\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
