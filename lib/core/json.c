/* json.c - JSON through json-c, with limits against hostile files and errors that give the line. */
#include "core/json.h"

#include "core/file.h"
#include "core/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH = 64, FILE_BYTES = 64 << 20 };

/* A node of json-c takes up to 100 times its text's bytes, so the size of the text alone does not
 * bound memory. The largest real file (a tokenizer of 262,144 entries) has half of these. */
enum { MAX_CONTAINERS = 1 << 20, MAX_VALUES = 1 << 22 };

struct scan {
    const char *text;
    size_t bytes;
    size_t at;      /* of the error */
    size_t members; /* of all objects, repeated keys counted each time */
    size_t containers, values;
};

/* Skips the string whose quote is at s->at, so that s->at is on its last quote. */
static const char *scan_string(struct scan *s)
{
    for (s->at++; s->at < s->bytes; s->at++) {
        unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"')
            return NULL;
        if (c < ' ')
            return "a string has a control character or is not closed";
        if (c == '\\' && s->at + 1 < s->bytes)
            s->at++;
    }
    return "the text ends within a string";
}

static const char *scan_mark(struct scan *s, char previous)
{
    char c = s->text[s->at];
    switch (c) {
    case '<':
        if (s->bytes - s->at >= 7 && memcmp(s->text + s->at, "<<<<<<<", 7) == 0)
            return "a merge conflict is not resolved here";
        return "this is not JSON";
    case '[':
    case '{':
        s->containers++;
        break;
    case ']':
    case '}':
        if (previous == ',')
            return "a value is missing after the comma";
        break;
    case ',':
        s->values++;
        break;
    case ':':
        s->members++;
        break;
    case '/':
    case '\'':
        return "JSON has no comments and no single quotes";
    default:
        if ((unsigned char)c < ' ')
            return "this is not JSON";
    }
    if (s->containers > MAX_CONTAINERS || s->values > MAX_VALUES)
        return "there are more values than any model's file has";
    return NULL;
}

/* Counts, and finds what json-c lets through and Python does not. Its strict mode would find more,
 * but since 0.17 that also refuses the model_max_length of 10^30 that tokenizers have. */
static const char *scan(struct scan *s)
{
    char previous = 0;
    for (; s->at < s->bytes; s->at++) {
        char c = s->text[s->at];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        const char *wrong = c == '"' ? scan_string(s) : scan_mark(s, previous);
        if (wrong)
            return wrong;
        previous = c;
    }
    return previous ? NULL : "the file is empty";
}

static dfx_status fail_at(const struct scan *s, size_t at, const char *where, const char *wrong)
{
    DFX__TRY(dfx__check_pointer(s->text, s->bytes, where));
    size_t line = 1;
    for (size_t i = 0; i < at && i < s->bytes; i++)
        line += s->text[i] == '\n';
    return dfx__fail(DFX_ERROR_FORMAT, "%s:%zu: %s", where, line, wrong);
}

/* The first character after the value that is not white space; s->bytes if there is none. */
static size_t skip_blank(const struct scan *s, size_t at)
{
    while (at < s->bytes && strchr(" \t\r\n", s->text[at]))
        at++;
    return at;
}

static dfx_status parse(json_object **out, const struct scan *s, json_tokener *tokener,
                        const char *where)
{
    json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
    json_object *o = json_tokener_parse_ex(tokener, s->text, (int)s->bytes);
    size_t end = json_tokener_get_parse_end(tokener);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    if (error == json_tokener_continue) { /* only the end shows that a number ends */
        o = json_tokener_parse_ex(tokener, "", 1);
        error = json_tokener_get_error(tokener);
        if (error == json_tokener_error_parse_eof)
            return fail_at(s, s->bytes, where, "the text ends too early");
    }
    if (error != json_tokener_success)
        return fail_at(s, end, where, json_tokener_error_desc(error));
    if (!o && s->text[skip_blank(s, 0)] != 'n') /* only null is NULL; json-c 0.16 says no more */
        return dfx__fail(DFX_ERROR_MEMORY, "%s: out of memory", where);
    end = skip_blank(s, end);
    if (end < s->bytes) {
        json_object_put(o);
        return fail_at(s, end, where, "more text follows after the value");
    }
    *out = o;
    return DFX_OK;
}

