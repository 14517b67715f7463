/* tile.cl - what products in tiles share on every device: with a weight in panels of 32 outputs
 * (linear_tiled.cl, conv2d_tiled.cl), and of two inputs (matmul_tiled.cl).
 *
 * A group of ITEMS_X x ITEMS_Y computes a tile, in steps of DEPTH elements of the sum that pass
 * through local memory; the loads are a step ahead of the products. A work-item computes ROWS x
 * COLUMNS numbers, as blocks of 4 x 4 that lie ITEMS_Y and ITEMS_X blocks apart: so neighbours read
 * neighbouring float4 from local memory. Groups number the tiles line by line in one dimension,
 * because some devices have few groups in the others. ALIGNED: rows of x and of the result have a
 * multiple of 4 elements. With GEGLU the second blocks of columns are the gates of the first.
 * B_IN_ROWS: the weight is not in lines of outputs, but in rows of elements as x. */

#include "epilogue.cl"

#define ITEMS (ITEMS_X * ITEMS_Y)
#define TILE_ROWS (ITEMS_Y * ROWS)
#define TILE_COLUMNS (ITEMS_X * COLUMNS)
#define PARTS (COLUMNS / 4)

/* In float4. One more from line to line of what comes in rows: the stores of put_step use more
 * banks. */
#define PITCH_A (TILE_ROWS / 4 + 1)
#ifdef B_IN_ROWS
#define PITCH_B (TILE_COLUMNS / 4 + 1)
#else
#define PITCH_B (TILE_COLUMNS / 4)
#endif

/* A work-item brings 4 elements of A_LOADS rows of x, and 4 columns of B_LOADS lines of the weight,
 * A_APART rows and B_APART lines from each other. */
#define A_LOADS (TILE_ROWS * DEPTH / 4 / ITEMS)
#define A_APART (ITEMS / (DEPTH / 4))
#define B_LOADS (TILE_COLUMNS * DEPTH / 4 / ITEMS)
#define B_APART (ITEMS / PITCH_B)

struct step {
    float4 a[A_LOADS], b[B_LOADS];
};

/* Loads and stores that say how they are aligned, which vload4 does not: compilers split those.
 * Panels and buffers always are. */
#if DTYPE == 0
#define LOAD4(p, at) (*(__global const float4 *)((p) + (at)))
#define STORE4(p, at, v) (*(__global float4 *)((p) + (at)) = (v))
#elif DTYPE == 1 /* Intel's compiler of 2022 fails on vloada_half4 of some tiles */
#define LOAD4(p, at) vload_half4(0, (p) + (at))
#define STORE4(p, at, v) vstorea_half4_rte(v, 0, (p) + (at))
#else
#define LOAD4(p, at) as_float4(convert_uint4(*(__global const ushort4 *)((p) + (at))) << 16)
#define STORE4(p, at, v) (*(__global ushort4 *)((p) + (at)) = bf16_store4(v))
#endif
#if !defined WTYPE || WTYPE == DTYPE
#define LOADW4(p, at) LOAD4(p, at)
#elif WTYPE == 1
#define LOADW4(p, at) vload_half4(0, (p) + (at))
#else
#define LOADW4(p, at) as_float4(convert_uint4(*(__global const ushort4 *)((p) + (at))) << 16)
#endif

/* Up to 4 elements, zeros after n. */
static inline float4 load_elements(__global const T *x, size_t at, int n)
{
#ifdef ALIGNED
    return n > 0 ? LOAD4(x, at) : 0.0f;
#else
    return (float4)(n > 0 ? LOAD(x, at) : 0.0f, n > 1 ? LOAD(x, at + 1) : 0.0f,
                    n > 2 ? LOAD(x, at + 2) : 0.0f, n > 3 ? LOAD(x, at + 3) : 0.0f);
#endif
}

static inline void store_elements(__global T *y, size_t at, int n, float4 v)
{
#ifdef ALIGNED
    if (n > 0)
        STORE4(y, at, v);
#else
    if (n > 0)
        STORE(y, at, v.s0);
    if (n > 1)
        STORE(y, at + 1, v.s1);
    if (n > 2)
        STORE(y, at + 2, v.s2);
    if (n > 3)
        STORE(y, at + 3, v.s3);
#endif
}

