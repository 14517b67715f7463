/* matmul_tiled.cl - products of two inputs, whose matrices lie as heads.cl says; dimension 1 of the
 * grid numbers them. TRANSPOSED needs B_IN_ROWS. */

#include "tile.cl"
#include "heads.cl"

/* A work-item's elements of a step: 4 of rows that are A_APART apart, of which there are `rows`, and
 * `left` elements of each, from x on. */
#define LOAD_ROWS(to, loads, x, pitch, rows, left)                                             \
    _Pragma("unroll")                                                                          \
    for (int l = 0; l < loads; l++)                                                            \
        (to)[l] = l * A_APART < (rows) ? load_elements(x, l * A_APART * (pitch), left) : 0.0f;

/* 4 columns of lines that are B_APART apart, of which there are `lines`; `left` columns. */
#define LOAD_LINES(to, x, pitch, lines, left)                                                  \
    _Pragma("unroll")                                                                          \
    for (int l = 0; l < B_LOADS; l++)                                                          \
        (to)[l] = l * B_APART < (lines) ? load_elements(x, l * B_APART * (pitch), left) : 0.0f;

#ifdef TRANSPOSED
#define LOAD_B(to, b, k) LOAD_ROWS(to, B_LOADS, b, B_LINE, O - column, K - load_element() - (k))
#define NEXT_B DEPTH
#else
#define LOAD_B(to, b, k) LOAD_LINES(to, b, B_LINE, K - load_line() - (k), O - column)
#define NEXT_B (DEPTH * B_LINE)
#endif

WORK_GROUP(ITEMS_X, ITEMS_Y, 1)
void matmul_tiled(__global const T *restrict a, __global const T *restrict b, __global T *restrict y,
                  float scale, SIZES, int shared)
{
    __local float4 step_a[DEPTH * PITCH_A], step_b[DEPTH * PITCH_B];
    int product = get_group_id(1), row = first_row(O) + load_row(), column = first_output(O);
    struct step step;
    float4 c[ROWS][PARTS];
    clear(c);
    a += A_AT(product) + row * A_ROW + load_element();
    b += B_AT(OF_B(product));
#ifdef TRANSPOSED
    column += load_row();
    b += column * B_LINE + load_element();
#else
    column += (get_local_id(1) * ITEMS_X + get_local_id(0)) % PITCH_B * 4;
    b += load_line() * B_LINE + column;
#endif
    LOAD_ROWS(step.a, A_LOADS, a, A_ROW, M - row, K - load_element())
    LOAD_B(step.b, b, 0)
    for (int k = DEPTH; k < K + DEPTH; k += DEPTH) {
        put_step(step_a, step_b, &step);
        if (k < K) {
            a += DEPTH;
            b += NEXT_B;
            LOAD_ROWS(step.a, A_LOADS, a, A_ROW, M - row, K - load_element() - k)
            LOAD_B(step.b, b, k)
        }
        multiply(c, step_a, step_b);
    }
    y += Y_AT(product);
#pragma unroll
    for (int q = 0; q < PARTS; q++) {
        int to_column = column_of(get_local_id(0) + q * ITEMS_X, O);
        int to_row = first_row(O) + get_local_id(1) * 4;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (to_row < M)
                store_elements(y, to_row * Y_ROW + to_column, O - to_column,
                               scale * c[r][q]);
            to_row += NEXT_ROW(r);
        }
    }
}
