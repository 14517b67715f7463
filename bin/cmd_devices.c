/* cmd_devices.c - dfx devices: what this machine can compute on. */
#include "cmd.h"
#include "print.h"

#include <stdio.h>
#include <string.h>

struct settings {
    int json;
};

static const struct settings defaults;

static const struct option options[] = {
    { "json", OPTION_FLAG, offsetof(struct settings, json), NULL, "print a JSON array", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = { { .name = NULL } };

/* The id of the device that runs without --device; "" when none opens. Errors: DFX_ERROR_MEMORY. */
static dfx_status find_default(char id[16])
{
    dfx_device *device;
    id[0] = '\0';
    dfx_status status = dfx_device_open(&device, cmd_default(NULL, "DFX_DEVICE"));
    if (status != DFX_OK)
        return status == DFX_ERROR_MEMORY ? status : DFX_OK;
    snprintf(id, 16, "%s", dfx_device_get_info(device)->id);
    dfx_device_free(device);
    return DFX_OK;
}

static const char *use(const dfx_device_info *d, const char *chosen)
{
    if (!d->usable)
        return d->why;
    if (strcmp(d->id, chosen) == 0)
        return "the default";
    return d->is_cpu ? "when asked for" : "when asked for, or as opencl";
}

static json_object *to_json(const dfx_device_info *d, const char *chosen)
{
    json_object *o = json_object_new_object();
    print_put(o, "id", json_object_new_string(d->id));
    print_put(o, "name", json_object_new_string(d->name));
    print_put(o, "platform", json_object_new_string(d->platform));
    print_put(o, "driver", json_object_new_string(d->driver));
    print_put(o, "vendor", json_object_new_string(d->vendor));
    print_put(o, "cpu", json_object_new_boolean(d->is_cpu));
    print_put(o, "gpu", json_object_new_boolean(d->is_gpu));
    print_put(o, "units", json_object_new_int(d->units));
    print_put(o, "memory", json_object_new_uint64(d->memory));
    print_put(o, "max_buffer", json_object_new_uint64(d->max_buffer));
    print_put(o, "local_memory", json_object_new_uint64(d->local_memory));
    print_put(o, "max_group", json_object_new_uint64(d->max_group));
    print_put(o, "f16", json_object_new_boolean(d->has_f16));
    print_put(o, "usable", json_object_new_boolean(d->usable));
    print_put(o, "default", json_object_new_boolean(strcmp(d->id, chosen) == 0));
    if (!d->usable)
        print_put(o, "why", json_object_new_string(d->why));
    return o;
}

static int widest(int width, const char *text)
{
    int n = (int)strlen(text);
    return n > width ? n : width;
}

static void print_table(const dfx_device_info *list, int count, const char *chosen)
{
    int id = 6, name = 4, platform = 8, driver = 6;
    for (int i = 0; i < count; i++) {
        id = widest(id, list[i].id);
        name = widest(name, list[i].name);
        platform = widest(platform, list[i].platform);
        driver = widest(driver, list[i].driver);
    }
    printf("%-*s  %-*s  %-*s  %-*s  %9s  %9s  %5s  %-3s  %s\n", id, "device", name, "name",
           platform, "platform", driver, "driver", "memory", "buffer", "units", "f16", "use");
    for (int i = 0; i < count; i++) {
        const dfx_device_info *d = &list[i];
        char memory[DFX_BYTES_TEXT], buffer[DFX_BYTES_TEXT];
        printf("%-*s  %-*s  %-*s  %-*s  %9s  %9s  %5d  %-3s  %s\n", id, d->id, name, d->name,
               platform, d->platform, driver, d->driver, dfx_bytes_text(memory, d->memory),
               dfx_bytes_text(buffer, d->max_buffer), d->units, d->has_f16 ? "yes" : "no",
               use(d, chosen));
    }
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_device_info *list;
    char chosen[16];
    int count, code = EXIT_DONE;
    dfx_status status = dfx_device_list(&list, &count);
    if (status != DFX_OK)
        return cmd_fail(status);
    status = find_default(chosen);
    if (status != DFX_OK) {
        code = cmd_fail(status);
    } else if (s->json) {
        json_object *array = json_object_new_array();
        for (int i = 0; i < count; i++)
            print_append(array, to_json(&list[i], chosen));
        code = print_json(array);
    } else {
        print_table(list, count, chosen);
    }
    dfx_device_list_free(list);
    return code;
}

const struct command cmd_devices = {
    .name = "devices",
    .summary = "list the OpenCL devices and the CPU, and what they are used for",
    .example = "  dfx devices\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
