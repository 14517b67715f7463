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

/* As linear_vector; the last dimension are products. */
WORK_GROUP(1, 1, 1)
void matmul_vector(__global const T *restrict x, __global const T *restrict panels,
                   __global T *restrict y, float scale, SIZES, int shared, int strip, int group)
{
    int product = get_global_id(2), row = get_global_id(0) * strip, rows = min(strip, M - row);
    int first = get_global_id(1) * group * 32, columns = min(group * 32, O - first);
    __global const T *w = panels + OF_B(product) * ((size_t)(O + 31) / 32 * 32) * PADDED(K);
    room o;
    x += A_AT(product) + row * A_ROW;
    for (int at = 0; at < columns; at += 32)
        begin_panel(o.sums[at / 32], 0, 32);
    for (int k = 0; k < K; k += BLOCK) {
        int n = min(BLOCK, K - k);
        for (int r = 0; r < STRIP; r++)
            o.row[r] = x + min(r, rows - 1) * A_ROW + k;
        stage_rows(&o, rows, n);
        for (int at = 0; at < columns; at += 32)
            add_block(&o, at / 32, w + (size_t)(first + at) * PADDED(K) + k * 32, rows, n);
    }
    for (int at = 0; at < columns; at += 32)
        for (int r = 0; r < rows; r++) {
            o.sums[at / 32][r][0] *= scale;
            o.sums[at / 32][r][1] *= scale;
        }
    store_sums(y + Y_AT(product), o.sums, row, first, rows, columns, Y_ROW, 0, 0, 0, 1);
}
