/* torch.c - tensors from the objects of a checkpoint that torch.save wrote. */
#include "weights/torch.h"

#include "core/dtype.h"
#include "core/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

enum { MAX_NAME = 1024, MAX_DEPTH = 32, MAX_VISITS = 1 << 22, MAX_NESTED_CALLS = 4 };

static const struct {
    const char *storage, *dtype; /* names in module torch */
    dfx_dtype type;
} types[] = {
    { "FloatStorage", "float32", DFX_F32 },      { "HalfStorage", "float16", DFX_F16 },
    { "BFloat16Storage", "bfloat16", DFX_BF16 }, { "DoubleStorage", "float64", DFX_F64 },
    { "LongStorage", "int64", DFX_I64 },         { "IntStorage", "int32", DFX_I32 },
    { "ShortStorage", "int16", DFX_I16 },        { "CharStorage", "int8", DFX_I8 },
    { "ByteStorage", "uint8", DFX_U8 },          { "BoolStorage", "bool", DFX_BOOL },
};

/* "FloatStorage" of "torch.FloatStorage" and of the old "torch.cuda.FloatStorage". */
static const char *name_in_torch(const dfx__object *o)
{
    if (!o || o->kind != DFX__GLOBAL || strncmp(o->text, "torch.", 6) != 0)
        return "";
    const char *name = o->text + 6;
    if (strncmp(name, "cuda.", 5) == 0)
        name += 5;
    else if (strncmp(name, "storage.", 8) == 0)
        name += 8;
    return name;
}

int dfx__torch_dtype(dfx_dtype *out, const dfx__object *type)
{
    const char *name = name_in_torch(type);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(name, types[i].storage) == 0 || strcmp(name, types[i].dtype) == 0) {
            *out = types[i].type;
            return 1;
        }
    return 0;
}

/* A view of old files: (key, offset, elements). */
static int read_view(dfx__storage_id *id, const dfx__object *view)
{
    const dfx__object *offset = dfx__object_at(view, 1), *elements = dfx__object_at(view, 2);
    if (!view || view->kind == DFX__NONE)
        return 1;
    if (!offset || offset->kind != DFX__INTEGER || offset->integer < 0 || !elements ||
        elements->kind != DFX__INTEGER || elements->integer < 0 || offset->integer > id->elements ||
        elements->integer > id->elements - offset->integer)
        return 0;
    id->offset = offset->integer;
    id->elements = elements->integer;
    return 1;
}

int dfx__torch_storage_id(dfx__storage_id *out, const dfx__object *persistent)
{
    const dfx__object *t =
        persistent && persistent->kind == DFX__PERSISTENT ? persistent->item[0] : NULL;
    const dfx__object *key = dfx__object_at(t, 2), *elements = dfx__object_at(t, 4);
    if (!dfx__object_is_text(dfx__object_at(t, 0), "storage") || !key || key->kind != DFX__TEXT ||
        !elements || elements->kind != DFX__INTEGER || elements->integer < 0)
        return 0;
    *out = (dfx__storage_id){ dfx__object_at(t, 1), key->text, elements->integer, 0 };
    return read_view(out, dfx__object_at(t, 5));
}

/* What a call of torch's that makes a tensor says. */
struct rebuilt {
    const dfx__object *storage, *offset, *size, *stride;
    const dfx__object *dtype; /* NULL: the storage's */
};

/* Follows the calls that only wrap another: a parameter is its data. */
static const dfx__object *unwrap(const dfx__object *o)
{
    for (int i = 0; o && o->kind == DFX__CALL && i < MAX_NESTED_CALLS; i++) {
        const dfx__object *function = o->item[0], *arguments = o->item[1];
        if (!dfx__object_is_global(function, "torch._utils._rebuild_parameter") &&
            !dfx__object_is_global(function, "torch._utils._rebuild_parameter_with_state"))
            break;
        o = dfx__object_at(arguments, 0);
    }
    return o;
}

