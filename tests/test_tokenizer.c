/* test_tokenizer.c - the CLIP tokenizer against transformers (tests/gen/tokenizer.py), and files
 * that are wrong. */
#include "dfxcl/tokenizer.h"

#include "core/file.h"
#include "escaped.h"
#include "folder_test.h"

#include <dirent.h>
#include <unistd.h>

enum { MAX_LENGTH = 4096, LINE = 16384, LONG_TEXT = 1 << 20 };

static void empty_folder(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlink(in_folder(e->d_name));
    if (dir)
        closedir(dir);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        perror(in_folder(name));
}

/* Copies a file into the folder where it is there. */
static void copy(const char *from, const char *name)
{
    dfx__mapped file;
    if (!dfx__file_exists(from) || dfx__map_file(&file, from) != DFX_OK)
        return;
    FILE *f = fopen(in_folder(name), "w");
    if (!f || fwrite(file.data, 1, file.bytes, f) != file.bytes || fclose(f) != 0)
        perror(in_folder(name));
    dfx__unmap_file(&file);
}

/* A member of a JSON list: the text of both parts together, or of each. */
static void put_string(FILE *out, const char *left, const char *right)
{
    fputc('"', out);
    for (int part = 0; part < 2; part++)
        for (const char *c = part ? right : left; *c; c++)
            fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    fputc('"', out);
}

static void put_byte(FILE *out, int character, const char *suffix, int id)
{
    char text[3] = { (char)character, 0, 0 };
    if (character >= 0x80) {
        text[0] = (char)(0xc0 | character >> 6);
        text[1] = (char)(0x80 | (character & 0x3f));
    }
    put_string(out, text, suffix);
    fprintf(out, ": %d, ", id);
}

/* The next merge of merges.txt in two parts; 0 at the end. */
static int next_merge(FILE *merges, char line[LINE], char **right)
{
    do {
        if (!fgets(line, LINE, merges))
            return 0;
        *right = strchr(line, ' ');
    } while (!*right || strncmp(line, "#version", 8) == 0);
    *(*right)++ = 0;
    (*right)[strcspn(*right, "\n")] = 0;
    return 1;
}

/* CLIP's vocabulary: the characters of the bytes, these at the end of a word, what each merge
 * makes, and the special tokens. */
static void put_vocabulary(FILE *out, FILE *merges)
{
    char line[LINE], *right;
    int id = 0;
    fputc('{', out);
    for (int last = 0; last < 2; last++) {
        const char *suffix = last ? "</w>" : "";
        for (int b = '!'; b <= 0xff; b++)
            if (b <= '~' || (b >= 0xa1 && b != 0xad))
                put_byte(out, b, suffix, id++);
        for (int b = 0x100; b < 0x100 + 68; b++) /* for the 68 that are not printable */
            put_byte(out, b, suffix, id++);
    }
    while (next_merge(merges, line, &right)) {
        put_string(out, line, right);
        fprintf(out, ": %d, ", id++);
    }
    fprintf(out, "\"<|startoftext|>\": %d, \"<|endoftext|>\": %d}", id, id + 1);
}

/* CLIP's vocab.json and merges.txt in the folder. */
static void write_clip(void)
{
    FILE *merges = fopen(data("tokenizer/merges.txt"), "r"), *out;
    if (!merges || !(out = fopen(in_folder("vocab.json"), "w"))) {
        perror("tokenizer/merges.txt");
        exit(1);
    }
    put_vocabulary(out, merges);
    fclose(out);
    fclose(merges);
    copy(data("tokenizer/merges.txt"), "merges.txt");
}

