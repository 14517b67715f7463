/* bench_table.h - a bench as a table on the terminal. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "dfxcl.h"

/* What the table is of and where it stands; begin with { 0 }. */
struct bench_table {
    int group;       /* of the row before */
    int rows, noisy; /* so far */
};

void bench_table_begin(struct bench_table *t, const dfx_device_info *info);
void bench_table_row(struct bench_table *t, const dfx_bench_row *r);
/* Says how far the figures are to be trusted. */
void bench_table_end(const struct bench_table *t);

/* "12.3 ms" into a buffer; returns it. */
enum { SECONDS_TEXT = 24 };
const char *bench_seconds(char text[SECONDS_TEXT], double seconds);

#endif
