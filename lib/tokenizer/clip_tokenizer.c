/* clip_tokenizer.c - CLIP's tokenizer: opening a folder, encoding a text. */
#include "dfxcl/tokenizer.h"

#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"
#include "tokenizer/added.h"
#include "tokenizer/bpe.h"
#include "tokenizer/clip_files.h"
#include "tokenizer/normalize.h"
#include "tokenizer/split.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 16 << 20 };

struct dfx_tokenizer {
    dfx__bpe bpe;
    dfx__added added;
    int32_t bos, eos, pad;
    int length, vocabulary;
};

static dfx_status open_files(dfx_tokenizer *t, const dfx__clip_files *f)
{
    int32_t largest;
    const char *named[DFX__NAMED_TOKENS];
    DFX__TRY(dfx__clip_length(f, &t->length));
    dfx_status status = dfx__vocab_check(f->vocab, &largest);
    if (status != DFX_OK)
        return dfx__fail_in(status, "%s", f->folder);
    DFX__TRY(dfx__clip_tokens(f, &t->added, named));
    DFX__TRY(dfx__added_prepare(&t->added));
    t->bos = dfx__added_id(&t->added, named[DFX__BOS]);
    t->eos = dfx__added_id(&t->added, named[DFX__EOS]);
    t->pad = dfx__added_id(&t->added, named[DFX__PAD]);
    if (t->bos < 0 || t->eos < 0 || t->pad < 0)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: one of bos_token, eos_token, pad_token is empty",
                         f->folder);
    if (dfx__added_largest(&t->added) > largest)
        largest = dfx__added_largest(&t->added);
    t->vocabulary = largest + 1;
    return dfx__clip_merges(f, &t->bpe, named[DFX__UNK]);
}

static dfx_status open_folder(dfx_tokenizer **out, const char *folder)
{
    dfx__clip_files files;
    DFX__TRY(dfx__clip_files_open(&files, folder));
    dfx_tokenizer *t = dfx__alloc(1, sizeof *t);
    dfx_status status = t ? open_files(t, &files) : dfx__no_memory();
    dfx__clip_files_close(&files);
    if (status == DFX_OK)
        *out = t;
    else
        dfx_tokenizer_free(t);
    return status;
}

dfx_status dfx_tokenizer_open(dfx_tokenizer **out, const char *folder)
{
    if (!out || !folder)
        return dfx__fail(DFX_ERROR_ARGUMENT, "dfx_tokenizer_open: out or folder is NULL");
    dfx_checkpoint *c;
    DFX__TRY(dfx_checkpoint_open(&c, folder));
    dfx_status status = open_folder(out, dfx_checkpoint_path(c));
    dfx_checkpoint_free(c);
    return status;
}

void dfx_tokenizer_free(dfx_tokenizer *t)
{
    if (!t)
        return;
    dfx__bpe_close(&t->bpe);
    dfx__added_close(&t->added);
    free(t);
}

int32_t dfx_tokenizer_bos(const dfx_tokenizer *t)
{
    return t->bos;
}

int32_t dfx_tokenizer_eos(const dfx_tokenizer *t)
{
    return t->eos;
}

int32_t dfx_tokenizer_pad(const dfx_tokenizer *t)
{
    return t->pad;
}

int dfx_tokenizer_length(const dfx_tokenizer *t)
{
    return t->length;
}

int dfx_tokenizer_vocabulary(const dfx_tokenizer *t)
{
    return t->vocabulary;
}

struct encoder {
    const dfx_tokenizer *t;
    dfx__normalizer normalizer;
    dfx__bpe_scratch scratch;
    int32_t *ids;
    int room, count; /* tokens of the text that `ids` can take, and that there are */
};

static void emit(void *user, int32_t id)
{
    struct encoder *e = user;
    if (e->count < e->room)
        e->ids[e->count] = id;
    e->count++;
}

/* Encodes text that has no added tokens. */
static dfx_status encode_words(struct encoder *e, const unsigned char *text, size_t bytes)
{
    dfx__splitter splitter = { text, bytes, 0, 0 };
    const unsigned char *word;
    size_t length;
    while ((word = dfx__next_word(&splitter, &length)))
        DFX__TRY(dfx__bpe_encode(&e->t->bpe, &e->scratch, word, length, emit, e));
    return DFX_OK;
}

/* Emits the patterns that are in the text, and has what lies between them encoded. */
static dfx_status
encode_around(struct encoder *e, const dfx__patterns *patterns, const unsigned char *text,
              size_t bytes, dfx_status (*encode)(struct encoder *, const unsigned char *, size_t))
{
    size_t at = 0;
    while (at < bytes) {
        size_t next = at;
        const dfx__pattern *found = dfx__find_pattern(patterns, text, bytes, &next);
        if (next > at)
            DFX__TRY(encode(e, text + at, next - at));
        if (found)
            emit(e, found->id);
        at = found ? next + found->bytes : bytes;
    }
    return DFX_OK;
}

static dfx_status encode_raw(struct encoder *e, const unsigned char *text, size_t bytes)
{
    const unsigned char *normal;
    size_t length;
    DFX__TRY(dfx__normalize(&e->normalizer, &normal, &length, text, bytes));
    return encode_around(e, &e->t->added.normalized, normal, length, encode_words);
}

dfx_status dfx_tokenizer_encode_all(const dfx_tokenizer *t, const char *text, int32_t *ids,
                                    int room, int *count)
{
    if (!t || !text || room < 0 || (!ids && room))
        return dfx__fail(DFX_ERROR_ARGUMENT, "dfx_tokenizer_encode_all: an argument is NULL");
    size_t bytes = strlen(text);
    if (bytes > MAX_TEXT_BYTES)
        return dfx__fail(DFX_ERROR_ARGUMENT, "a text of %zu bytes is too long, at most %d", bytes,
                         MAX_TEXT_BYTES);
    struct encoder e = { t, DFX__NORMALIZER_INIT, DFX__BPE_SCRATCH_INIT, ids, room, 0 };
    dfx_status status =
        encode_around(&e, &t->added.raw, (const unsigned char *)text, bytes, encode_raw);
    dfx__normalizer_free(&e.normalizer);
    dfx__bpe_scratch_free(&e.scratch);
    if (count)
        *count = e.count;
    return status;
}

dfx_status dfx_tokenizer_encode(const dfx_tokenizer *t, const char *text, int32_t *ids, int *used,
                                int *lost)
{
    if (!t || !text || !ids)
        return dfx__fail(DFX_ERROR_ARGUMENT, "dfx_tokenizer_encode: an argument is NULL");
    int count, room = t->length - 2;
    DFX__TRY(dfx_tokenizer_encode_all(t, text, ids + 1, room, &count));
    int kept = count < room ? count : room;
    ids[0] = t->bos;
    ids[kept + 1] = t->eos;
    for (int i = kept + 2; i < t->length; i++)
        ids[i] = t->pad;
    if (used)
        *used = kept + 2;
    if (lost)
        *lost = count - kept;
    return DFX_OK;
}