/* The same as tokenizer.json, with merges as strings or as pairs. */
static void write_clip_json(int pairs)
{
    static const char properties[] =
        "\"special\": true, \"lstrip\": false, \"rstrip\": false, \"single_word\": false}";
    char line[LINE], *right;
    FILE *merges = fopen(data("tokenizer/merges.txt"), "r"), *out;
    if (!merges || !(out = fopen(in_folder("tokenizer.json"), "w"))) {
        perror("tokenizer/merges.txt");
        exit(1);
    }
    fprintf(out,
            "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 49406, \"content\": "
            "\"<|startoftext|>\", \"normalized\": true, %s, {\"id\": 49407, \"content\": "
            "\"<|endoftext|>\", \"normalized\": false, %s], \"model\": {\"type\": \"BPE\", "
            "\"vocab\": ",
            properties, properties);
    put_vocabulary(out, merges);
    fputs(", \"merges\": [", out);
    rewind(merges);
    for (int i = 0; next_merge(merges, line, &right); i++) {
        fputs(i ? ", " : "", out);
        if (pairs) {
            fputc('[', out);
            put_string(out, line, "");
            fputc(',', out);
            put_string(out, right, "");
            fputc(']', out);
        } else {
            right[-1] = ' ';
            put_string(out, line, "");
        }
    }
    fputs("]}}", out);
    fclose(out);
    fclose(merges);
}

/* Whether a line "LOST: ids" is what the tokenizer gives; -1 for padding. */
static int matches(const dfx_tokenizer *t, const char *text, const char *expected)
{
    static int32_t ids[MAX_LENGTH];
    int used = -1, lost = -1, length = dfx_tokenizer_length(t);
    if (dfx_tokenizer_encode(t, text, ids, &used, &lost) != DFX_OK)
        return 0;
    char *next;
    if (strtol(expected, &next, 10) != lost || *next++ != ':')
        return 0;
    for (int i = 0; i < used; i++)
        if (strtol(next, &next, 10) != ids[i] || ids[i] >= dfx_tokenizer_vocabulary(t))
            return 0;
    for (int i = used; i < length; i++)
        if (ids[i] != ids[length - 1])
            return 0;
    return strspn(next, " \n") == strlen(next);
}

/* Every text of prompts.txt with the tokenizer in `where` gives the ids of the variant. */
static void check(const char *where, const char *variant, const char *what)
{
    char text[LINE], expected[LINE], name[64];
    dfx_tokenizer *t = NULL;
    snprintf(name, sizeof name, "tokenizer/%s/ids.txt", variant);
    FILE *texts = fopen(data("tokenizer/prompts.txt"), "r"), *ids = fopen(data(name), "r");
    int count = 0, wrong = 0;
    if (!ok(dfx_tokenizer_open(&t, where) == DFX_OK, "%s opens", what))
        printf("# %s\n", dfx_error());
    while (t && texts && ids && fgets(text, sizeof text, texts) &&
           fgets(expected, sizeof expected, ids)) {
        unescape(text);
        count++;
        if (!matches(t, text, expected) && wrong++ < 5)
            printf("# line %d: %s", count, expected);
    }
    ok(count > 300 && wrong == 0, "%s: %d of %d texts give transformers' ids", what, count - wrong,
       count);
    dfx_tokenizer_free(t);
    if (texts)
        fclose(texts);
    if (ids)
        fclose(ids);
}

/* CLIP's vocabulary with the small files of a variant. */
static void check_clip(const char *variant)
{
    static const char *const names[] = { "tokenizer_config.json", "special_tokens_map.json",
                                         "added_tokens.json" };
    char path[128];
    empty_folder();
    write_clip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "tokenizer/%s/%s", variant, names[i]);
        copy(data(path), names[i]);
    }
    check(folder, variant, variant);
}

static void test_clip(void)
{
    static const char *const variants[] = { "sd1", "sd2", "sdxl", "inversion", "plain" };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        check_clip(variants[i]);
    for (int pairs = 0; pairs < 2; pairs++) {
        empty_folder();
        write_clip_json(pairs);
        write_text("tokenizer_config.json", "{\"tokenizer_class\": \"CLIPTokenizerFast\", "
                                            "\"model_max_length\": 1e30, \"new_key\": [1]}");
        check(folder, "sd1", pairs ? "tokenizer.json with pairs" : "tokenizer.json");
    }
}

