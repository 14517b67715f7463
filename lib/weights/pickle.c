/* pickle.c - a stack machine for pickles that builds data and calls nothing. */
#include "weights/pickle.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_OBJECTS = 1 << 22, MAX_NAME = 1000, NEWEST = 5 };

struct machine {
    dfx__pickle *out;
    const unsigned char *begin, *at, *end;
    dfx__object **stack, **memo;
    size_t depth, stack_room, memo_count, memo_room;
    int objects, stopped;
    dfx_status status; /* the first failure; what follows it does nothing */
};

static void fail(struct machine *m, const char *why)
{
    if (m->status == DFX_OK)
        m->status = dfx__fail(DFX_ERROR_FORMAT, "byte %zu of the pickle: %s",
                              (size_t)(m->at - m->begin), why);
}

static void fail_memory(struct machine *m)
{
    if (m->status == DFX_OK)
        m->status = dfx__no_memory();
}

/* The next n bytes of the program; NULL when it has fewer. */
static const unsigned char *take(struct machine *m, uint64_t n)
{
    if (n > (uint64_t)(m->end - m->at)) {
        fail(m,
             m->end - m->begin == DFX__PICKLE_BYTES ? "it has over 16 MiB" : "it ends too early");
        return NULL;
    }
    const unsigned char *p = m->at;
    m->at += n;
    return p;
}

/* A little-endian number of up to 8 bytes. */
static uint64_t take_number(struct machine *m, int bytes)
{
    uint64_t n = 0;
    const unsigned char *p = take(m, (uint64_t)bytes);
    while (p && bytes--)
        n = n << 8 | p[bytes];
    return n;
}

/* Room for one more in an array of pointers. */
static int grow(struct machine *m, dfx__object ***array, size_t count, size_t *room)
{
    if (count < *room)
        return 1;
    size_t larger = count < 32 ? 64 : 2 * count;
    dfx__object **moved = realloc(*array, larger * sizeof **array);
    if (!moved) {
        fail_memory(m);
        return 0;
    }
    *array = moved;
    *room = larger;
    return 1;
}

static void push(struct machine *m, dfx__object *o)
{
    if (o && grow(m, &m->stack, m->depth, &m->stack_room))
        m->stack[m->depth++] = o;
}

static dfx__object *push_new(struct machine *m, dfx__object_kind kind)
{
    dfx__object *o = NULL;
    if (m->objects++ >= MAX_OBJECTS)
        fail(m, "it makes more objects than any checkpoint has");
    else if (!(o = dfx__pool_alloc(&m->out->pool, sizeof *o)))
        fail_memory(m);
    else
        o->kind = kind;
    push(m, o);
    return m->status == DFX_OK ? o : NULL;
}

static dfx__object *pop(struct machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == DFX__MARK) {
        fail(m, "the stack is empty");
        return NULL;
    }
    return m->stack[--m->depth];
}

/* The object that an operation changes; NULL when there is none. */
static dfx__object *peek(struct machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == DFX__MARK) {
        fail(m, "the stack is empty");
        return NULL;
    }
    return m->stack[m->depth - 1];
}

/* Takes what is above the last mark, and the mark. *items stays valid until the next push. */
static size_t pop_to_mark(struct machine *m, dfx__object ***items)
{
    size_t n = 0;
    while (n < m->depth && m->stack[m->depth - 1 - n]->kind != DFX__MARK)
        n++;
    if (n == m->depth) {
        fail(m, "there is no mark on the stack");
        return 0;
    }
    *items = m->stack + m->depth - n;
    m->depth -= n + 1;
    return n;
}

/* Puts items into a container. */
static void add_items(struct machine *m, dfx__object *to, dfx__object **items, size_t n)
{
    if (!to || n == 0)
        return;
    size_t count = (size_t)to->count + n;
    if (count > MAX_OBJECTS) {
        fail(m, "a container is too large");
        return;
    }
    if (count > (size_t)to->room) {
        size_t room = to->room ? 2 * count : count;
        dfx__object **moved = dfx__pool_alloc(&m->out->pool, room * sizeof *moved);
        if (!moved) {
            fail_memory(m);
            return;
        }
        if (to->count)
            memcpy(moved, to->item, (size_t)to->count * sizeof *moved);
        to->item = moved;
        to->room = (int)room;
    }
    memcpy(to->item + to->count, items, n * sizeof *items);
    to->count = (int)count;
}

