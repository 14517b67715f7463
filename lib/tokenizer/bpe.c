/* bpe.c - the table of merges, and merging with a heap in the order that tokenizers has. */
#include "tokenizer/bpe.h"

#include "core/memory.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A place in the hash table of merges; `merged` has what the merge makes. */
struct dfx__merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* + 1; 0: the place is free */
};

enum {
    NO_RANK = -1,
    MAX_MERGES = 1 << 24,
    MAX_PROBES = 256, /* in a table at most half full: more is a file made to be slow */
    MAX_TOKEN_BYTES = 1024
};

int32_t dfx__vocab_find(json_object *vocab, const char *token)
{
    json_object *id;
    return json_object_object_get_ex(vocab, token, &id) ? json_object_get_int(id) : -1;
}

dfx_status dfx__vocab_check(json_object *vocab, int32_t *largest)
{
    *largest = -1;
    struct json_object_iterator i = json_object_iter_begin(vocab);
    struct json_object_iterator end = json_object_iter_end(vocab);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        json_object *id = json_object_iter_peek_value(&i);
        int64_t value = json_object_get_int64(id);
        if (!json_object_is_type(id, json_type_int) || value < 0 || value >= DFX__MAX_TOKEN)
            return dfx__fail(DFX_ERROR_FORMAT, "vocabulary: the id of \"%s\" is %s",
                             json_object_iter_peek_name(&i), json_object_to_json_string(id));
        if (value > *largest)
            *largest = (int32_t)value;
    }
    return DFX_OK;
}

/* The character that stands for a byte in a byte-level vocabulary: itself where it is printable in
 * Latin-1, else the next one from U+0100 on. */
static void byte_characters(int32_t characters[256])
{
    int32_t next = 0x100;
    for (int b = 0; b < 256; b++) {
        int printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xff && b != 0xad);
        characters[b] = printable ? b : next++;
    }
}

static dfx_status find_bytes(dfx__bpe *bpe, json_object *vocab, const char *unknown)
{
    static const char *const suffix[2] = { "", "</w>" };
    int32_t characters[256];
    byte_characters(characters);
    int32_t unknown_id = dfx__vocab_find(vocab, unknown);
    for (int last = 0; last < 2; last++) {
        for (int b = 0; b < 256; b++) {
            char token[16] = { 0 };
            utf8proc_encode_char(characters[b], (utf8proc_uint8_t *)token);
            strcat(token, suffix[last]);
            int32_t id = dfx__vocab_find(vocab, token);
            bpe->byte[last][b] = id < 0 ? unknown_id : id;
            if (bpe->byte[last][b] < 0)
                return dfx__fail(DFX_ERROR_FORMAT,
                                 "vocabulary: has neither \"%s\" nor the unknown token \"%s\"",
                                 token, unknown);
        }
    }
    return DFX_OK;
}

dfx_status dfx__bpe_open(dfx__bpe *bpe, json_object *vocab, const char *unknown, size_t room)
{
    if (room > MAX_MERGES)
        return dfx__fail(DFX_ERROR_FORMAT, "%zu merges are too many, at most %d", room, MAX_MERGES);
    DFX__TRY(find_bytes(bpe, vocab, unknown));
    size_t places = 16;
    while (places < 2 * room)
        places *= 2;
    bpe->merges = dfx__alloc(places, sizeof *bpe->merges);
    bpe->merged = dfx__alloc(room, sizeof *bpe->merged);
    bpe->mask = places - 1;
    bpe->room = (uint32_t)room;
    return bpe->merges && bpe->merged ? DFX_OK : dfx__no_memory();
}

void dfx__bpe_close(dfx__bpe *bpe)
{
    free(bpe->merges);
    free(bpe->merged);
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)left << 32 | (uint32_t)right;
}

/* The place of a pair, or the free one where it would be; NULL after too many others. */
static struct dfx__merge *find_place(const dfx__bpe *bpe, uint64_t pair)
{
    uint64_t hash = (pair ^ pair >> 29) * 0x9e3779b97f4a7c15u; /* 2^64 over the golden ratio */
    for (size_t i = 0; i < MAX_PROBES; i++) {
        struct dfx__merge *m = &bpe->merges[(size_t)((hash >> 32) + i) & bpe->mask];
        if (m->rank == 0 || m->pair == pair)
            return m;
    }
    return NULL;
}

dfx_status dfx__bpe_add_merge(dfx__bpe *bpe, json_object *vocab, const char *left,
                              size_t left_bytes, const char *right, size_t right_bytes)
{
    char token[2 * MAX_TOKEN_BYTES + 1];
    if (left_bytes > MAX_TOKEN_BYTES || right_bytes > MAX_TOKEN_BYTES)
        return dfx__fail(DFX_ERROR_FORMAT, "a token of the merge has more than %d bytes",
                         MAX_TOKEN_BYTES);
    if (bpe->count == bpe->room)
        return dfx__fail(DFX_ERROR_FORMAT, "more merges than were counted");
    memcpy(token, left, left_bytes);
    token[left_bytes] = 0;
    int32_t left_id = dfx__vocab_find(vocab, token);
    memcpy(token + left_bytes, right, right_bytes);
    token[left_bytes + right_bytes] = 0;
    int32_t right_id = dfx__vocab_find(vocab, token + left_bytes);
    int32_t merged = dfx__vocab_find(vocab, token);
    if (left_id < 0 || right_id < 0 || merged < 0)
        return dfx__fail(DFX_ERROR_FORMAT, "the vocabulary lacks %s of the merge \"%.*s %.*s\"",
                         left_id < 0    ? "the left part"
                         : right_id < 0 ? "the right part"
                                        : "the result",
                         (int)left_bytes, left, (int)right_bytes, right);
    uint64_t pair = pair_of(left_id, right_id);
    struct dfx__merge *m = find_place(bpe, pair);
    if (!m)
        return dfx__fail(DFX_ERROR_FORMAT, "the ids of the merges are made to be slow to look up");
    bpe->merged[bpe->count++] = merged;
    *m = (struct dfx__merge){ pair, bpe->count }; /* of a merge given twice the last one counts */
    return DFX_OK;
}

