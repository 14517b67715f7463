/* record.h - the record of a run: its settings as a picture's texts and as JSON. */
#ifndef RECORD_H
#define RECORD_H

#include "dfxcl.h"

#include <json-c/json.h>

enum { RECORD_TEXTS = 48 };

struct record {
    dfx_image_text text[RECORD_TEXTS];
    unsigned char is_number[RECORD_TEXTS]; /* of the texts, and so in JSON */
    int count, failed;                     /* failed: there was no memory */
};

/* The settings `g` of a run of `p` (and `refiner` unless that is NULL) and how `result` was
 * decoded, for picture `index` of `count`, a key for each, and the line "parameters" that other
 * tools read and write. */
void record_make(struct record *r, dfx_pipeline *p, dfx_pipeline *refiner,
                 const dfx_generate_options *g, const dfx_result *result, int index, int count);
void record_free(struct record *r);

/* The settings as a JSON object, numbers as numbers; NULL when there is no memory. */
json_object *record_json(dfx_pipeline *p, dfx_pipeline *refiner, const dfx_generate_options *g,
                         const dfx_result *result);

#endif