static void test_emoji(void)
{
    const char *top = getenv("srcdir");
    char where[512], path[600];
    snprintf(where, sizeof where, "%.400s/share/models/emoji/tokenizer", top ? top : ".");
    check(where, "emoji", "the emoji model's tokenizer");
    empty_folder();
    static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer_config.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", where, names[i]);
        copy(path, names[i]);
    }
    check(folder, "emoji", "without tokenizer.json and special_tokens_map.json");
}

/* Texts that take quadratic time where care is not taken. */
static void test_long(void)
{
    static const struct {
        const char *what, *unit;
    } texts[] = {
        { "one word", "a" },
        { "another word", "abcdefgh" },
        { "digits", "7" },
        { "symbols", "'" },
        { "spaces", " " },
        { "combining marks", "\xcc\x81\xcc\xa3" },
        { "wrong bytes", "\xe2\x82" },
        { "special tokens", "<|endoftext|>" },
        { "starts of one", "<|endoftext" },
    };
    static int32_t ids[MAX_LENGTH];
    dfx_tokenizer *t = NULL;
    char *text = malloc(LONG_TEXT + 1);
    empty_folder();
    write_clip();
    if (dfx_tokenizer_open(&t, folder) != DFX_OK)
        printf("# %s\n", dfx_error());
    for (size_t k = 0; t && text && k < sizeof texts / sizeof *texts; k++) {
        size_t length = strlen(texts[k].unit);
        int used, lost;
        for (size_t i = 0; i < LONG_TEXT; i++)
            text[i] = texts[k].unit[i % length];
        text[LONG_TEXT] = 0;
        dfx_status status = dfx_tokenizer_encode(t, text, ids, &used, &lost);
        ok(status == DFX_OK && (lost > 1000) == (texts[k].unit[0] != ' '), "1 MiB of %s",
           texts[k].what);
    }
    free(text);
    dfx_tokenizer_free(t);
}

/* A folder with one file changed is refused with this status and these words. */
static void refused(const char *name, const char *content, dfx_status expected, const char *words)
{
    dfx_tokenizer *t = NULL;
    empty_folder();
    write_text("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|endoftext|>\": 3}");
    write_text("merges.txt", "#version: 0.2\na b\n");
    if (content)
        write_text(name, content);
    else
        unlink(in_folder(name));
    dfx_status status = dfx_tokenizer_open(&t, folder);
    if (!ok(status == expected && strstr(dfx_error(), words), "%s: %s", name, words))
        printf("# %d %s\n", status, dfx_error());
    if (status == DFX_OK)
        dfx_tokenizer_free(t);
}

