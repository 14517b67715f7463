/* clip_keys.c - what a CLIP tokenizer does with each key of its tokenizer_config.json. */
#include "tokenizer/clip_files.h"

#include "core/status.h"

static const dfx__config_rule rules[] = {
    { "add_prefix_space", "*", "of other tokenizers" },
    { "added_tokens_decoder", NULL, "added tokens by their ids" },
    { "additional_special_tokens", NULL, "more special tokens" },
    { "backend", "*", "of Python" },
    { "bos_token", NULL, "the token before a text" },
    { "chat_template", "*", "of chats" },
    { "clean_up_tokenization_spaces", "*", "of texts made of ids" },
    { "cls_token", NULL, "one more special token" },
    { "do_lower_case", "*", "texts are in lower case always" },
    { "eos_token", NULL, "the token after a text" },
    { "errors", "*", "of texts made of ids" },
    { "extra_special_tokens", NULL, "more special tokens" },
    { "is_local", "*", "of downloads" },
    { "local_files_only", "*", "of downloads" },
    { "mask_token", NULL, "one more special token" },
    { "max_len", NULL, "the old name of model_max_length" },
    { "model_input_names", "*", "ids alone are made" },
    { "model_max_length", NULL, "ids of a text, with those around it" },
    { "name_or_path", "*", "where it was loaded from" },
    { "pad_token", NULL, "the token that fills a text up" },
    { "padding_side", "\"right\"", "only right: where padding stands" },
    { "processor_class", "*", "of Python" },
    { "sep_token", NULL, "one more special token" },
    { "special_tokens_map_file", "*", "where it was loaded from" },
    { "split_special_tokens", "false", "only false: special tokens in a text stay whole" },
    { "tokenizer_class", NULL, "the class" },
    { "tokenizer_file", "*", "where it was loaded from" },
    { "truncation_side", "\"right\"", "only right: where a long text is cut" },
    { "unk_token", NULL, "the token of what is not in the vocabulary" },
    { "use_fast", "*", "of Python" },
    { NULL, NULL, NULL },
};

static int is_given(const dfx__clip_files *f, const char *key)
{
    return f->config && json_object_object_get_ex(f->config, key, NULL);
}

/* What counts as read: what the file has, and what stands for the rest. */
static dfx_status find_read(json_object *read, const dfx__clip_files *f)
{
    static const char *const keys[] = { "bos_token", "eos_token", "unk_token", "pad_token" };
    static const int which[] = { DFX__BOS, DFX__EOS, DFX__UNK, DFX__PAD };
    const char *named[DFX__NAMED_TOKENS];
    dfx__added added = { 0 };
    int length;
    DFX__TRY(dfx__clip_length(f, &length));
    dfx_status status = dfx__clip_tokens(f, &added, named);
    for (int i = 0; status == DFX_OK && i < 4; i++)
        if (!dfx__json_put_text(read, keys[i], named[which[i]]))
            status = dfx__no_memory();
    dfx__added_close(&added);
    DFX__TRY(status);
    int whole = dfx__json_put_new(read, "model_max_length", json_object_new_int(length));
    for (const dfx__config_rule *r = rules; whole && r->key; r++)
        if (!r->value && is_given(f, r->key))
            whole = dfx__json_put(read, r->key, NULL);
    return whole ? DFX_OK : dfx__no_memory();
}

static dfx_status list_files(dfx_config_keys *keys, const dfx__clip_files *f)
{
    const dfx__config_rule *list = rules;
    json_object *file = f->config ? json_object_get(f->config) : json_object_new_object();
    json_object *read = json_object_new_object();
    dfx_status status = file && read ? find_read(read, f) : dfx__no_memory();
    if (status == DFX_OK)
        status = dfx__config_keys_add_file(keys, file, read, &list, 1);
    json_object_put(file);
    json_object_put(read);
    return status;
}

dfx_status dfx__clip_keys(dfx_config_keys *keys, const char *folder)
{
    dfx__clip_files f;
    DFX__TRY(dfx__clip_files_open(&f, folder));
    dfx_status status = list_files(keys, &f);
    dfx__clip_files_close(&f);
    return status;
}
