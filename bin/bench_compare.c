/* bench_compare.c - two records side by side. */
#include "bench_record.h"

#include "bench_table.h"
#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <string.h>

static int same_row(json_object *a, json_object *b)
{
    static const char *const keys[] = { "group", "name", "shape", "model", "dtype" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(bench_record_text(a, keys[i]), bench_record_text(b, keys[i])) != 0)
            return 0;
    return 1;
}

/* The row of b's device that measured the same; NULL: none did. */
static json_object *find_row(json_object *b, json_object *row)
{
    json_object *rows = bench_record_rows(b);
    size_t n = rows ? json_object_array_length(rows) : 0;
    for (size_t i = 0; i < n; i++)
        if (same_row(json_object_array_get_idx(rows, i), row))
            return json_object_array_get_idx(rows, i);
    return NULL;
}

static void print_pair(json_object *a, json_object *b)
{
    char left[SECONDS_TEXT], right[SECONDS_TEXT];
    double x = bench_record_seconds(a), y = bench_record_seconds(b);
    if (!(x > 0) || !(y > 0))
        return;
    print_column(bench_record_text(a, "name"), 14);
    print_column(bench_record_text(a, "shape"), 34);
    print_column(bench_record_text(a, "model"), 7);
    print_column(bench_record_text(a, "dtype"), 4);
    printf("%10s %10s %8.2f\n", bench_seconds(left, x), bench_seconds(right, y), x / y);
}

static void print_device(const char *letter, json_object *device, const char *path)
{
    printf("%s: ", letter);
    print_text(path, 0);
    printf(": ");
    print_text(bench_record_text(device, "name"), 0);
    printf(", ");
    print_text(bench_record_text(device, "platform"), 0);
    printf(", driver ");
    print_text(bench_record_text(device, "driver"), 0);
    putchar('\n');
}

static void compare(json_object *a, json_object *b)
{
    json_object *rows = bench_record_rows(a);
    size_t n = rows ? json_object_array_length(rows) : 0;
    printf("\n%-14s %-34s %-7s %-4s %10s %10s %8s\n", "", "what", "of", "type", "A", "B", "A / B");
    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(rows, i), *other = find_row(b, row);
        if (other)
            print_pair(row, other);
    }
}

int bench_compare(const char *a, const char *b)
{
    json_object *x, *y = NULL;
    int code = bench_record_read(&x, a);
    if (code == EXIT_DONE)
        code = bench_record_read(&y, b);
    if (code == EXIT_DONE) {
        json_object *left = json_object_object_get(x, "devices"),
                    *right = json_object_object_get(y, "devices");
        size_t n = json_object_array_length(left), m = json_object_array_length(right);
        for (size_t i = 0; i < n && i < m; i++) {
            json_object *d = json_object_array_get_idx(left, i),
                        *e = json_object_array_get_idx(right, i);
            print_device("A", d, a);
            print_device("B", e, b);
            compare(d, e);
        }
        printf("\nA / B: over 1 where B is faster.\n");
    }
    json_object_put(x);
    json_object_put(y);
    return code;
}