static void test_refused(void)
{
    const char *config = "tokenizer_config.json", *json = "tokenizer.json";
    dfx_tokenizer *t;
    ok(dfx_tokenizer_open(&t, "no/such/folder") == DFX_ERROR_FILE, "a folder that is not there");
    ok(dfx_tokenizer_open(&t, NULL) == DFX_ERROR_ARGUMENT, "no folder");
    refused("vocab.json", NULL, DFX_ERROR_FILE, "vocab.json");
    refused("merges.txt", NULL, DFX_ERROR_FILE, "merges.txt");
    refused("vocab.json", "{\"a\": -1}", DFX_ERROR_FORMAT, "the id of \"a\" is -1");
    refused("vocab.json", "{\"a\": \"1\"}", DFX_ERROR_FORMAT, "the id of \"a\"");
    refused("vocab.json", "{\"a\": null}", DFX_ERROR_FORMAT, "the id of \"a\" is null");
    refused("vocab.json", "{\"a\": 4294967296}", DFX_ERROR_FORMAT, "the id of \"a\"");
    refused("vocab.json", "{\"a\": 1}", DFX_ERROR_FORMAT, "nor the unknown token");
    refused("vocab.json", "[\"a\"]", DFX_ERROR_FORMAT, "not a JSON object");
    refused("vocab.json", "{\"a\": 1", DFX_ERROR_FORMAT, "vocab.json");
    refused("merges.txt", "a b\nab\n", DFX_ERROR_FORMAT, "merges.txt:2");
    refused("merges.txt", "a b c\n", DFX_ERROR_FORMAT, "merges.txt:1");
    refused("merges.txt", "a b\na c\n", DFX_ERROR_FORMAT, "lacks the right part");
    refused("merges.txt", "b a\n", DFX_ERROR_FORMAT, "lacks the result");
    refused(config, "{\"tokenizer_class\": \"T5Tokenizer\"}", DFX_ERROR_UNSUPPORTED, "T5Tokenizer");
    refused(config, "{\"padding_side\": \"left\"}", DFX_ERROR_UNSUPPORTED, "padding_side");
    refused(config, "{\"split_special_tokens\": true}", DFX_ERROR_UNSUPPORTED, "split_special");
    refused(config, "{\"model_max_length\": 1}", DFX_ERROR_FORMAT, "model_max_length is 1");
    refused(config, "{\"model_max_length\": NaN}", DFX_ERROR_FORMAT, "model_max_length is NaN");
    refused(config, "{\"pad_token\": 5}", DFX_ERROR_FORMAT, "a token is neither");
    refused(config, "{\"eos_token\": \"\"}", DFX_ERROR_FORMAT, "is empty");
    refused(config, "{\"bos_token\": {\"content\": \"a\", \"single_word\": true}}",
            DFX_ERROR_UNSUPPORTED, "single words");
    refused(json, "{\"model\": {\"type\": \"Unigram\"}}", DFX_ERROR_UNSUPPORTED, "Unigram");
    refused(json, "{\"model\": {\"vocab\": []}}", DFX_ERROR_FORMAT, "no model with a vocab");
    refused(json, "{\"model\": {\"vocab\": {\"<|endoftext|>\": 0}}}", DFX_ERROR_FORMAT, "merges");
    refused(json, "{\"model\": {\"vocab\": {\"<|endoftext|>\": 0}, \"merges\": [7]}}",
            DFX_ERROR_FORMAT, "merge 0");
}

/* Lengths, and a vocabulary that lacks most bytes. */
static void test_small(void)
{
    static const struct {
        const char *config;
        int length;
    } configs[] = {
        { "{\"model_max_length\": 6}", 6 },
        { "{\"max_len\": 8}", 8 },
        { "{\"model_max_length\": 1000000000000000019884624838656}", 77 },
        { "{\"model_max_length\": null}", 77 },
        { "{\"model_max_length\": 4096}", 4096 },
        { "{\"model_max_length\": 4097}", 77 },
        { "{\"model_max_length\": 2}", 2 },
    };
    static int32_t ids[MAX_LENGTH];
    int used, lost;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        dfx_tokenizer *t = NULL;
        empty_folder();
        write_text("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|endoftext|>\": 3}");
        write_text("merges.txt", "#version: 0.2\r\na b\r\n\r\n");
        write_text("tokenizer_config.json", configs[i].config);
        ok(dfx_tokenizer_open(&t, folder) == DFX_OK && dfx_tokenizer_length(t) == configs[i].length,
           "length %d of %s", configs[i].length, configs[i].config);
        if (t && i == 0) {
            ok(dfx_tokenizer_vocabulary(t) == 5, "<|startoftext|> is added to the vocabulary");
            ok(dfx_tokenizer_encode(t, "AB\xc3\xa9", ids, &used, &lost) == DFX_OK && used == 5 &&
                   lost == 0 && ids[0] == 4 && ids[1] == 2 && ids[2] == 3 && ids[3] == 3,
               "bytes that the vocabulary lacks are the unknown token");
            ok(dfx_tokenizer_encode(t, "abababab.", ids, NULL, &lost) == DFX_OK && lost == 2 &&
                   ids[3] == 2 && ids[4] == 0 && ids[5] == 3,
               "what is too long is cut before EOS");
            ok(dfx_tokenizer_encode(t, NULL, ids, NULL, NULL) == DFX_ERROR_ARGUMENT, "no text");
        }
        dfx_tokenizer_free(t);
    }
}

int main(void)
{
    make_folder("tokenizer");
    test_emoji();
    test_clip();
    test_long();
    test_small();
    test_refused();
    empty_folder();
    rmdir(folder);
    return done();
}