static void do_mark(struct machine *m, int unused)
{
    (void)unused;
    push_new(m, DFX__MARK);
}

static void do_stop(struct machine *m, int unused)
{
    (void)unused;
    m->out->top = pop(m);
    m->stopped = 1;
}

static void do_pop(struct machine *m, int unused)
{
    (void)unused;
    if (m->depth > 0)
        m->depth--; /* a mark too */
    else
        fail(m, "the stack is empty");
}

static void do_pop_mark(struct machine *m, int unused)
{
    dfx__object **items;
    (void)unused;
    pop_to_mark(m, &items);
}

static void do_dup(struct machine *m, int unused)
{
    (void)unused;
    push(m, peek(m));
}

static void do_protocol(struct machine *m, int unused)
{
    (void)unused;
    if (take_number(m, 1) > NEWEST)
        fail(m, "its protocol is newer than 5");
}

static void do_skip(struct machine *m, int bytes)
{
    take(m, (uint64_t)bytes);
}

static void do_constant(struct machine *m, int kind)
{
    push_new(m, (dfx__object_kind)kind);
}

static void do_boolean(struct machine *m, int value)
{
    dfx__object *o = push_new(m, DFX__BOOLEAN);
    if (o)
        o->integer = value;
}

/* Negative: so many bytes in two's complement. */
static void do_integer(struct machine *m, int bytes)
{
    uint64_t n = take_number(m, abs(bytes));
    dfx__object *o = push_new(m, DFX__INTEGER);
    if (o)
        o->integer = bytes < 0 ? (int32_t)(uint32_t)n : (int64_t)n;
}

static void push_text(struct machine *m, dfx__object_kind kind, const void *from, size_t bytes)
{
    dfx__object *o = push_new(m, kind);
    char *copy = o ? dfx__pool_alloc(&m->out->pool, bytes + 1) : NULL;
    if (!copy) {
        fail_memory(m);
        return;
    }
    o->text = memcpy(copy, from, bytes);
    o->bytes = bytes;
}

static void do_text(struct machine *m, int size_bytes)
{
    uint64_t bytes = take_number(m, size_bytes);
    const unsigned char *from = take(m, bytes);
    if (from)
        push_text(m, DFX__TEXT, from, (size_t)bytes);
}

/* An integer of any length in two's complement. */
static void do_long(struct machine *m, int size_bytes)
{
    uint64_t bytes = take_number(m, size_bytes), n = 0;
    const unsigned char *from = take(m, bytes);
    if (!from)
        return;
    if (bytes > 8) {
        push_text(m, DFX__TEXT, from, (size_t)bytes);
        return;
    }
    if (bytes && from[bytes - 1] & 0x80)
        n = UINT64_MAX;
    for (size_t i = (size_t)bytes; i--;)
        n = n << 8 | from[i];
    dfx__object *o = push_new(m, DFX__INTEGER);
    if (o)
        memcpy(&o->integer, &n, sizeof n);
}

static void do_float(struct machine *m, int bytes)
{
    take(m, (uint64_t)bytes);
    push_new(m, DFX__FLOAT);
}

static void push_global(struct machine *m, const char *module, size_t module_bytes,
                        const char *name, size_t name_bytes)
{
    char full[2 * MAX_NAME + 2];
    if (module_bytes > MAX_NAME || name_bytes > MAX_NAME) {
        fail(m, "the name of a class is too long");
        return;
    }
    memcpy(full, module, module_bytes);
    full[module_bytes] = '.';
    memcpy(full + module_bytes + 1, name, name_bytes);
    push_text(m, DFX__GLOBAL, full, module_bytes + 1 + name_bytes);
}

/* A line of the program, without its end; NULL when there is none. */
static const char *take_line(struct machine *m, size_t *bytes)
{
    const unsigned char *line = m->at, *end = memchr(line, '\n', (size_t)(m->end - line));
    if (!end) {
        fail(m, "it ends within a name");
        return NULL;
    }
    *bytes = (size_t)(end - line);
    m->at = end + 1;
    return (const char *)line;
}

static void do_global(struct machine *m, int unused)
{
    size_t module_bytes, name_bytes;
    (void)unused;
    const char *module = take_line(m, &module_bytes);
    const char *name = module ? take_line(m, &name_bytes) : NULL;
    if (name)
        push_global(m, module, module_bytes, name, name_bytes);
}