/* Whether the object is a call that makes a tensor. */
static int is_tensor(struct rebuilt *r, const dfx__object *o)
{
    if (!o || o->kind != DFX__CALL)
        return 0;
    const dfx__object *function = o->item[0], *a = o->item[1];
    if (dfx__object_is_global(function, "torch._tensor._rebuild_from_type_v2")) {
        function = dfx__object_at(a, 0); /* (function, type, arguments, state) */
        a = dfx__object_at(a, 2);
    }
    int plain = dfx__object_is_global(function, "torch._utils._rebuild_tensor_v2") ||
                dfx__object_is_global(function, "torch._utils._rebuild_tensor");
    int typed = dfx__object_is_global(function, "torch._utils._rebuild_tensor_v3");
    if (!plain && !typed)
        return 0;
    *r = (struct rebuilt){ dfx__object_at(a, 0), dfx__object_at(a, 1), dfx__object_at(a, 2),
                           dfx__object_at(a, 3), typed ? dfx__object_at(a, 6) : NULL };
    return 1;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const dfx__storage *)a)->key, ((const dfx__storage *)b)->key);
}

/* The bytes of a storage, inflated once. */
static dfx_status find_storage(dfx__storage **out, dfx__torch *c, const char *key)
{
    const dfx__storage wanted = { .key = key };
    dfx__storage *s = c->storages ? bsearch(&wanted, c->storage, (size_t)c->storages,
                                            sizeof *c->storage, compare_keys)
                                  : NULL;
    if (!s)
        return dfx__fail(DFX_ERROR_FORMAT, "its storage '%.100s' is not in the file", key);
    *out = s;
    if (s->data || !s->deflated)
        return DFX_OK;
    void *room = dfx__pool_alloc(&c->tensors->pool, s->bytes);
    if (!room)
        return dfx__no_memory();
    DFX__TRY(dfx__zip_inflate(room, s->deflated));
    s->data = room;
    return DFX_OK;
}

/* A tuple of integers from 0; -1 when it is none, or a longer one than DFX_MAX_RANK. */
static int read_integers(int64_t *to, const dfx__object *from)
{
    if (from && from->kind == DFX__CALL && dfx__object_is_global(from->item[0], "torch.Size"))
        from = dfx__object_at(from->item[1], 0);
    if (!from || (from->kind != DFX__TUPLE && from->kind != DFX__LIST) ||
        from->count > DFX_MAX_RANK)
        return -1;
    for (int i = 0; i < from->count; i++) {
        if (from->item[i]->kind != DFX__INTEGER || from->item[i]->integer < 0)
            return -1;
        to[i] = from->item[i]->integer;
    }
    return from->count;
}

/* How a tensor lies in its storage; all in elements. */
struct layout {
    dfx_spec spec;
    int64_t stride[DFX_MAX_RANK], offset;
    int is_contiguous;
};

static int is_contiguous(const struct layout *l)
{
    int64_t next = 1;
    for (int i = l->spec.rank; i--;) {
        if (l->spec.dim[i] != 1 && l->stride[i] != next)
            return 0;
        next *= l->spec.dim[i]; /* all of them are known to fit */
    }
    return 1;
}

/* Whether the last element, and so each, is within `elements`. */
static int lies_within(const struct layout *l, uint64_t elements)
{
    uint64_t last = (uint64_t)l->offset;
    for (int i = 0; i < l->spec.rank; i++) {
        uint64_t steps = (uint64_t)l->spec.dim[i] - 1, stride = (uint64_t)l->stride[i];
        if (steps && stride > (elements - (last < elements ? last : elements)) / steps)
            return 0;
        last += steps * stride;
    }
    return last < elements;
}

static dfx_status read_layout(struct layout *l, const struct rebuilt *r)
{
    l->spec.rank = read_integers(l->spec.dim, r->size);
    if (r->size && r->size->count > DFX_MAX_RANK)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "it has %d dimensions, at most %d are read",
                         r->size->count, DFX_MAX_RANK);
    if (l->spec.rank < 0 || read_integers(l->stride, r->stride) != l->spec.rank || !r->offset ||
        r->offset->kind != DFX__INTEGER || r->offset->integer < 0)
        return dfx__fail(DFX_ERROR_FORMAT, "its shape, strides or offset are wrong");
    size_t bytes;
    if (dfx__tensor_bytes(&bytes, &l->spec, "") != DFX_OK)
        return dfx__fail(DFX_ERROR_FORMAT, "its shape is too large");
    l->offset = r->offset->integer;
    l->is_contiguous = is_contiguous(l);
    return DFX_OK;
}

/* Copies what is not contiguous or not aligned in the order of its dimensions. */
static void copy_strided(unsigned char *to, const unsigned char *from, const struct layout *l,
                         int dimension, size_t size, size_t below)
{
    if (dimension == l->spec.rank) {
        dfx__copy_elements(to, from, size, size);
        return;
    }
    size_t n = (size_t)l->spec.dim[dimension], each = below / n;
    for (size_t i = 0; i < n; i++)
        copy_strided(to + i * each, from + i * (size_t)l->stride[dimension] * size, l,
                     dimension + 1, size, each);
}

