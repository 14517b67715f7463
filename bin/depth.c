/* depth.c - a depth map from a file: a PNG or a tensor. */
#include "depth.h"

#include "cmd.h"

#include <stdlib.h>
#include <string.h>

static int read_tensor(struct depth *d, const char *path, const dfx_tensor **map)
{
    dfx_status status = dfx_tensors_open(&d->file, path);
    if (status != DFX_OK)
        return cmd_fail(status);
    *map = dfx_tensors_find(d->file, "depth");
    if (*map)
        return EXIT_DONE;
    return cmd_fail_with(EXIT_FAILED, "%s: needs a tensor \"depth\" [H, W] in f32", path);
}

int depth_read(struct depth *d, const char *path, const dfx_tensor **map)
{
    const char *end = strrchr(path, '.');
    int width, height;
    if (end && strcmp(end, ".safetensors") == 0)
        return read_tensor(d, path, map);
    dfx_status status = dfx_image_read_levels(&d->levels, &width, &height, path);
    if (status != DFX_OK)
        return cmd_fail(status);
    size_t bytes = (size_t)width * (size_t)height * sizeof *d->levels;
    d->tensor = (dfx_tensor){ "depth", { DFX_F32, 2, { height, width } }, d->levels, bytes };
    *map = &d->tensor;
    return EXIT_DONE;
}

void depth_free(struct depth *d)
{
    dfx_tensors_free(d->file);
    free(d->levels);
}
