/* matmul.cl - products of two inputs on CPU devices: b is packed into panels of 32 columns, as
 * weights are, [products of b][ceil(O / 32)][K][32] (with PAIRS: [..][ceil(K / 2)][32][2]), and then
 * multiplied as in linear.cl. The matrices lie as heads.cl says. */

#include "panel.cl"
#include "heads.cl"

#define PACKED 64 /* elements of the sum that a work-item packs, an even number */

/* An element as it is stored; half is no type to calculate with everywhere. */
#if DTYPE == 0
typedef uint bits;
#else
typedef ushort bits;
#endif

/* Element k of the sum, of `lines`, in a column; and what a panel has in one place. */
#ifdef TRANSPOSED
#define ELEMENT(k, column) from[(column) * B_LINE + (k)]
#else
#define ELEMENT(k, column) from[(k) * B_LINE + (column)]
#endif
#ifdef PAIRS
typedef uint word;
#define IN_WORD 2
#define WORD(k, column)                                                                        \
    (ELEMENT(k, column) | ((k) + 1 < lines ? (uint)ELEMENT((k) + 1, column) << 16 : 0))
#else
typedef bits word;
#define IN_WORD 1
#define WORD(k, column) ELEMENT(k, column)
#endif

/* Dimension 0 are parts of the sum, 1 panels, 2 products of b. */
WORK_GROUP(1, 1, 1)
void matmul_pack(__global T *restrict panels, __global const T *restrict b, int O, int K, int heads)
{
    int first = get_global_id(0) * PACKED, column = get_global_id(1) * 32;
    int product = get_global_id(2), lines = min(PACKED, K - first), columns = min(32, O - column);
    size_t panel = (size_t)product * get_global_size(1) + get_global_id(1);
    __global word *to = (__global word *)panels;
    __global const bits *from = (__global const bits *)b + B_AT(product);
    to += (panel * PADDED((size_t)K) + first) / IN_WORD * 32;
    from = &ELEMENT((size_t)first, (size_t)column);
    if (columns == 32) {
        for (int k = 0; k < lines; k += IN_WORD, to += 32)
            for (int i = 0; i < 32; i++)
                to[i] = WORD(k, i);
    } else {
        for (int k = 0; k < lines; k += IN_WORD, to += 32)
            for (int i = 0; i < 32; i++)
                to[i] = i < columns ? WORD(k, i) : 0;
    }
}

/* As linear_vector; the last dimension has blocks of tiles, product after product. */
WORK_GROUP(1, 1, 1)
void matmul_vector(__global const T *restrict x, __global const T *restrict panels,
                   __global T *restrict y, float scale, SIZES, int shared)
{
    int block = get_global_size(0), tiles = (M + ROWS - 1) / ROWS;
    int blocks = (tiles + block - 1) / block, product = get_global_id(2) / blocks;
    int row = (get_global_id(2) % blocks * block + get_global_id(0)) * ROWS;
    int column = get_global_id(1) * 32;
    int rows = min(ROWS, M - row), columns = min(32, O - column);
    if (rows <= 0)
        return;

    __global const T *a[ROWS];
    size_t panel = (size_t)OF_B(product) * get_global_size(1) + get_global_id(1);
    __global const T *b = panels + panel * PADDED((size_t)K) * 32;
    float sums[ROWS * 32];
    float16 c0[ROWS], c1[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        a[r] = x + A_AT(product) + min(row + r, M - 1) * A_ROW;
    begin_sums(c0, c1, 0, columns, sums);
    MULTIPLY_ROWS(K)
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        c0[r] *= scale;
        c1[r] *= scale;
    }
    end_sums(sums, c0, c1);
    store_sums(y + Y_AT(product), sums, row, column, rows, columns, Y_ROW, 0, 0, 0, 1);
}
