/* add_parts.cl - the sums of tiled products that were done in parts, and what follows them.
 *   parts [count, rows, columns], f32   bias [columns]   channels [rows / image_rows, columns]
 *   add, y [rows, outputs] */

#include "epilogue.cl"

static inline float add_up(__global const float *parts, size_t part, size_t at, int count)
{
    float sum = 0;
    for (int i = 0; i < count; i++)
        sum += parts[i * part + at];
    return sum;
}

WORK_GROUP(LANES, 1, 1)
void add_parts(__global const float *restrict parts, EPILOGUE, int count)
{
    int item = get_global_id(0), row = item / outputs, column = item % outputs;
    size_t part = (size_t)rows * columns, at = (size_t)row * columns + column;
    if (row >= rows)
        return;
    size_t channel = (size_t)(row / image_rows) * columns + column;
    float v = add_up(parts, part, at, count) + (bias ? bias[column] : 0.0f);
    if (channels)
        v += LOAD(channels, channel);
#if GEGLU
    float gate = add_up(parts, part, at + outputs, count) + (bias ? bias[column + outputs] : 0.0f);
    if (channels)
        gate += LOAD(channels, channel + outputs);
    v *= GELU(gate);
#else
    v = ACTIVATE(v);
#endif
    if (add)
        v += LOAD(add, item);
    STORE(y, item, v);
}
