/* json.h - JSON files through json-c, with limits and errors that say where. */
#ifndef DFX_CORE_JSON_H
#define DFX_CORE_JSON_H

#include "dfxcl/base.h"

#include <json-c/json.h>

/* Parses text as Python writes it (-Infinity and NaN are numbers), at most 64 levels deep.
 * `where` names it in errors, which have the line. Free with json_object_put. As in json-c, *out is
 * NULL for the text "null", and of a key that stands twice the last value stays. */
dfx_status dfx__json_parse(json_object **out, const char *text, size_t bytes, const char *where);

/* The same of a file of at most 64 MiB. */
dfx_status dfx__json_read(json_object **out, const char *path);

/* Whether an object in the text, which was parsed as `root`, has a key twice. */
int dfx__json_repeats(json_object *root, const char *text, size_t bytes);

/* The member of that name and json-c type; NULL when there is none, or it is null or of another
 * type. */
json_object *dfx__json_get(json_object *object, const char *key, enum json_type type);

/* The class that a config names: diffusers' _class_name, else the first of transformers'
 * architectures; NULL where it has neither. */
const char *dfx__json_class(json_object *config);

/* The text of a file to be, in lines; it lives as long as the object. */
const char *dfx__json_text(json_object *object);

/* A string member, or NULL. */
const char *dfx__json_string(json_object *object, const char *key);

/* A member as a number; 0 where there is none. */
double dfx__json_number(json_object *object, const char *key);

/* Puts a member that the object owns from now on. Whether it is there: it is not without memory. */
int dfx__json_put(json_object *object, const char *key, json_object *value);
/* The same of a value that was just made, where NULL is a lack of memory too; at a list's end. */
int dfx__json_put_new(json_object *object, const char *key, json_object *value);
int dfx__json_append_new(json_object *list, json_object *value);
int dfx__json_put_text(json_object *object, const char *key, const char *text);
/* A time in the digits that it has; null where it is not finite. */
int dfx__json_put_seconds(json_object *object, const char *key, double seconds);

/* A file of the object's text and a line end, whole or not at all. Errors: DFX_ERROR_FILE,
 * DFX_ERROR_MEMORY. */
dfx_status dfx__json_write(json_object *object, const char *path);

#endif