dfx_status dfx__json_parse(json_object **out, const char *text, size_t bytes, const char *where)
{
    struct scan s = { .text = text, .bytes = bytes };
    if (bytes > INT32_MAX)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: %zu bytes are too many for JSON", where, bytes);
    const char *wrong = scan(&s);
    if (wrong)
        return fail_at(&s, s.at, where, wrong);
    json_tokener *tokener = json_tokener_new_ex(DEPTH);
    if (!tokener)
        return dfx__no_memory();
    dfx_status status = parse(out, &s, tokener, where);
    json_tokener_free(tokener);
    return status;
}

dfx_status dfx__json_read(json_object **out, const char *path)
{
    dfx__mapped file;
    DFX__TRY(dfx__map_file(&file, path));
    dfx_status status;
    if (file.bytes > FILE_BYTES)
        status = dfx__fail(DFX_ERROR_FORMAT, "%s: %zu bytes are too many for JSON, at most %d",
                           path, file.bytes, FILE_BYTES);
    else
        status = dfx__json_parse(out, (const char *)file.data, file.bytes, path);
    dfx__unmap_file(&file);
    return status;
}

/* Members as json-c keeps them, where a repeated key counts once. */
static size_t count_members(json_object *o)
{
    size_t n = 0;
    if (json_object_is_type(o, json_type_array))
        for (size_t i = 0; i < json_object_array_length(o); i++)
            n += count_members(json_object_array_get_idx(o, i));
    if (json_object_is_type(o, json_type_object)) {
        struct json_object_iterator i = json_object_iter_begin(o), end = json_object_iter_end(o);
        for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
            n += 1 + count_members(json_object_iter_peek_value(&i));
    }
    return n;
}

int dfx__json_repeats(json_object *root, const char *text, size_t bytes)
{
    struct scan s = { .text = text, .bytes = bytes };
    return scan(&s) || s.members != count_members(root);
}

json_object *dfx__json_get(json_object *object, const char *key, enum json_type type)
{
    json_object *member;
    if (!json_object_object_get_ex(object, key, &member) || !json_object_is_type(member, type))
        return NULL;
    return member;
}

const char *dfx__json_string(json_object *object, const char *key)
{
    return json_object_get_string(dfx__json_get(object, key, json_type_string));
}

const char *dfx__json_class(json_object *config)
{
    const char *name = dfx__json_string(config, "_class_name");
    json_object *list = dfx__json_get(config, "architectures", json_type_array);
    json_object *first = list ? json_object_array_get_idx(list, 0) : NULL;
    if (!name && json_object_is_type(first, json_type_string))
        name = json_object_get_string(first);
    return name;
}

const char *dfx__json_text(json_object *object)
{
    return json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
}

double dfx__json_number(json_object *object, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(object, key, &v) ? json_object_get_double(v) : 0;
}

int dfx__json_put(json_object *object, const char *key, json_object *value)
{
    if (object && json_object_object_add(object, key, value) == 0)
        return 1;
    json_object_put(value);
    return 0;
}

int dfx__json_put_new(json_object *object, const char *key, json_object *value)
{
    return value && dfx__json_put(object, key, value);
}

int dfx__json_append_new(json_object *list, json_object *value)
{
    if (list && value && json_object_array_add(list, value) == 0)
        return 1;
    json_object_put(value);
    return 0;
}

int dfx__json_put_text(json_object *object, const char *key, const char *text)
{
    return dfx__json_put_new(object, key, json_object_new_string(text));
}

int dfx__json_put_seconds(json_object *object, const char *key, double seconds)
{
    char text[32];
    snprintf(text, sizeof text, "%.7f", seconds);
    if (!isfinite(seconds))
        return dfx__json_put(object, key, NULL);
    return dfx__json_put_new(object, key, json_object_new_double_s(seconds, text));
}

dfx_status dfx__json_write(json_object *object, const char *path)
{
    dfx__new_file file;
    const char *text = dfx__json_text(object);
    if (!text)
        return dfx__no_memory();
    DFX__TRY(dfx__file_create(&file, path));
    if (fputs(text, file.stream) >= 0 && fputc('\n', file.stream) >= 0)
        return dfx__file_commit(&file);
    dfx__file_abandon(&file);
    return dfx__fail(DFX_ERROR_FILE, "%s: cannot be written", path);
}