/* Where this work-item's loads of x begin: row of the tile, element of the step; and of the weight:
 * line of the step. */
static inline int load_row(void)
{
    return (get_local_id(1) * ITEMS_X + get_local_id(0)) / (DEPTH / 4);
}

static inline int load_element(void)
{
    return (get_local_id(1) * ITEMS_X + get_local_id(0)) % (DEPTH / 4) * 4;
}

static inline int load_line(void)
{
    return (get_local_id(1) * ITEMS_X + get_local_id(0)) / PITCH_B;
}

/* The group's tile: its first row and first output. */
#define TILE_OUTPUTS (GATED ? TILE_COLUMNS / 2 : TILE_COLUMNS)

static inline int first_row(int outputs)
{
    return get_group_id(0) / ((outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS) * TILE_ROWS;
}

static inline int first_output(int outputs)
{
    return get_group_id(0) % ((outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS) * TILE_OUTPUTS;
}

/* The weight's column where block `block` of the tile's columns begins. */
static inline int column_of(int block, int outputs)
{
    int first = first_output(outputs);
    if (GATED && block >= ITEMS_X)
        return outputs + first + (block - ITEMS_X) * 4;
    return first + block * 4;
}

/* Where the lines of the columns that this work-item loads begin, in a weight of `columns` with
 * panels of `lines`; NULL after the last panel. */
static inline __global const W *find_columns(__global const W *w, int columns, int outputs,
                                             int lines)
{
    int column = column_of((get_local_id(1) * ITEMS_X + get_local_id(0)) % PITCH_B, outputs);
    return column < columns ? w + (size_t)(column / 32) * lines * 32 + column % 32 : 0;
}

/* Lines of the weight for a step, from `line` of `lines` on; zeros after the last. */
static inline void load_weight(struct step *step, __global const W *columns, int line, int lines)
{
#pragma unroll
    for (int l = 0; l < B_LOADS; l++) {
        int at = line + l * B_APART;
        step->b[l] = columns && at < lines ? LOADW4(columns, (size_t)at * 32) : 0.0f;
    }
}

/* 4 elements of a row as those of a column, whose lines are `pitch` apart. */
static inline void put_column(__local float *to, int pitch, float4 v)
{
    to[0 * 4 * pitch] = v.s0;
    to[1 * 4 * pitch] = v.s1;
    to[2 * 4 * pitch] = v.s2;
    to[3 * 4 * pitch] = v.s3;
}

/* A step into local memory, rows as columns, once nothing is read there any more. */
static inline void put_step(__local float4 *a, __local float4 *b, const struct step *step)
{
    __local float *to_a = (__local float *)(a + load_element() * PITCH_A) + load_row();
#ifdef B_IN_ROWS
    __local float *to_b = (__local float *)(b + load_element() * PITCH_B) + load_row();
#else
    int item = get_local_id(1) * ITEMS_X + get_local_id(0);
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int l = 0; l < A_LOADS; l++)
        put_column(to_a + l * A_APART, PITCH_A, step->a[l]);
#pragma unroll
    for (int l = 0; l < B_LOADS; l++) {
#ifdef B_IN_ROWS
        put_column(to_b + l * A_APART, PITCH_B, step->b[l]);
#else
        b[item + l * ITEMS] = step->b[l];
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

static inline void clear(float4 c[ROWS][PARTS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int q = 0; q < PARTS; q++)
            c[r][q] = 0.0f;
    }
}

/* c += a^T b, of what a step has in local memory. */
static inline void multiply(float4 c[ROWS][PARTS], __local const float4 *a, __local const float4 *b)
{
    a += get_local_id(1);
    b += get_local_id(0);
#if ROWS * COLUMNS > 16
#pragma unroll 2
#else
#pragma unroll 4
#endif
    for (int k = 0; k < DEPTH; k++) {
        float4 line[PARTS];
#pragma unroll
        for (int q = 0; q < PARTS; q++)
            line[q] = b[k * PITCH_B + q * ITEMS_X];
#pragma unroll
        for (int r = 0; r < ROWS; r += 4) {
            float4 rows = a[k * PITCH_A + r / 4 * ITEMS_Y];
#pragma unroll
            for (int q = 0; q < PARTS; q++) {
                c[r + 0][q] = mad((float4)rows.s0, line[q], c[r + 0][q]);
                c[r + 1][q] = mad((float4)rows.s1, line[q], c[r + 1][q]);
                c[r + 2][q] = mad((float4)rows.s2, line[q], c[r + 2][q]);
                c[r + 3][q] = mad((float4)rows.s3, line[q], c[r + 3][q]);
            }
        }
    }
}

/* From row r of a work-item's to the next one. */
#define NEXT_ROW(r) ((r) % 4 < 3 ? 1 : 4 * ITEMS_Y - 3)

#ifdef IN_PARTS

static inline void store_tile(float4 c[ROWS][PARTS], EPILOGUE)
{
    __global float *to = parts + (size_t)get_group_id(1) * rows * columns;
#pragma unroll
    for (int q = 0; q < PARTS; q++) {
        int column = column_of(get_local_id(0) + q * ITEMS_X, outputs);
        int row = first_row(outputs) + get_local_id(1) * 4;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            __global float *at = to + (size_t)row * columns + column;
            if (row < rows && column + 3 < columns)
                vstore4(c[r][q], 0, at);
            else if (row < rows) {
                if (column < columns)
                    at[0] = c[r][q].s0;
                if (column + 1 < columns)
                    at[1] = c[r][q].s1;
                if (column + 2 < columns)
                    at[2] = c[r][q].s2;
            }
            row += NEXT_ROW(r);
        }
    }
}

#define STORE_TILE(c) store_tile(c, parts, rows, columns, outputs)

#else

static inline float4 load_bias(__global const float *bias, int column, int columns)
{
    return (float4)(column < columns ? bias[column] : 0.0f,
                    column + 1 < columns ? bias[column + 1] : 0.0f,
                    column + 2 < columns ? bias[column + 2] : 0.0f,
                    column + 3 < columns ? bias[column + 3] : 0.0f);
}

static inline void add_offsets(float4 c[ROWS][PARTS], int first, __global const float *bias,
                               __global const T *channels, int rows, int columns, int outputs,
                               int image_rows)
{
#pragma unroll
    for (int q = 0; q < PARTS; q++) {
        int column = column_of(get_local_id(0) + q * ITEMS_X, outputs), row = first;
        float4 v = bias ? load_bias(bias, column, columns) : 0.0f;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            c[r][q] += v;
            if (channels && row < rows)
                c[r][q] += load_elements(channels, (size_t)(row / image_rows) * columns + column,
                                         columns - column);
            row += NEXT_ROW(r);
        }
    }
}

static inline void activate(float4 c[ROWS][PARTS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#if GEGLU
        c[r][0] *= GELU(c[r][1]);
#else
#pragma unroll
        for (int q = 0; q < PARTS; q++)
            c[r][q] = ACTIVATE(c[r][q]);
#endif
    }
}

static inline void store_tile(float4 c[ROWS][PARTS], EPILOGUE)
{
    int first = first_row(outputs) + get_local_id(1) * 4;
    add_offsets(c, first, bias, channels, rows, columns, outputs, image_rows);
    activate(c);
#pragma unroll
    for (int q = 0; q < (GEGLU ? 1 : PARTS); q++) {
        int column = column_of(get_local_id(0) + q * ITEMS_X, outputs), row = first;
        size_t at = (size_t)first * outputs + column;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (row < rows) {
                if (add)
                    c[r][q] += load_elements(add, at, outputs - column);
                store_elements(y, at, outputs - column, c[r][q]);
            }
            row += NEXT_ROW(r);
            at += NEXT_ROW(r) * outputs;
        }
    }
}

#define STORE_TILE(c) store_tile(c, bias, channels, add, y, rows, columns, outputs, image_rows)

#endif
