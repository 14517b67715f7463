/* mma_tile.cl - what products with a weight in panels of 32 outputs share on tensor cores
 * (linear_mma.cl, conv2d_mma.cl).
 *
 * A group of WARPS_X x WARPS_Y warps computes a tile, in steps of DEPTH elements of the sum that pass
 * through STAGES stages of local memory, copied in the background. A warp computes BLOCKS blocks of
 * 16 rows by 32 columns: one panel, or with GEGLU 16 columns and their gates. A stage's lines are 32
 * elements long, rows of x first, then the lines of the weight's panels; the 16-byte pieces of a line
 * are swapped so that eight lines' same piece lie in all banks. */

#include "mma.cl"
#include "epilogue.cl"

#define DEPTH 32
#define WARPS (WARPS_X * WARPS_Y)
#define ITEMS (32 * WARPS)
#define TILE_ROWS (WARPS_Y * BLOCKS * 16)
#define TILE_COLUMNS (WARPS_X * 32)
#define LINES (TILE_ROWS + TILE_COLUMNS)
#define PIECES (DEPTH / 8)
#define A_LOADS (TILE_ROWS * PIECES / ITEMS)
#define B_LOADS (TILE_COLUMNS * PIECES / ITEMS)
#define APART (ITEMS / PIECES) /* lines from one of a work-item's loads to its next */

#define TILE_OUTPUTS (GATED ? TILE_COLUMNS / 2 : TILE_COLUMNS)

/* Sums of a work-item: blocks of 16 rows, columns in eights. */
typedef float sums[BLOCKS][4][4];

static inline int warp_x(void)
{
    return get_local_id(0) / 32 % WARPS_X;
}

static inline int warp_y(void)
{
    return get_local_id(0) / 32 / WARPS_X;
}

/* The group's tile: its first row and first output. */
static inline int first_row(int outputs)
{
    return get_group_id(0) / ((outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS) * TILE_ROWS;
}

static inline int first_output(int outputs)
{
    return get_group_id(0) % ((outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS) * TILE_OUTPUTS;
}

/* The line and piece of a stage that this work-item loads first; the others are APART lines below. */
static inline int load_line(void)
{
    return get_local_id(0) / PIECES;
}

static inline int load_piece(void)
{
    return get_local_id(0) % PIECES;
}

/* Where a piece of a line lies. */
static inline int place(int line, int piece)
{
    return line * PIECES + (piece ^ (line >> 1 & PIECES - 1));
}

/* The panel, from the weight's beginning, of panel `slot` of the tile. */
static inline int panel_of(int slot, int outputs)
{
    int first = first_output(outputs) / 32;
    if (GATED && slot >= WARPS_X / 2)
        return outputs / 32 + first + slot - WARPS_X / 2;
    return first + slot;
}

/* Copies lines of the weight for a step: from `line` of a tap's, of which there are `lines`; panels
 * have all_lines. */
static inline void copy_weight(__local uint4 *stage, __global const T *w, int columns, int outputs,
                               int first, int line, int lines, int all_lines)
{
#pragma unroll
    for (int l = 0; l < B_LOADS; l++) {
        int to = load_line() + l * APART, panel = panel_of(to / DEPTH, outputs);
        int at = line + to % DEPTH, present = at < lines && panel * 32 < columns;
        size_t from = ((size_t)panel * all_lines + first + at) * 32 + load_piece() * 8;
        copy(stage + place(TILE_ROWS + to, load_piece()), w + (present ? from : 0), present);
    }
}

static inline void clear(sums c)
{
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
        for (int n = 0; n < 4; n++)
            c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0;
    }
}

/* c += the product of a stage's rows and weights. */
static inline void multiply(sums c, __local const uint4 *stage)
{
    int row = warp_y() * BLOCKS * 16 + lane() % 16, half_piece = lane() / 16;
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
        uint a[BLOCKS][4], b[2][4];
#pragma unroll
        for (int m = 0; m < BLOCKS; m++)
            LOAD_MATRICES(a[m], stage + place(row + m * 16, k / 8 + half_piece), "");
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int slot = GATED ? warp_x() / 2 + n * (WARPS_X / 2) : warp_x();
            int piece = (GATED ? warp_x() % 2 : n) * 2 + half_piece;
            int line = TILE_ROWS + slot * DEPTH + k + lane() % 16;
            LOAD_MATRICES(b[n], stage + place(line, piece), ".trans");
        }
#pragma unroll
        for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
            for (int n = 0; n < 4; n++)
                mma(c[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
    }
}

/* The output where the 8 columns of block n begin, of this work-item its two. */
static inline int output_of(int n, int outputs)
{
    int first = first_output(outputs) + lane() % 4 * 2 + n * 8;
    return GATED ? first + warp_x() / 2 * 32 + warp_x() % 2 * 16 : first + warp_x() * 32;
}

#ifdef IN_PARTS

static inline void store_tile(sums c, EPILOGUE)
{
    __global float *to = parts + (size_t)get_group_id(1) * rows * columns;
    int first = first_row(outputs) + warp_y() * BLOCKS * 16 + lane() / 4;
#pragma unroll
    for (int m = 0; m < 2 * BLOCKS; m++) {
        int row = first + m * 8;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            int column = output_of(n, outputs);
            if (row < rows && column < columns)
                vstore2((float2)(c[m / 2][n][m % 2 * 2], c[m / 2][n][m % 2 * 2 + 1]), 0,
                        to + (size_t)row * columns + column);
        }
    }
}

#define STORE_TILE(c) store_tile(c, parts, rows, columns, outputs)

#else

/* What is added to two sums. */
static inline float2 load_offset(__global const float *bias, __global const T *channels, int row,
                                 int column, int columns, int image_rows)
{
    float2 v = bias ? vload2(0, bias + column) : 0.0f;
    return channels ? v + LOAD2(channels, (size_t)(row / image_rows) * columns + column) : v;
}

/* Two sums of a row and, with GEGLU, their gates. */
static inline void store_pair(float2 v, float2 gate, int row, int output, EPILOGUE)
{
    size_t at = (size_t)row * outputs + output;
    v += load_offset(bias, channels, row, output, columns, image_rows);
#if GEGLU
    gate += load_offset(bias, channels, row, outputs + output, columns, image_rows);
    v *= GELU(gate);
#else
    v = ACTIVATE(v);
#endif
    if (add)
        v += LOAD2(add, at);
    *(__global uint *)(y + at) = pack(v);
}

static inline void store_tile(sums c, EPILOGUE)
{
    int first = first_row(outputs) + warp_y() * BLOCKS * 16 + lane() / 4;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
        for (int n = 0; n < (GATED ? 2 : 4); n++) {
            int gate = GATED ? n + 2 : n, output = output_of(n, outputs), row = first + m * 16;
#pragma unroll
            for (int i = 0; i < 4; i += 2, row += 8)
                if (row < rows && output < outputs)
                    store_pair((float2)(c[m][n][i], c[m][n][i + 1]),
                               (float2)(c[m][gate][i], c[m][gate][i + 1]), row, output, bias,
                               channels, add, y, rows, columns, outputs, image_rows);
        }
    }
}

#define STORE_TILE(c) store_tile(c, bias, channels, add, y, rows, columns, outputs, image_rows)

#endif
