/* pickle.h - Python's pickles as data: what they would call is only noted.
 *
 * A pickle is a program for a stack machine (Lib/pickletools.py). This machine makes values and
 * containers; a class or function is a name, and a call of one is a node with that name and the
 * arguments. Nothing is looked up, imported or called. */
#ifndef DFX_WEIGHTS_PICKLE_H
#define DFX_WEIGHTS_PICKLE_H

#include "core/memory.h"
#include "dfxcl/base.h"

typedef enum {
    DFX__NONE,
    DFX__BOOLEAN, /* integer is 0 or 1 */
    DFX__INTEGER, /* of up to 8 bytes; a longer one is DFX__TEXT, its bytes as they stand */
    DFX__FLOAT,   /* its value is not kept */
    DFX__TEXT,    /* str, bytes or bytearray */
    DFX__TUPLE,
    DFX__LIST,   /* and sets */
    DFX__DICT,   /* keys and values take turns in item */
    DFX__GLOBAL, /* text is "module.name" */
    DFX__CALL,   /* item[0] is the function or class, item[1] the arguments; then what was set in
                  * its result as in a dict */
    DFX__PERSISTENT, /* item[0] is an id that the file around the pickle gives meaning */
    DFX__MARK        /* never in a result */
} dfx__object_kind;

typedef struct dfx__object {
    dfx__object_kind kind;
    int count, room; /* of item */
    int64_t integer;
    const char *text; /* `bytes` long, with a zero after them */
    size_t bytes;
    struct dfx__object **item;
    struct dfx__object *next; /* DFX__PERSISTENT: the one before it in the pickle */
} dfx__object;

typedef struct {
    dfx__pool pool; /* all objects */
    dfx__object *top;
    dfx__object *persistent; /* the last one */
    size_t bytes;            /* up to the end of the pickle, which may be in a larger file */
} dfx__pickle;

enum { DFX__PICKLE_BYTES = 16 << 20 };

/* Reads one pickle of protocol 2 to 5, of at most DFX__PICKLE_BYTES. Containers may hold each other
 * and themselves: who walks through them has to count. Free with dfx__pickle_close, on failure too.
 * Errors (without the file's name): DFX_ERROR_FORMAT, DFX_ERROR_UNSUPPORTED, DFX_ERROR_MEMORY. */
dfx_status dfx__pickle_open(dfx__pickle *out, const unsigned char *data, size_t bytes);
void dfx__pickle_close(dfx__pickle *p);

/* Whether an object is this text, and this name of a class or function. */
int dfx__object_is_text(const dfx__object *o, const char *text);
int dfx__object_is_global(const dfx__object *o, const char *name);

/* The i-th item of a tuple or list; NULL when it has fewer or is of another kind. */
const dfx__object *dfx__object_at(const dfx__object *o, int i);

#endif
