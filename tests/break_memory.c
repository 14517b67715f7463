/* break_memory.c - allocations that fail: the C library's, and those of json-c and libpng as far as
 * their callers can tell. */
#include "break.h"

#include <errno.h>
#include <json-c/json.h>
#include <png.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int fails(void)
{
    if (!break_now(BREAK_malloc))
        return 0;
    errno = ENOMEM;
    return 1;
}

BREAK_WRAP(void *, malloc, (size_t bytes))
{
    return fails() ? NULL : __real_malloc(bytes);
}

BREAK_WRAP(void *, calloc, (size_t count, size_t size))
{
    return fails() ? NULL : __real_calloc(count, size);
}

BREAK_WRAP(void *, realloc, (void *old, size_t bytes))
{
    return fails() ? NULL : __real_realloc(old, bytes);
}

BREAK_WRAP(void *, aligned_alloc, (size_t alignment, size_t bytes))
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

BREAK_WRAP(char *, strdup, (const char *text))
{
    return fails() ? NULL : __real_strdup(text);
}

BREAK_WRAP(char *, strndup, (const char *text, size_t most))
{
    return fails() ? NULL : __real_strndup(text, most);
}

BREAK_WRAP(char *, realpath, (const char *path, char *resolved))
{
    return fails() ? NULL : __real_realpath(path, resolved);
}

BREAK_WRAP(FILE *, open_memstream, (char **text, size_t *bytes))
{
    return fails() ? NULL : __real_open_memstream(text, bytes);
}

BREAK_WRAP(int, vasprintf, (char **text, const char *format, va_list args))
{
    return fails() ? -1 : __real_vasprintf(text, format, args);
}

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list args;
    if (fails())
        return -1;
    va_start(args, format);
    int n = __real_vasprintf(text, format, args);
    va_end(args);
    return n;
}

BREAK_WRAP(int, pthread_create,
           (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data))
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attributes, run, data);
}

/* ---- json-c ---- */

#define JSON_NEW(name, parameters, arguments)                                                      \
    BREAK_WRAP(json_object *, json_object_new_##name, parameters)                                  \
    {                                                                                              \
        return fails() ? NULL : __real_json_object_new_##name arguments;                           \
    }

JSON_NEW(object, (void), ())
JSON_NEW(array, (void), ())
JSON_NEW(boolean, (json_bool b), (b))
JSON_NEW(int, (int32_t i), (i))
JSON_NEW(int64, (int64_t i), (i))
JSON_NEW(uint64, (uint64_t i), (i))
JSON_NEW(double, (double d), (d))
JSON_NEW(double_s, (double d, const char *text), (d, text))
JSON_NEW(string, (const char *text), (text))
JSON_NEW(string_len, (const char *text, int bytes), (text, bytes))

BREAK_WRAP(int, json_object_object_add, (json_object * o, const char *key, json_object *value))
{
    return fails() ? -1 : __real_json_object_object_add(o, key, value);
}

BREAK_WRAP(int, json_object_array_add, (json_object * o, json_object *value))
{
    return fails() ? -1 : __real_json_object_array_add(o, value);
}

BREAK_WRAP(int, json_object_deep_copy,
           (json_object * from, json_object **to, json_c_shallow_copy_fn *copy))
{
    return fails() ? -1 : __real_json_object_deep_copy(from, to, copy);
}

BREAK_WRAP(const char *, json_object_to_json_string, (json_object * o))
{
    return fails() ? NULL : __real_json_object_to_json_string(o);
}

BREAK_WRAP(const char *, json_object_to_json_string_ext, (json_object * o, int flags))
{
    return fails() ? NULL : __real_json_object_to_json_string_ext(o, flags);
}

BREAK_WRAP(json_tokener *, json_tokener_new_ex, (int depth))
{
    return fails() ? NULL : __real_json_tokener_new_ex(depth);
}

/* json-c 0.16 has no error for it: NULL, as for the text "null". */
BREAK_WRAP(json_object *, json_tokener_parse_ex, (json_tokener * t, const char *text, int bytes))
{
    json_object *o = __real_json_tokener_parse_ex(t, text, bytes);
    if (!o || !fails())
        return o;
    json_object_put(o);
    return NULL;
}

/* ---- libpng ---- */

static png_voidp png_allocate(png_structp png, png_alloc_size_t bytes)
{
    (void)png;
    return fails() ? NULL : __real_malloc(bytes);
}

static void png_release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

BREAK_WRAP(png_structp, png_create_read_struct,
           (png_const_charp version, png_voidp user, png_error_ptr error, png_error_ptr warning))
{
    return png_create_read_struct_2(version, user, error, warning, NULL, png_allocate, png_release);
}

BREAK_WRAP(png_structp, png_create_write_struct,
           (png_const_charp version, png_voidp user, png_error_ptr error, png_error_ptr warning))
{
    return png_create_write_struct_2(version, user, error, warning, NULL, png_allocate,
                                     png_release);
}