/* The rank of merging two tokens, or NO_RANK. */
static int64_t find_rank(const dfx__bpe *bpe, int32_t left, int32_t right)
{
    const struct dfx__merge *m = find_place(bpe, pair_of(left, right));
    return m ? (int64_t)m->rank - 1 : NO_RANK;
}

/* A token of the word while it is merged; what it was merged from is its first byte's place. */
struct dfx__symbol {
    int32_t id; /* GONE: merged into the one on the left */
    uint32_t previous, next;
};

enum { GONE = -1 };
#define NONE UINT32_MAX

void dfx__bpe_scratch_free(dfx__bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    *s = (dfx__bpe_scratch)DFX__BPE_SCRATCH_INIT;
}

static dfx_status reserve(dfx__bpe_scratch *s, size_t bytes)
{
    if (bytes <= s->room)
        return DFX_OK;
    size_t room = bytes < 64 ? 64 : bytes;
    struct dfx__symbol *symbols = realloc(s->symbols, room * sizeof *symbols);
    if (symbols)
        s->symbols = symbols;
    /* A merge takes one entry from the heap and adds two at most: the pairs of all bytes and one
     * more for each merge. */
    uint64_t *heap = realloc(s->heap, 2 * room * sizeof *heap);
    if (heap)
        s->heap = heap;
    if (!symbols || !heap)
        return dfx__no_memory();
    s->room = room;
    return DFX_OK;
}

static void heap_push(uint64_t *heap, size_t *count, uint64_t value)
{
    size_t at = (*count)++;
    for (; at > 0 && heap[(at - 1) / 2] > value; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = value;
}

static uint64_t heap_pop(uint64_t *heap, size_t *count)
{
    uint64_t least = heap[0], value = heap[--*count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < *count; at = child) {
        if (child + 1 < *count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= value)
            break;
        heap[at] = heap[child];
    }
    heap[at] = value;
    return least;
}

/* Puts the merge of the symbol at `at` with its next one on the heap: the least rank comes first,
 * and of one rank the leftmost. */
static void push_pair(const dfx__bpe *bpe, dfx__bpe_scratch *s, size_t *count, uint32_t at)
{
    uint32_t next = s->symbols[at].next;
    int64_t rank = find_rank(bpe, s->symbols[at].id, s->symbols[next].id);
    if (rank != NO_RANK)
        heap_push(s->heap, count, (uint64_t)rank << 32 | at);
}

/* Whether the entry is still to be merged. A symbol may have changed since the entry was made; what
 * decides, as in tokenizers, is that the merge would still make the same token. */
static int is_current(const dfx__bpe *bpe, const struct dfx__symbol *symbols, uint64_t entry)
{
    const struct dfx__symbol *left = &symbols[(uint32_t)entry];
    if (left->id == GONE || left->next == NONE)
        return 0;
    int64_t rank = find_rank(bpe, left->id, symbols[left->next].id);
    return rank != NO_RANK && bpe->merged[rank] == bpe->merged[entry >> 32];
}

static void merge_all(const dfx__bpe *bpe, dfx__bpe_scratch *s, size_t bytes)
{
    struct dfx__symbol *symbols = s->symbols;
    size_t count = 0;
    for (uint32_t i = 0; i + 1 < bytes; i++)
        push_pair(bpe, s, &count, i);
    while (count > 0) {
        uint64_t entry = heap_pop(s->heap, &count);
        if (!is_current(bpe, symbols, entry))
            continue;
        uint32_t at = (uint32_t)entry;
        struct dfx__symbol *left = &symbols[at], *right = &symbols[left->next];
        left->id = bpe->merged[entry >> 32];
        left->next = right->next;
        right->id = GONE;
        if (left->next != NONE)
            symbols[left->next].previous = at;
        if (left->previous != NONE)
            push_pair(bpe, s, &count, left->previous);
        if (left->next != NONE)
            push_pair(bpe, s, &count, at);
    }
}

dfx_status dfx__bpe_encode(const dfx__bpe *bpe, dfx__bpe_scratch *scratch,
                           const unsigned char *word, size_t bytes,
                           void (*emit)(void *user, int32_t id), void *user)
{
    DFX__TRY(reserve(scratch, bytes));
    struct dfx__symbol *symbols = scratch->symbols;
    for (size_t i = 0; i < bytes; i++) {
        int last = i + 1 == bytes;
        symbols[i] = (struct dfx__symbol){ bpe->byte[last][word[i]], i ? (uint32_t)i - 1 : NONE,
                                           last ? NONE : (uint32_t)i + 1 };
    }
    merge_all(bpe, scratch, bytes);
    for (uint32_t i = 0; i != NONE; i = symbols[i].next)
        emit(user, symbols[i].id);
    return DFX_OK;
}
