/* depth.h - a depth map from a file. */
#ifndef DEPTH_H
#define DEPTH_H

#include "dfxcl.h"

/* What the map lies in; start from zeros. */
struct depth {
    dfx_tensors *file;
    float *levels;
    dfx_tensor tensor;
};

/* Reads a PNG's gray levels, or the tensor "depth" of a .safetensors file; *map stays the depth's.
 * Returns the exit status. */
int depth_read(struct depth *d, const char *path, const dfx_tensor **map);
void depth_free(struct depth *d);

#endif
