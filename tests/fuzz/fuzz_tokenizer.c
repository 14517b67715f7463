/* fuzz_tokenizer.c - encodes any bytes with the emoji model's tokenizer, and opens folders of any
 * files. The first byte says which; files are separated by zero bytes, in the order of `names`. */
#include "dfxcl/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_LENGTH = 4096 };

/* What is true of every text: ids of the vocabulary, as many as there should be. */
static void encode(const dfx_tokenizer *t, const char *text)
{
    static int32_t ids[MAX_LENGTH];
    int used, lost, length = dfx_tokenizer_length(t);
    if (length < 2 || length > MAX_LENGTH)
        abort();
    if (dfx_tokenizer_encode(t, text, ids, &used, &lost) != DFX_OK)
        abort();
    if (used < 2 || used > length || lost < 0 || (lost > 0 && used != length))
        abort();
    for (int i = 0; i < length; i++)
        if (ids[i] < 0 || ids[i] >= dfx_tokenizer_vocabulary(t))
            abort();
}

static dfx_tokenizer *emoji(void)
{
    static dfx_tokenizer *t;
    const char *top = getenv("srcdir");
    char path[512];
    snprintf(path, sizeof path, "%.400s/share/models/emoji/tokenizer", top ? top : ".");
    if (!t && dfx_tokenizer_open(&t, path) != DFX_OK) {
        fprintf(stderr, "%s\n", dfx_error());
        exit(1);
    }
    return t;
}

static void write_file(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, size, f) != size || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void open_folder(const char *text, size_t size)
{
    static const char *const names[] = {
        "vocab.json",        "merges.txt",    "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "tokenizer.json"
    };
    enum { FILES = sizeof names / sizeof *names };
    char folder[64], path[FILES][128];
    snprintf(folder, sizeof folder, "/dev/shm/dfx-fuzz-%ld", (long)getpid());
    mkdir(folder, 0700);
    for (int i = 0; i < FILES; i++) {
        size_t length = strnlen(text, size);
        snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
        if (length > 0)
            write_file(path[i], text, length);
        text += length < size ? length + 1 : length;
        size -= length < size ? length + 1 : length;
    }
    dfx_tokenizer *t;
    if (dfx_tokenizer_open(&t, folder) == DFX_OK) {
        encode(t, "Ab abab's <new> <|EndOfText|> \xe1\xbe\x82\xcc\x81 \xf0\x9f\x98\x80!");
        dfx_tokenizer_free(t);
    }
    for (int i = 0; i < FILES; i++)
        unlink(path[i]);
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    if (data[0] % 2)
        open_folder(text, size - 1);
    else
        encode(emoji(), text);
    free(text);
    return 0;
}
