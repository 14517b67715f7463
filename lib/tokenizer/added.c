/* added.c - the list of added tokens, and finding them in text: tokenizers' AddedVocabulary. */
#include "tokenizer/added.h"

#include "core/status.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

struct dfx__added_entry {
    char *content;
    int32_t id;
    int normalized;
};

int32_t dfx__added_id(const dfx__added *a, const char *content)
{
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->entries[i].content, content) == 0)
            return a->entries[i].id;
    return -1;
}

int32_t dfx__added_largest(const dfx__added *a)
{
    int32_t largest = -1;
    for (size_t i = 0; i < a->count; i++)
        if (a->entries[i].id > largest)
            largest = a->entries[i].id;
    return largest;
}

static struct dfx__added_entry *entry_of(dfx__added *a, int32_t id)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->entries[i].id == id)
            return &a->entries[i];
    return a->count < DFX__MAX_ADDED ? &a->entries[a->count++] : NULL;
}

dfx_status dfx__added_put(dfx__added *a, json_object *vocab, const dfx__added_token *token)
{
    if (strlen(token->content) > DFX__MAX_ADDED_BYTES)
        return dfx__fail(DFX_ERROR_FORMAT, "the added token \"%.40s...\" has more than %d bytes",
                         token->content, DFX__MAX_ADDED_BYTES);
    if (!*token->content)
        return DFX_OK;
    if (!a->entries)
        a->entries = dfx__pool_alloc(&a->pool, DFX__MAX_ADDED * sizeof *a->entries);
    char *content = dfx__pool_copy(&a->pool, token->content);
    if (!a->entries || !content)
        return dfx__no_memory();
    int32_t id = dfx__added_id(a, content);
    if (id < 0)
        id = dfx__vocab_find(vocab, content);
    if (id < 0)
        id = json_object_object_length(vocab) + a->created++;
    struct dfx__added_entry *e = entry_of(a, id);
    if (!e)
        return dfx__fail(DFX_ERROR_FORMAT, "more than %d added tokens", DFX__MAX_ADDED);
    *e = (struct dfx__added_entry){ content, id, token->normalized };
    return DFX_OK;
}

/* Of patterns that normalising made equal the smallest id is last, which `longest` takes. */
static int compare(const void *left, const void *right)
{
    const dfx__pattern *a = left, *b = right;
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = memcmp(a->text, b->text, common);
    if (order == 0)
        order = (a->bytes > b->bytes) - (a->bytes < b->bytes);
    return order ? order : (a->id < b->id) - (a->id > b->id);
}

static dfx_status add_pattern(dfx__added *a, dfx__normalizer *n, const struct dfx__added_entry *e)
{
    const unsigned char *text = (const unsigned char *)e->content;
    size_t bytes = strlen(e->content);
    dfx__patterns *p = e->normalized ? &a->normalized : &a->raw;
    if (e->normalized)
        DFX__TRY(dfx__normalize(n, &text, &bytes, text, bytes));
    unsigned char *copy = dfx__pool_alloc(&a->pool, bytes);
    if (!copy)
        return dfx__no_memory();
    memcpy(copy, text, bytes);
    p->list[p->count++] = (dfx__pattern){ copy, bytes, e->id };
    p->first[copy[0]] = 1;
    return DFX_OK;
}

static dfx_status add_patterns(dfx__added *a, dfx__normalizer *n)
{
    for (size_t i = 0; i < a->count; i++)
        DFX__TRY(add_pattern(a, n, &a->entries[i]));
    return DFX_OK;
}

dfx_status dfx__added_prepare(dfx__added *a)
{
    dfx__patterns *both[2] = { &a->raw, &a->normalized };
    for (int i = 0; i < 2; i++) {
        both[i]->list = dfx__pool_alloc(&a->pool, (a->count + 1) * sizeof *both[i]->list);
        if (!both[i]->list)
            return dfx__no_memory();
    }
    dfx__normalizer n = DFX__NORMALIZER_INIT;
    dfx_status status = add_patterns(a, &n);
    dfx__normalizer_free(&n);
    for (int i = 0; i < 2; i++)
        qsort(both[i]->list, both[i]->count, sizeof *both[i]->list, compare);
    return status;
}

void dfx__added_close(dfx__added *a)
{
    dfx__pool_free(&a->pool);
}

/* The first of the patterns low..high-1, which agree in their first `depth` bytes and are longer,
 * whose next byte is `byte` or more. */
static size_t bound(const dfx__patterns *p, size_t low, size_t high, size_t depth, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->list[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest pattern that the text begins with. */
static const dfx__pattern *longest(const dfx__patterns *p, const unsigned char *text, size_t bytes)
{
    const dfx__pattern *found = NULL;
    size_t low = 0, high = p->count;
    for (size_t depth = 0; low < high; depth++) {
        while (low < high && p->list[low].bytes == depth)
            found = &p->list[low++];
        if (depth == bytes)
            break;
        low = bound(p, low, high, depth, text[depth]);
        high = bound(p, low, high, depth, text[depth] + 1);
    }
    return found;
}

const dfx__pattern *dfx__find_pattern(const dfx__patterns *p, const unsigned char *text,
                                      size_t bytes, size_t *at)
{
    for (; *at < bytes; ++*at) {
        if (!p->first[text[*at]])
            continue;
        const dfx__pattern *found = longest(p, text + *at, bytes - *at);
        if (found)
            return found;
    }
    return NULL;
}