static dfx_status copy_data(dfx__torch *c, dfx_tensor *t, const unsigned char *from,
                            const struct layout *l)
{
    if (t->bytes > c->may_copy - c->copied)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "too many tensors share the same numbers");
    unsigned char *to = dfx__pool_alloc(&c->tensors->pool, t->bytes);
    if (!to)
        return dfx__no_memory();
    c->copied += t->bytes;
    if (l->is_contiguous)
        dfx__copy_elements(to, from, t->bytes, dfx_dtype_size(t->spec.dtype));
    else
        copy_strided(to, from, l, 0, dfx_dtype_size(t->spec.dtype), t->bytes);
    t->data = to;
    return DFX_OK;
}

/* Points the tensor into its storage, or into a copy. */
static dfx_status place(dfx__torch *c, dfx_tensor *t, const dfx__storage *s, const struct layout *l,
                        uint64_t elements)
{
    size_t size = dfx_dtype_size(t->spec.dtype);
    t->bytes = dfx__spec_bytes(&t->spec);
    t->data = "";
    if (t->bytes == 0)
        return DFX_OK;
    if (elements > s->bytes / size)
        elements = s->bytes / size;
    if (!lies_within(l, elements))
        return dfx__fail(DFX_ERROR_FORMAT, "it goes beyond its storage; is the file cut short?");
    if (t->bytes / size > elements)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "it is expanded: it has more elements than its "
                                                "storage");
    const unsigned char *from = s->data + (size_t)l->offset * size;
    if (l->is_contiguous && dfx__usable_in_place(c->tensors, from, size)) {
        t->data = from;
        return DFX_OK;
    }
    return copy_data(c, t, from, l);
}

static dfx_status read_tensor(dfx__torch *c, dfx_tensor *t, const struct rebuilt *r)
{
    struct layout l = { .is_contiguous = 0 };
    dfx__storage_id id;
    dfx__storage *s = NULL;
    if (!dfx__torch_storage_id(&id, r->storage))
        return dfx__fail(DFX_ERROR_FORMAT, "it has no storage");
    const dfx__object *type = r->dtype ? r->dtype : id.type;
    if (!dfx__torch_dtype(&l.spec.dtype, type))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "its type %.100s is not read",
                         type && type->kind == DFX__GLOBAL ? type->text : "(none)");
    DFX__TRY(read_layout(&l, r));
    DFX__TRY(find_storage(&s, c, id.key));
    if (l.offset > INT64_MAX - id.offset)
        return dfx__fail(DFX_ERROR_FORMAT, "its offset is too large");
    l.offset += id.offset;
    t->spec = l.spec;
    /* a storage without a type counts bytes, and place() looks at those anyway */
    uint64_t elements = r->dtype ? UINT64_MAX : (uint64_t)id.offset + (uint64_t)id.elements;
    return place(c, t, s, &l, elements);
}

/* What is walked through: names are built in one buffer. */
struct walk {
    dfx__torch *torch;
    char name[MAX_NAME];
    int visits;
    const dfx__object *unknown; /* the first class that is met and not known */
};

static int is_dict(const dfx__object *o, int *first)
{
    static const char *const classes[] = { "collections.OrderedDict", "collections.defaultdict",
                                           "builtins.dict", "__builtin__.dict" };
    *first = 0;
    if (o && o->kind == DFX__DICT)
        return 1;
    *first = 2; /* after function and arguments */
    for (size_t i = 0; o && o->kind == DFX__CALL && i < sizeof classes / sizeof *classes; i++)
        if (dfx__object_is_global(o->item[0], classes[i]))
            return 1;
    return 0;
}

/* The value of a text key, the last where it is set again; NULL when there is none. */
static const dfx__object *find_key(const dfx__object *dict, int first, const char *key)
{
    const dfx__object *value = NULL;
    for (int i = first; i + 1 < dict->count; i += 2)
        if (dfx__object_is_text(dict->item[i], key))
            value = dict->item[i + 1];
    return value;
}

