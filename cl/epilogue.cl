/* epilogue.cl - what follows the sums of tiled products: y = activation(sums + bias + channels) + add.
 * ACTIVATION as dfx_activation; with GEGLU the second half of the weight's columns are the gates of
 * the first. */

#ifndef ACTIVATION
#define ACTIVATION 0
#endif
#define GEGLU (ACTIVATION == 4)
#if ACTIVATION == 1
#define ACTIVATE(v) SILU(v)
#elif ACTIVATION == 2
#define ACTIVATE(v) GELU(v)
#elif ACTIVATION == 3
#define ACTIVATE(v) QUICK_GELU(v)
#else
#define ACTIVATE(v) (v)
#endif

/* With `outputs` of y for the weight's `columns`, and a line of `channels` for every `image_rows`
 * rows. IN_PARTS: groups of each number in dimension 1 do their part of the steps of all sums, and
 * store them as they are in parts [get_num_groups(1), rows, columns]; add_parts.cl does the rest. */
#ifdef IN_PARTS
#define GATED 0
#define EPILOGUE __global float *restrict parts, int rows, int columns, int outputs
#else
#define GATED GEGLU
#define EPILOGUE                                                                                   \
    __global const float *restrict bias, __global const T *restrict channels,                      \
        __global const T *restrict add, __global T *restrict y, int rows, int columns,             \
        int outputs, int image_rows
#endif

/* Of `steps` in each sum those that this group does: from first_step to before last_step. */
static inline int first_step(int steps)
{
#ifdef IN_PARTS
    int each = (steps + (int)get_num_groups(1) - 1) / (int)get_num_groups(1);
    return min(steps, (int)get_group_id(1) * each);
#else
    return 0;
#endif
}

static inline int last_step(int steps)
{
#ifdef IN_PARTS
    int each = (steps + (int)get_num_groups(1) - 1) / (int)get_num_groups(1);
    return min(steps, ((int)get_group_id(1) + 1) * each);
#else
    return steps;
#endif
}
