/* clip_tokens.c - the special and added tokens of a CLIP tokenizer's folder.
 *
 * They stand in up to five files, and which of these count depends on each other: this follows
 * _from_pretrained in transformers' tokenization_utils_base.py and __init__ in
 * tokenization_utils_tokenizers.py. */
#include "tokenizer/clip_files.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key, *otherwise;
} named_tokens[DFX__NAMED_TOKENS] = {
    [DFX__BOS] = { "bos_token", "<|startoftext|>" },
    [DFX__EOS] = { "eos_token", "<|endoftext|>" },
    [DFX__UNK] = { "unk_token", "<|endoftext|>" },
    [DFX__SEP] = { "sep_token", NULL },
    [DFX__PAD] = { "pad_token", "<|endoftext|>" },
    [DFX__CLS] = { "cls_token", NULL },
    [DFX__MASK] = { "mask_token", NULL },
};

/* A token as a file gives it: a string, or an object with properties. */
struct token {
    const char *content;
    int is_object, special, lstrip, rstrip;
    int normalized; /* UNSAID: special tokens are not, others are */
};

enum { UNSAID = -1 };

/* Added tokens that files give with an id. It only orders them; of two with one id the later one
 * counts. */
struct numbered {
    int64_t number;
    struct token token;
    int replaced;
};

struct tokens {
    const dfx__clip_files *files;
    json_object *special; /* files->special where it counts */
    struct token named[DFX__NAMED_TOKENS];
    int given[DFX__NAMED_TOKENS]; /* by a file */
    int seen[DFX__NAMED_TOKENS];  /* by the reading of added_tokens.json, as is_special says */
    struct numbered *numbered;
    struct token *extra;  /* special tokens without a name */
    struct token *others; /* the named and extra ones that are no numbered ones */
    size_t numbered_count, extra_count, others_count;
    size_t extra_seen; /* how many of `extra` are seen so too */
};

static int get_flag(json_object *object, const char *key)
{
    return json_object_get_boolean(dfx__json_get(object, key, json_type_boolean));
}