/* Whether a call that is not known gets a tensor or a storage. */
static int takes_tensor(const dfx__object *o, int depth)
{
    struct rebuilt r;
    if (!o || depth == MAX_NESTED_CALLS)
        return 0;
    if (o->kind == DFX__PERSISTENT || is_tensor(&r, unwrap(o)))
        return 1;
    if (o->kind == DFX__CALL)
        return takes_tensor(o->item[1], depth + 1);
    for (int i = 0; o->kind == DFX__TUPLE && i < o->count && i < 16; i++)
        if (takes_tensor(o->item[i], depth + 1))
            return 1;
    return 0;
}

/* What an object is, for a message. */
static const char *class_of(const dfx__object *o)
{
    if (o->kind == DFX__CALL)
        o = o->item[0];
    if (o->kind == DFX__GLOBAL)
        return o->text;
    return o->kind == DFX__LIST || o->kind == DFX__TUPLE ? "class list" : "a plain class";
}

static dfx_status read_value(struct walk *w, const dfx__object *value)
{
    struct rebuilt r;
    dfx_tensor *t;
    const dfx__object *inner = unwrap(value);
    if (is_tensor(&r, inner)) {
        DFX__TRY(dfx__tensors_append(w->torch->tensors, &t, w->name));
        dfx_status status = read_tensor(w->torch, t, &r);
        return status ? dfx__fail_in(status, "tensor '%.200s'", w->name) : DFX_OK;
    }
    if (inner && inner->kind == DFX__CALL) {
        if (takes_tensor(inner, 0))
            return dfx__fail(DFX_ERROR_UNSUPPORTED,
                             "tensor '%.200s' is made by %.200s, which is never called", w->name,
                             class_of(inner));
        if (!w->unknown)
            w->unknown = inner;
    }
    return DFX_OK;
}

/* Whether it can be a name elsewhere too: UTF-8 without a zero. */
static int is_name(const dfx__object *key)
{
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)key->text;
    utf8proc_int32_t code;
    for (size_t at = 0; at < key->bytes;) {
        utf8proc_ssize_t used =
            utf8proc_iterate(text + at, (utf8proc_ssize_t)(key->bytes - at), &code);
        if (used <= 0 || code == 0)
            return 0;
        at += (size_t)used;
    }
    return 1;
}

/* Appends a key to the name; 0 when there is no room, or it is no name. */
static int add_key(struct walk *w, size_t length, const dfx__object *key)
{
    if (length + 1 + key->bytes >= MAX_NAME || !is_name(key))
        return 0;
    if (length)
        w->name[length++] = '.';
    memcpy(w->name + length, key->text, key->bytes + 1);
    return 1;
}

static dfx_status walk(struct walk *w, const dfx__object *o, size_t length, int depth)
{
    int first;
    if (!is_dict(o, &first))
        return length ? read_value(w, o) : DFX_OK;
    for (int i = first; i + 1 < o->count; i += 2) {
        const dfx__object *key = o->item[i];
        if (key->kind != DFX__TEXT) /* an optimizer numbers its states */
            continue;
        if (++w->visits > MAX_VISITS || depth == MAX_DEPTH)
            return dfx__fail(DFX_ERROR_FORMAT, "its dicts hold each other");
        if (!add_key(w, length, key))
            return dfx__fail(DFX_ERROR_FORMAT,
                             "the name of a tensor after '%.200s' is too long, has a zero byte "
                             "or is not UTF-8",
                             w->name);
        DFX__TRY(walk(w, o->item[i + 1], strlen(w->name), depth + 1));
        w->name[length] = 0;
    }
    return DFX_OK;
}

/* {"state_dict": {...}} */
static const dfx__object *find_state(const dfx__object *o)
{
    int first;
    const dfx__object *inner;
    for (int i = 0; i < MAX_DEPTH && is_dict(o, &first); i++) {
        if (!(inner = find_key(o, first, "state_dict")))
            break;
        o = inner;
    }
    return o;
}

dfx_status dfx__torch_tensors(dfx__torch *c)
{
    struct walk *w = dfx__alloc(1, sizeof *w);
    if (!w)
        return dfx__no_memory();
    const dfx__object *top = find_state(c->pickle.top);
    int first;
    w->torch = c;
    dfx_status status = walk(w, top, 0, 0);
    if (status == DFX_OK && c->tensors->count == 0 && (w->unknown || !is_dict(top, &first)))
        status = dfx__fail(DFX_ERROR_UNSUPPORTED,
                           "it holds no tensors by name, but an object of %.200s; save a "
                           "state_dict() instead",
                           class_of(w->unknown ? w->unknown : top));
    free(w);
    return status ? status : dfx__tensors_sort(c->tensors);
}