static void do_stack_global(struct machine *m, int unused)
{
    (void)unused;
    const dfx__object *name = pop(m), *module = pop(m);
    if (!name || !module)
        return;
    if (name->kind == DFX__TEXT && module->kind == DFX__TEXT)
        push_global(m, module->text, module->bytes, name->text, name->bytes);
    else
        fail(m, "the name of a class is no text");
}

/* A container of what is above the mark. */
static void do_collect(struct machine *m, int kind)
{
    dfx__object **items = NULL;
    size_t n = pop_to_mark(m, &items);
    if (kind == DFX__DICT && n % 2)
        fail(m, "a dict's key has no value");
    if (m->status != DFX_OK)
        return;
    dfx__object container = { .kind = (dfx__object_kind)kind };
    add_items(m, &container, items, n); /* before a push overwrites them */
    dfx__object *o = push_new(m, (dfx__object_kind)kind);
    if (o)
        *o = container;
}

/* A tuple of the topmost objects. */
static void do_tuple(struct machine *m, int count)
{
    dfx__object *items[3];
    for (int i = count; i--;)
        items[i] = pop(m);
    if (m->status == DFX_OK)
        add_items(m, push_new(m, DFX__TUPLE), items, (size_t)count);
}

/* Sets go into dicts and into what calls would have made; there, what a list would take is left
 * out, as no tensor is looked for in it. */
static void put_items(struct machine *m, dfx__object **items, size_t n, int pairs)
{
    dfx__object *to = peek(m);
    if (pairs && n % 2)
        fail(m, "a dict's key has no value");
    if (!to || m->status != DFX_OK)
        return;
    if (to->kind == (pairs ? DFX__DICT : DFX__LIST) || (pairs && to->kind == DFX__CALL))
        add_items(m, to, items, n);
    else if (to->kind != DFX__CALL)
        fail(m, "an item is put into what is no container");
}

static void do_put_items(struct machine *m, int pairs)
{
    dfx__object **items = NULL;
    size_t n = pop_to_mark(m, &items);
    put_items(m, items, n, pairs);
}

static void do_put_item(struct machine *m, int pairs)
{
    dfx__object *items[2] = { NULL, NULL };
    for (int i = pairs + 1; i--;)
        items[i] = pop(m);
    put_items(m, items, (size_t)pairs + 1, pairs);
}

/* A call of `operands` objects: function, arguments and, which are left out, named ones. */
static void do_call(struct machine *m, int operands)
{
    dfx__object *items[3];
    for (int i = operands; i--;)
        items[i] = pop(m);
    if (m->status == DFX_OK)
        add_items(m, push_new(m, DFX__CALL), items, 2);
}

/* The state that an object would take after it was made is left out. */
static void do_build(struct machine *m, int unused)
{
    (void)unused;
    pop(m);
    peek(m);
}

static void do_persistent(struct machine *m, int unused)
{
    (void)unused;
    dfx__object *id = pop(m), *o = id ? push_new(m, DFX__PERSISTENT) : NULL;
    add_items(m, o, &id, 1);
    if (o) {
        o->next = m->out->persistent;
        m->out->persistent = o;
    }
}

/* Python 2 counts from 1, and places may be left out; but no more of them than there are bytes. */
static void put_memo(struct machine *m, uint64_t index)
{
    dfx__object *o = peek(m);
    if (!o)
        return;
    if (index > (uint64_t)(m->at - m->begin)) {
        fail(m, "a place in the memo is too far");
        return;
    }
    for (; m->memo_count <= index; m->memo_count++) {
        if (!grow(m, &m->memo, m->memo_count, &m->memo_room))
            return;
        m->memo[m->memo_count] = NULL;
    }
    m->memo[index] = o;
}

static void do_put_memo(struct machine *m, int bytes)
{
    put_memo(m, take_number(m, bytes));
}

static void do_memoize(struct machine *m, int unused)
{
    (void)unused;
    put_memo(m, m->memo_count);
}

static void do_get_memo(struct machine *m, int bytes)
{
    uint64_t index = take_number(m, bytes);
    if (index < m->memo_count && m->memo[index])
        push(m, m->memo[index]);
    else
        fail(m, "it takes from the memo what is not there");
}

/* Of the operations of protocol 0 and 1, which are texts, only GLOBAL: the others are not written
 * since Python 3. */
