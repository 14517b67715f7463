/* bench_compare.c - two records side by side. */
#include "bench_record.h"

#include "bench_table.h"
#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string)
               ? json_object_get_string(v)
               : "";
}

static double number_of(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) ? json_object_get_double(v) : 0;
}

/* The median by the device's clock, else by the host's; 0 where the row was not measured. */
static double seconds_of(json_object *row)
{
    json_object *t;
    if (json_object_object_get_ex(row, "device_seconds", &t) ||
        json_object_object_get_ex(row, "wall_seconds", &t))
        return number_of(t, "median");
    return 0;
}

static int same_row(json_object *a, json_object *b)
{
    static const char *const keys[] = { "group", "name", "shape", "model", "dtype" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(text_of(a, keys[i]), text_of(b, keys[i])) != 0)
            return 0;
    return 1;
}

static json_object *rows_of(json_object *device)
{
    json_object *rows;
    return json_object_object_get_ex(device, "rows", &rows) &&
                   json_object_is_type(rows, json_type_array)
               ? rows
               : NULL;
}

/* The row of b's device that measured the same; NULL: none did. */
static json_object *find_row(json_object *b, json_object *row)
{
    json_object *rows = rows_of(b);
    size_t n = rows ? json_object_array_length(rows) : 0;
    for (size_t i = 0; i < n; i++)
        if (same_row(json_object_array_get_idx(rows, i), row))
            return json_object_array_get_idx(rows, i);
    return NULL;
}

static void print_pair(json_object *a, json_object *b)
{
    char left[SECONDS_TEXT], right[SECONDS_TEXT];
    double x = seconds_of(a), y = seconds_of(b);
    if (!(x > 0) || !(y > 0))
        return;
    print_column(text_of(a, "name"), 14);
    print_column(text_of(a, "shape"), 34);
    print_column(text_of(a, "model"), 7);
    print_column(text_of(a, "dtype"), 4);
    printf("%10s %10s %8.2f\n", bench_seconds(left, x), bench_seconds(right, y), x / y);
}

static void print_device(const char *letter, json_object *device, const char *path)
{
    printf("%s: ", letter);
    print_text(path, 0);
    printf(": ");
    print_text(text_of(device, "name"), 0);
    printf(", ");
    print_text(text_of(device, "platform"), 0);
    printf(", driver ");
    print_text(text_of(device, "driver"), 0);
    putchar('\n');
}

static void compare(json_object *a, json_object *b)
{
    json_object *rows = rows_of(a);
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
