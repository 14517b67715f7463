/* bench_record.h - benches as JSON: docs/bench.schema.json says what stands where. */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include "dfxcl.h"

#include <json-c/json.h>

enum { BENCH_SCHEMA = 1 };

/* A new record, without devices. NULL when there is no memory. */
json_object *bench_record_new(void);

/* A device's entry in the record, and a row in the entry. */
json_object *bench_record_device(json_object *record, const dfx_device_info *info,
                                 const char *dtype, int quick);
void bench_record_row(json_object *device, const dfx_bench_row *r);

/* Writes the record to a file, in place of one that is there. Returns the exit status. */
int bench_record_write(json_object *record, const char *path);

/* Reads a record and checks that it is one, of a schema that this version knows. Returns the exit
 * status; after EXIT_DONE *out is to be released. */
int bench_record_read(json_object **out, const char *path);

/* What an entry or a row has under a key: "" and 0 where there is nothing of the kind. */
const char *bench_record_text(json_object *o, const char *key);
double bench_record_number(json_object *o, const char *key);

/* The median by the device's clock, else by the host's; 0 where the row was not measured. */
double bench_record_seconds(json_object *row);

/* A device's rows, an array; NULL: it has none. */
json_object *bench_record_rows(json_object *device);

/* Prints the figures of two records side by side, with their ratios (bench_compare.c). */
int bench_compare(const char *a, const char *b);

/* Draws a record's rooflines as an SVG file (bench_plot.c). */
int bench_plot(json_object *record, const char *path);

#endif