static const struct {
    void (*run)(struct machine *m, int argument);
    int argument;
} operations[256] = {
    [0x80] = { do_protocol, 0 },
    [0x95] = { do_skip, 8 }, /* FRAME */
    ['.'] = { do_stop, 0 },
    ['('] = { do_mark, 0 },
    ['0'] = { do_pop, 0 },
    ['1'] = { do_pop_mark, 0 },
    ['2'] = { do_dup, 0 },
    ['N'] = { do_constant, DFX__NONE },
    [0x88] = { do_boolean, 1 },
    [0x89] = { do_boolean, 0 },
    ['K'] = { do_integer, 1 },
    ['M'] = { do_integer, 2 },
    ['J'] = { do_integer, -4 },
    [0x8a] = { do_long, 1 },
    [0x8b] = { do_long, 4 },
    ['G'] = { do_float, 8 },
    ['X'] = { do_text, 4 }, /* str */
    [0x8c] = { do_text, 1 },
    [0x8d] = { do_text, 8 },
    ['T'] = { do_text, 4 }, /* bytes; str of Python 2 */
    ['U'] = { do_text, 1 },
    ['B'] = { do_text, 4 },
    ['C'] = { do_text, 1 },
    [0x8e] = { do_text, 8 },
    [0x96] = { do_text, 8 }, /* bytearray */
    ['c'] = { do_global, 0 },
    [0x93] = { do_stack_global, 0 },
    [')'] = { do_constant, DFX__TUPLE },
    ['t'] = { do_collect, DFX__TUPLE },
    [0x85] = { do_tuple, 1 },
    [0x86] = { do_tuple, 2 },
    [0x87] = { do_tuple, 3 },
    [']'] = { do_constant, DFX__LIST },
    ['l'] = { do_collect, DFX__LIST },
    ['a'] = { do_put_item, 0 },
    ['e'] = { do_put_items, 0 },
    [0x8f] = { do_constant, DFX__LIST }, /* sets */
    [0x90] = { do_put_items, 0 },
    [0x91] = { do_collect, DFX__LIST },
    ['}'] = { do_constant, DFX__DICT },
    ['d'] = { do_collect, DFX__DICT },
    ['s'] = { do_put_item, 1 },
    ['u'] = { do_put_items, 1 },
    ['R'] = { do_call, 2 },  /* REDUCE */
    [0x81] = { do_call, 2 }, /* NEWOBJ */
    [0x92] = { do_call, 3 }, /* NEWOBJ_EX */
    ['b'] = { do_build, 0 },
    ['Q'] = { do_persistent, 0 },
    ['q'] = { do_put_memo, 1 },
    ['r'] = { do_put_memo, 4 },
    [0x94] = { do_memoize, 0 },
    ['h'] = { do_get_memo, 1 },
    ['j'] = { do_get_memo, 4 },
};

static void run(struct machine *m)
{
    while (m->status == DFX_OK && !m->stopped) {
        const unsigned char *code = take(m, 1);
        if (!code)
            return;
        if (operations[*code].run)
            operations[*code].run(m, operations[*code].argument);
        else
            m->status = dfx__fail(DFX_ERROR_UNSUPPORTED,
                                  "byte %zu of the pickle: operation 0x%02x is not read",
                                  (size_t)(code - m->begin), *code);
    }
}

dfx_status dfx__pickle_open(dfx__pickle *out, const unsigned char *data, size_t bytes)
{
    *out = (dfx__pickle){ .bytes = 0 };
    struct machine m = { .out = out, .begin = data, .at = data, .status = DFX_OK };
    m.end = data + (bytes < DFX__PICKLE_BYTES ? bytes : DFX__PICKLE_BYTES);
    run(&m);
    free(m.stack);
    free(m.memo);
    out->bytes = (size_t)(m.at - data);
    return m.status;
}

void dfx__pickle_close(dfx__pickle *p)
{
    dfx__pool_free(&p->pool);
    *p = (dfx__pickle){ .bytes = 0 };
}

int dfx__object_is_text(const dfx__object *o, const char *text)
{
    return o && o->kind == DFX__TEXT && o->bytes == strlen(text) &&
           memcmp(o->text, text, o->bytes) == 0;
}

int dfx__object_is_global(const dfx__object *o, const char *name)
{
    return o && o->kind == DFX__GLOBAL && o->bytes == strlen(name) &&
           memcmp(o->text, name, o->bytes) == 0;
}

const dfx__object *dfx__object_at(const dfx__object *o, int i)
{
    if (!o || (o->kind != DFX__TUPLE && o->kind != DFX__LIST) || i >= o->count)
        return NULL;
    return o->item[i];
}
