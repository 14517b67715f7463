/* bench_record.c - benches as JSON. */
#include "bench_record.h"

#include "cmd.h"
#include "output.h"
#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put_text(json_object *o, const char *key, const char *text)
{
    print_put(o, key, json_object_new_string(text));
}

static void put_number(json_object *o, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    print_put(o, key, json_object_new_double_s(value, text));
}

json_object *bench_record_new(void)
{
    char now[32];
    time_t seconds = time(NULL);
    struct tm utc;
    json_object *o = json_object_new_object();
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    print_put(o, "schema", json_object_new_int(BENCH_SCHEMA));
    put_text(o, "library", dfx_version());
    put_text(o, "time", now);
    print_put(o, "devices", json_object_new_array());
    return o;
}

json_object *bench_record_device(json_object *record, const dfx_device_info *info,
                                 const char *dtype, int quick)
{
    json_object *o = json_object_new_object();
    put_text(o, "id", info->id);
    put_text(o, "name", info->name);
    put_text(o, "platform", info->platform);
    put_text(o, "driver", info->driver);
    put_text(o, "vendor", info->vendor);
    print_put(o, "units", json_object_new_int(info->units));
    print_put(o, "memory", json_object_new_uint64(info->memory));
    print_put(o, "max_buffer", json_object_new_uint64(info->max_buffer));
    put_text(o, "dtype", dtype);
    print_put(o, "quick", json_object_new_boolean(quick));
    print_put(o, "rows", json_object_new_array());
    print_append(json_object_object_get(record, "devices"), o);
    return o;
}

static void put_times(json_object *row, const char *key, const dfx_bench_times *t)
{
    if (!t->runs || !(t->median > 0))
        return;
    json_object *o = json_object_new_object();
    print_put(o, "runs", json_object_new_int(t->runs));
    put_number(o, "median", t->median);
    put_number(o, "least", t->least);
    put_number(o, "lower", t->lower);
    put_number(o, "upper", t->upper);
    put_number(o, "most", t->most);
    print_put(row, key, o);
}

void bench_record_row(json_object *device, const dfx_bench_row *r)
{
    json_object *o = json_object_new_object();
    put_text(o, "group", dfx_bench_group_name(r->group));
    put_text(o, "name", r->name);
    put_text(o, "shape", r->shape);
    put_text(o, "model", r->model);
    put_text(o, "variant", r->variant);
    put_text(o, "dtype", r->dtype);
    put_number(o, "flops", r->flops);
    put_number(o, "bytes", r->bytes);
    put_times(o, "wall_seconds", &r->wall);
    put_times(o, "device_seconds", &r->device);
    if (r->predicted > 0)
        put_number(o, "predicted_seconds", r->predicted);
    if (r->memory)
        print_put(o, "memory", json_object_new_uint64(r->memory));
    put_number(o, "of_limit", r->limit);
    print_put(o, "noisy", json_object_new_boolean(r->noisy));
    print_append(json_object_object_get(device, "rows"), o);
}

int bench_record_write(json_object *record, const char *path)
{
    const char *text = print_text_of(record);
    if (!text)
        return cmd_fail_with(EXIT_FAILED, "%s: out of memory", path);
    if (strcmp(path, "-") != 0)
        return output_write(path, text);
    puts(text);
    return EXIT_DONE;
}

int bench_record_read(json_object **out, const char *path)
{
    json_object *schema, *devices;
    *out = json_object_from_file(path);
    if (!*out)
        return cmd_fail_with(EXIT_FAILED, "%s: %s", path,
                             errno ? strerror(errno) : "it is not JSON");
    if (json_object_object_get_ex(*out, "schema", &schema) &&
        json_object_object_get_ex(*out, "devices", &devices) &&
        json_object_is_type(devices, json_type_array) &&
        json_object_get_int(schema) == BENCH_SCHEMA)
        return EXIT_DONE;
    json_object_put(*out);
    *out = NULL;
    return cmd_fail_with(EXIT_FAILED, "%s: it is not a record of dfx-bench of schema %d", path,
                         BENCH_SCHEMA);
}

const char *bench_record_text(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string)
               ? json_object_get_string(v)
               : "";
}

double bench_record_number(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) ? json_object_get_double(v) : 0;
}

double bench_record_seconds(json_object *row)
{
    json_object *t;
    if (json_object_object_get_ex(row, "device_seconds", &t) ||
        json_object_object_get_ex(row, "wall_seconds", &t))
        return bench_record_number(t, "median");
    return 0;
}

json_object *bench_record_rows(json_object *device)
{
    json_object *rows;
    return json_object_object_get_ex(device, "rows", &rows) &&
                   json_object_is_type(rows, json_type_array)
               ? rows
               : NULL;
}