/* `special`: the token is special by its place. */
static dfx_status read_token(struct token *out, json_object *value, int special)
{
    if (json_object_is_type(value, json_type_string)) {
        *out = (struct token){ .content = json_object_get_string(value) };
        return DFX_OK;
    }
    *out = (struct token){ .content = dfx__json_string(value, "content"),
                           .is_object = 1,
                           .special = special || get_flag(value, "special"),
                           .lstrip = get_flag(value, "lstrip"),
                           .rstrip = get_flag(value, "rstrip"),
                           .normalized = UNSAID };
    if (!out->content)
        return dfx__fail(DFX_ERROR_FORMAT,
                         "a token is neither a string nor has it a content: %.80s",
                         json_object_to_json_string(value));
    if (get_flag(value, "single_word"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "the added token \"%s\" is for single words only, which is not supported",
                         out->content);
    if (dfx__json_get(value, "normalized", json_type_boolean))
        out->normalized = get_flag(value, "normalized");
    return DFX_OK;
}

static json_object *get(json_object *object, const char *key)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

static dfx_status read_named(struct tokens *t)
{
    for (int i = 0; i < DFX__NAMED_TOKENS; i++) {
        const char *key = named_tokens[i].key;
        json_object *special = get(t->special, key);
        json_object *value = special ? special : get(t->files->config, key);
        t->named[i] = (struct token){ .content = named_tokens[i].otherwise };
        t->given[i] = value != NULL;
        t->seen[i] = special || json_object_is_type(value, json_type_string);
        if (value)
            DFX__TRY(read_token(&t->named[i], value, special != NULL));
    }
    return DFX_OK;
}

/* Files are hostile: what is quadratic in the number of tokens needs a bound. */
static dfx_status check_count(size_t count)
{
    if (count > DFX__MAX_ADDED)
        return dfx__fail(DFX_ERROR_FORMAT, "%zu added tokens are too many, at most %d", count,
                         DFX__MAX_ADDED);
    return DFX_OK;
}

static dfx_status add_numbered(struct tokens *t, int64_t number, const struct token *token)
{
    DFX__TRY(check_count(t->numbered_count + 1));
    for (size_t i = 0; i < t->numbered_count; i++)
        t->numbered[i].replaced |= t->numbered[i].number == number;
    t->numbered[t->numbered_count++] = (struct numbered){ number, *token, 0 };
    return DFX_OK;
}

/* Finds the special tokens that have no name, and that files may give in two lists. */
static dfx_status find_extra(struct tokens *t)
{
    json_object *config = t->files->config;
    json_object *lists[] = {
        dfx__json_get(config, "extra_special_tokens", json_type_array),
        dfx__json_get(t->special, "extra_special_tokens", json_type_array),
        dfx__json_get(config, "additional_special_tokens", json_type_array),
        dfx__json_get(t->special, "additional_special_tokens", json_type_array),
    };
    if (!lists[0])
        lists[0] = lists[2];
    int unseen = !lists[0] && !lists[1]; /* by the reading of added_tokens.json */
    if (unseen)
        lists[0] = lists[3];
    for (int k = 0; k < 2; k++) {
        size_t count = lists[k] ? json_object_array_length(lists[k]) : 0;
        DFX__TRY(check_count(t->extra_count + count));
        for (size_t i = 0; i < count; i++)
            DFX__TRY(
                read_token(&t->extra[t->extra_count++], json_object_array_get_idx(lists[k], i), 1));
    }
    t->extra_seen = unseen ? 0 : t->extra_count;
    return DFX_OK;
}

/* Whether a file gives the content as a special token's, when added_tokens.json is read: before
 * transformers turns the objects of tokenizer_config.json into tokens. */
static int is_special(const struct tokens *t, const char *content)
{
    for (int i = 0; i < DFX__NAMED_TOKENS; i++)
        if (t->seen[i] && strcmp(t->named[i].content, content) == 0)
            return 1;
    for (size_t i = 0; i < t->extra_seen; i++)
        if (strcmp(t->extra[i].content, content) == 0)
            return 1;
    return 0;
}

/* added_tokens_decoder of tokenizer_config.json: "49408": { "content": ... } */
static dfx_status read_decoder(struct tokens *t, json_object *decoder)
{
    struct json_object_iterator i = json_object_iter_begin(decoder);
    struct json_object_iterator end = json_object_iter_end(decoder);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        struct token token;
        DFX__TRY(read_token(&token, json_object_iter_peek_value(&i), 0));
        DFX__TRY(add_numbered(t, strtoll(json_object_iter_peek_name(&i), NULL, 10), &token));
    }
    return DFX_OK;
}

/* added_tokens.json: "<token>": 49408 */
static dfx_status read_added(struct tokens *t, json_object *added)
{
    struct json_object_iterator i = json_object_iter_begin(added);
    struct json_object_iterator end = json_object_iter_end(added);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        const char *content = json_object_iter_peek_name(&i);
        int special = is_special(t, content);
        struct token token = { content, 1, special, 0, 0, !special };
        int64_t number = json_object_get_int64(json_object_iter_peek_value(&i));
        DFX__TRY(add_numbered(t, number, &token));
    }
    return DFX_OK;
}

/* added_tokens of tokenizer.json: { "id": 49408, "content": ... } */
static dfx_status read_tokenizer(struct tokens *t, json_object *added)
{
    for (size_t i = 0; i < json_object_array_length(added); i++) {
        json_object *value = json_object_array_get_idx(added, i);
        struct token token;
        DFX__TRY(read_token(&token, value, 0));
        int64_t number = json_object_get_int64(dfx__json_get(value, "id", json_type_int));
        DFX__TRY(add_numbered(t, number, &token));
    }
    return DFX_OK;
}

static dfx_status read_numbered(struct tokens *t)
{
    const dfx__clip_files *f = t->files;
    json_object *decoder = dfx__json_get(f->config, "added_tokens_decoder", json_type_object);
    if (decoder)
        return read_decoder(t, decoder);
    if (f->added)
        DFX__TRY(read_added(t, f->added));
    json_object *added = dfx__json_get(f->tokenizer, "added_tokens", json_type_array);
    return added ? read_tokenizer(t, added) : DFX_OK;
}

