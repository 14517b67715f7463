/* clip_files.c - reading a CLIP tokenizer's folder: configuration, vocabulary and merges. */
#include "tokenizer/clip_files.h"

#include "core/file.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_LENGTH = 77,
    MIN_LENGTH = 2, /* BOS and EOS */
    MAX_LENGTH = 4096
};

/* Reads a file where it is there. */
static dfx_status read_file(json_object **out, const char *folder, const char *name)
{
    char *path = dfx__path_join(folder, name);
    if (!path)
        return dfx__no_memory();
    dfx_status status = DFX_OK;
    if (dfx__file_exists(path))
        status = dfx__json_read(out, path);
    if (status == DFX_OK && *out && !json_object_is_type(*out, json_type_object))
        status = dfx__fail(DFX_ERROR_FORMAT, "%s: is not a JSON object", path);
    free(path);
    return status;
}

/* What these keys may say: this tokenizer does nothing else. */
static const struct {
    const char *key, *values[2];
} supported[] = {
    { "tokenizer_class", { "CLIPTokenizer", "CLIPTokenizerFast" } },
    { "padding_side", { "right", "right" } },
    { "truncation_side", { "right", "right" } },
};

static dfx_status check_config(const dfx__clip_files *f)
{
    for (size_t i = 0; i < sizeof supported / sizeof *supported; i++) {
        const char *value = dfx__json_string(f->config, supported[i].key);
        if (value && strcmp(value, supported[i].values[0]) && strcmp(value, supported[i].values[1]))
            return dfx__fail(DFX_ERROR_UNSUPPORTED,
                             "%s/tokenizer_config.json: %s \"%s\" is not supported, only \"%s\"",
                             f->folder, supported[i].key, value, supported[i].values[0]);
    }
    json_object *split = dfx__json_get(f->config, "split_special_tokens", json_type_boolean);
    if (json_object_get_boolean(split))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/tokenizer_config.json: split_special_tokens is not supported",
                         f->folder);
    return DFX_OK;
}

/* The vocabulary of tokenizer.json; its other parts follow from the class. */
static dfx_status find_vocab(dfx__clip_files *f)
{
    json_object *model = dfx__json_get(f->tokenizer, "model", json_type_object);
    const char *type = dfx__json_string(model, "type");
    if (type && strcmp(type, "BPE"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/tokenizer.json: model \"%s\" is not supported, only BPE", f->folder,
                         type);
    json_object *vocab = dfx__json_get(model, "vocab", json_type_object);
    if (!vocab)
        return dfx__fail(DFX_ERROR_FORMAT, "%s/tokenizer.json: has no model with a vocab",
                         f->folder);
    f->vocab = json_object_get(vocab);
    return DFX_OK;
}

static dfx_status read_all(dfx__clip_files *f)
{
    DFX__TRY(read_file(&f->config, f->folder, "tokenizer_config.json"));
    DFX__TRY(check_config(f));
    DFX__TRY(read_file(&f->special, f->folder, "special_tokens_map.json"));
    DFX__TRY(read_file(&f->added, f->folder, "added_tokens.json"));
    DFX__TRY(read_file(&f->tokenizer, f->folder, "tokenizer.json"));
    if (f->tokenizer)
        return find_vocab(f);
    DFX__TRY(read_file(&f->vocab, f->folder, "vocab.json"));
    if (!f->vocab)
        return dfx__fail(
            DFX_ERROR_FILE,
            "%s: has neither vocab.json nor tokenizer.json: is it a tokenizer's folder?",
            f->folder);
    return DFX_OK;
}

dfx_status dfx__clip_files_open(dfx__clip_files *f, const char *folder)
{
    *f = (dfx__clip_files){ .folder = folder };
    if (!dfx__folder_exists(folder))
        return dfx__fail(DFX_ERROR_FILE, "%s: is not a folder", folder);
    dfx_status status = read_all(f);
    if (status != DFX_OK)
        dfx__clip_files_close(f);
    return status;
}

void dfx__clip_files_close(dfx__clip_files *f)
{
    json_object_put(f->config);
    json_object_put(f->special);
    json_object_put(f->added);
    json_object_put(f->tokenizer);
    json_object_put(f->vocab);
    *f = (dfx__clip_files){ NULL, NULL, NULL, NULL, NULL, NULL };
}

dfx_status dfx__clip_length(const dfx__clip_files *f, int *length)
{
    static const char *const keys[] = { "model_max_length", "max_len" };
    *length = DEFAULT_LENGTH;
    for (int i = 0; i < 2; i++) {
        json_object *value = dfx__json_get(f->config, keys[i], json_type_int);
        if (!value) /* 1e30, "no limit", is a double */
            value = dfx__json_get(f->config, keys[i], json_type_double);
        if (!value)
            continue;
        double number = json_object_get_double(value);
        if (!(number >= MIN_LENGTH))
            return dfx__fail(DFX_ERROR_FORMAT,
                             "%s/tokenizer_config.json: %s is %s, which leaves no room for a text",
                             f->folder, keys[i], json_object_to_json_string(value));
        if (number <= MAX_LENGTH)
            *length = (int)number;
        return DFX_OK;
    }
    return DFX_OK;
}

/* A merge as "LEFT RIGHT". */
static dfx_status add_line(const dfx__clip_files *f, dfx__bpe *bpe, const char *line, size_t bytes)
{
    const char *space = memchr(line, ' ', bytes);
    size_t left = space ? (size_t)(space - line) : 0;
    if (!space || memchr(space + 1, ' ', bytes - left - 1))
        return dfx__fail(DFX_ERROR_FORMAT, "a merge is two tokens with one space between");
    return dfx__bpe_add_merge(bpe, f->vocab, line, left, space + 1, bytes - left - 1);
}

static dfx_status add_text(const dfx__clip_files *f, dfx__bpe *bpe, const char *text, size_t bytes)
{
    static const char version[] = "#version";
    size_t number = 1;
    for (size_t at = 0; at < bytes; number++) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', bytes - at);
        size_t length = end ? (size_t)(end - line) : bytes - at;
        at += length + 1;
        if (length > 0 && line[length - 1] == '\r')
            length--;
        if (length == 0 || (length >= 8 && memcmp(line, version, 8) == 0))
            continue;
        dfx_status status = add_line(f, bpe, line, length);
        if (status != DFX_OK)
            return dfx__fail_in(status, "%s/merges.txt:%zu", f->folder, number);
    }
    return DFX_OK;
}