/* A named token takes the properties of the last numbered one of its content, be it replaced. */
static void update_named(struct tokens *t)
{
    for (int k = 0; k < DFX__NAMED_TOKENS; k++)
        for (size_t i = 0; i < t->numbered_count && t->given[k]; i++)
            if (strcmp(t->numbered[i].token.content, t->named[k].content) == 0)
                t->named[k] = t->numbered[i].token;
}

static int is_normalized(const struct token *token, int special)
{
    if (!token->is_object)
        return 0;
    return token->normalized == UNSAID ? !special : token->normalized;
}

static int is_same(const struct token *a, const struct token *b)
{
    return strcmp(a->content, b->content) == 0 && a->is_object == b->is_object &&
           a->special == b->special && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           is_normalized(a, a->special) == is_normalized(b, b->special);
}

/* Adds a token of the other places, unless a numbered one has its content or it is there already.
 */
static dfx_status add_other(struct tokens *t, const struct token *token)
{
    if (!token->content)
        return DFX_OK;
    for (size_t i = 0; i < t->numbered_count; i++)
        if (!t->numbered[i].replaced && strcmp(t->numbered[i].token.content, token->content) == 0)
            return DFX_OK;
    for (size_t i = 0; i < t->others_count; i++)
        if (is_same(&t->others[i], token))
            return DFX_OK;
    DFX__TRY(check_count(t->others_count + 1));
    t->others[t->others_count++] = *token;
    return DFX_OK;
}

static dfx_status add_others(struct tokens *t)
{
    for (int i = 0; i < DFX__NAMED_TOKENS; i++)
        DFX__TRY(add_other(t, &t->named[i]));
    for (size_t i = 0; i < t->extra_count; i++)
        DFX__TRY(add_other(t, &t->extra[i]));
    return DFX_OK;
}

static dfx_status put(const struct tokens *t, dfx__added *added, const struct token *token)
{
    int special = token->special;
    for (int i = 0; i < DFX__NAMED_TOKENS; i++)
        special |= t->named[i].content && strcmp(t->named[i].content, token->content) == 0;
    dfx__added_token out = { token->content, is_normalized(token, special) };
    return dfx__added_put(added, t->files->vocab, &out);
}

static int compare(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

static dfx_status put_all(struct tokens *t, dfx__added *added)
{
    qsort(t->numbered, t->numbered_count, sizeof *t->numbered, compare);
    for (size_t i = 0; i < t->numbered_count; i++)
        if (!t->numbered[i].replaced)
            DFX__TRY(put(t, added, &t->numbered[i].token));
    for (size_t i = 0; i < t->others_count; i++)
        DFX__TRY(put(t, added, &t->others[i]));
    return DFX_OK;
}

static dfx_status read_all(struct tokens *t)
{
    DFX__TRY(read_named(t));
    DFX__TRY(find_extra(t));
    DFX__TRY(read_numbered(t));
    update_named(t);
    return add_others(t);
}

dfx_status dfx__clip_tokens(const dfx__clip_files *f, dfx__added *added,
                            const char *named[DFX__NAMED_TOKENS])
{
    struct tokens t = { .files = f, .special = f->special };
    if (dfx__json_get(f->config, "added_tokens_decoder", json_type_object))
        t.special = NULL;
    t.numbered = dfx__alloc(DFX__MAX_ADDED, sizeof *t.numbered);
    t.extra = dfx__alloc(DFX__MAX_ADDED, sizeof *t.extra);
    t.others = dfx__alloc(DFX__MAX_ADDED, sizeof *t.others);
    dfx_status status = t.numbered && t.extra && t.others ? read_all(&t) : dfx__no_memory();
    if (status == DFX_OK)
        status = put_all(&t, added);
    for (int i = 0; i < DFX__NAMED_TOKENS; i++)
        named[i] = t.named[i].content;
    free(t.numbered);
    free(t.extra);
    free(t.others);
    return status == DFX_OK ? status : dfx__fail_in(status, "%s", f->folder);
}