static dfx_status read_text(const dfx__clip_files *f, dfx__bpe *bpe, const char *unknown)
{
    char *path = dfx__path_join(f->folder, "merges.txt");
    if (!path)
        return dfx__no_memory();
    dfx__mapped file;
    dfx_status status = dfx__map_file(&file, path);
    free(path);
    if (status != DFX_OK)
        return status;
    const char *text = (const char *)file.data;
    size_t lines = 1;
    for (size_t i = 0; i < file.bytes; i++)
        lines += text[i] == '\n';
    status = dfx__bpe_open(bpe, f->vocab, unknown, lines);
    if (status != DFX_OK)
        status = dfx__fail_in(status, "%s", f->folder);
    else
        status = add_text(f, bpe, text, file.bytes);
    dfx__unmap_file(&file);
    return status;
}

/* A merge of tokenizer.json: "LEFT RIGHT", or ["LEFT", "RIGHT"] in newer files. */
static dfx_status add_json(const dfx__clip_files *f, dfx__bpe *bpe, json_object *merge)
{
    if (json_object_is_type(merge, json_type_string))
        return add_line(f, bpe, json_object_get_string(merge),
                        strlen(json_object_get_string(merge)));
    const char *part[2] = { NULL, NULL };
    if (json_object_is_type(merge, json_type_array) && json_object_array_length(merge) == 2)
        for (size_t i = 0; i < 2; i++) {
            json_object *token = json_object_array_get_idx(merge, i);
            if (json_object_is_type(token, json_type_string))
                part[i] = json_object_get_string(token);
        }
    if (!part[0] || !part[1])
        return dfx__fail(DFX_ERROR_FORMAT, "a merge is a string or a list of two");
    return dfx__bpe_add_merge(bpe, f->vocab, part[0], strlen(part[0]), part[1], strlen(part[1]));
}

static dfx_status read_json(const dfx__clip_files *f, dfx__bpe *bpe, const char *unknown)
{
    json_object *model = dfx__json_get(f->tokenizer, "model", json_type_object);
    json_object *merges = dfx__json_get(model, "merges", json_type_array);
    if (!merges)
        return dfx__fail(DFX_ERROR_FORMAT, "has no model with merges");
    size_t count = json_object_array_length(merges);
    DFX__TRY(dfx__bpe_open(bpe, f->vocab, unknown, count));
    for (size_t i = 0; i < count; i++) {
        dfx_status status = add_json(f, bpe, json_object_array_get_idx(merges, i));
        if (status != DFX_OK)
            return dfx__fail_in(status, "merge %zu", i);
    }
    return DFX_OK;
}

dfx_status dfx__clip_merges(const dfx__clip_files *f, dfx__bpe *bpe, const char *unknown)
{
    if (!f->tokenizer)
        return read_text(f, bpe, unknown);
    dfx_status status = read_json(f, bpe, unknown);
    return status == DFX_OK ? status : dfx__fail_in(status, "%s/tokenizer.json", f->folder);
}
