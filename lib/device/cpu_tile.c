/* cpu_tile.c - the native CPU's inner loops, compiled once for each instruction set DFX_ISA.
 *
 * A tile is computed in passes of two vectors of columns, so that its accumulators, two vectors of
 * the panel and a broadcast element fit into the registers: 8 rows of 2 x 16 columns with AVX-512,
 * 6 of 2 x 8 with AVX2, 4 of 2 x 4 with SSE2. NEON's 32 registers hold 8 rows of 2 x 4 columns and
 * a vector of each row, of which an instruction multiplies by any element. */
#include "device/cpu_tile.h"

#include "device/cpu_vector.h"

/* An instruction set that helps this file alone takes the other parts from DFX_PARTS. */
#ifndef DFX_PARTS
#define DFX_PARTS DFX_ISA
#endif

#define NAME_(isa) dfx__cpu_##isa
#define NAME(isa) NAME_(isa)
#define MATH_(isa) dfx__cpu_math_##isa
#define MATH(isa) MATH_(isa)
#define ATTENTION_(isa) dfx__cpu_attention_##isa
#define ATTENTION(isa) ATTENTION_(isa)
#define WINOGRAD_(isa) dfx__cpu_winograd_##isa
#define WINOGRAD(isa) WINOGRAD_(isa)
#define TEXT_(isa) #isa
#define TEXT(isa) TEXT_(isa)

/* Lines of a panel and, where they are stored in half precision, where they are to lie as floats,
 * and how many elements further on lies what to ask memory for. */
typedef struct {
    const void *from;
    dfx_dtype dtype;
    float *to;
    size_t ahead;
} panel_lines;

/* Adds the products of an element of each row with two vectors of a panel from its element `at`
 * on. */
INLINE void add_line(vector (*sum)[2], const float *element, const panel_lines *panel, size_t at)
{
    vector b0 = load_dtype(panel->from, panel->dtype, at, WIDTH);
    vector b1 = load_dtype(panel->from, panel->dtype, at + WIDTH, WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        sum[r][0] += element[r] * b0;
        sum[r][1] += element[r] * b1;
    }
    if (panel->dtype != DFX_F32) {
        /* Into the second level: the first is full. */
        __builtin_prefetch((const uint16_t *)panel->from + at + panel->ahead, 0, 2);
        any_vector *to = (any_vector *)(panel->to + at);
        to[0] = b0;
        to[1] = b1;
    }
}

#if defined __aarch64__
/* Adds those of elements i .. i + WIDTH, each row's loaded at once, with as many lines. */
INLINE void add_lines(vector (*sum)[2], const float *const *row, size_t i, const panel_lines *panel,
                      size_t at)
{
    vector part[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        part[r] = *(const any_vector *)(row[r] + i);
#pragma GCC unroll 4
    for (int j = 0; j < WIDTH; j++, at += DFX__TILE_COLUMNS) {
        float element[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            element[r] = part[r][j];
        add_line(sum, element, panel, at);
    }
}
#endif

INLINE void tile_of(float *acc, const float *first, const float *const *row,
                    const panel_lines *panel, size_t k)
{
    const float *a[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        a[r] = row[r];
    for (int column = 0; column < DFX__TILE_COLUMNS; column += 2 * WIDTH) {
        vector sum[ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r][0] = sum[r][1] = (vector){ 0 };
        size_t i = 0, at = (size_t)column;
#if defined __aarch64__
        for (; i + WIDTH <= k; i += WIDTH, at += WIDTH * DFX__TILE_COLUMNS)
            add_lines(sum, a, i, panel, at);
#endif
        for (; i < k; i++, at += DFX__TILE_COLUMNS) {
            float element[ROWS];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                element[r] = a[r][i];
            add_line(sum, element, panel, at);
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            any_vector *to = (any_vector *)(acc + r * DFX__TILE_COLUMNS + column);
            const any_vector *before = first ? (const any_vector *)(first + column) : to;
            to[0] = before[0] + sum[r][0];
            to[1] = before[1] + sum[r][1];
        }
    }
}

static void tile(float *acc, const float *first, const float *const *row, const float *panel,
                 size_t k)
{
    const panel_lines wide = { panel, DFX_F32, NULL, 0 };
    tile_of(acc, first, row, &wide, k);
}

static void tile_widening(float *acc, const float *first, const float *const *row,
                          const void *panel, dfx_dtype dtype, float *wide, size_t k)
{
    size_t ahead = k * DFX__TILE_COLUMNS;
    if (dtype == DFX_F16)
        tile_of(acc, first, row, &(const panel_lines){ panel, DFX_F16, wide, ahead }, k);
    else
        tile_of(acc, first, row, &(const panel_lines){ panel, DFX_BF16, wide, ahead }, k);
}

#if defined __AVX512BF16__
static void tile_pairs(float *acc, const float *first, const uint16_t *const *row,
                       const uint16_t *panel, size_t pairs)
{
    _Static_assert(DFX__TILE_COLUMNS == 2 * WIDTH, "a tile is one pass");
    __m512 sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        const float *before = first ? first : acc + r * DFX__TILE_COLUMNS;
        sum[r][0] = _mm512_loadu_ps(before);
        sum[r][1] = _mm512_loadu_ps(before + WIDTH);
    }
    for (size_t p = 0; p < pairs; p++, panel += 2 * DFX__TILE_COLUMNS) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(panel);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(panel + 2 * WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            int32_t pair;
            memcpy(&pair, row[r] + 2 * p, sizeof pair);
            __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, b0);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], a, b1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        _mm512_storeu_ps(acc + r * DFX__TILE_COLUMNS, sum[r][0]);
        _mm512_storeu_ps(acc + r * DFX__TILE_COLUMNS + WIDTH, sum[r][1]);
    }
}

static void tile_packed_pairs(float *to, const float *panel, const float *lines, size_t pairs,
                              int add)
{
    __m512 sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p++, panel += ROWS, lines += DFX__TILE_COLUMNS) {
        __m512bh b0 = (__m512bh)_mm512_loadu_ps(lines);
        __m512bh b1 = (__m512bh)_mm512_loadu_ps(lines + WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            __m512bh a = (__m512bh)_mm512_set1_ps(panel[r]);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, b0);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], a, b1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++, to += DFX__TILE_COLUMNS) {
        if (add) {
            sum[r][0] = _mm512_add_ps(_mm512_loadu_ps(to), sum[r][0]);
            sum[r][1] = _mm512_add_ps(_mm512_loadu_ps(to + WIDTH), sum[r][1]);
        }
        _mm512_storeu_ps(to, sum[r][0]);
        _mm512_storeu_ps(to + WIDTH, sum[r][1]);
    }
}
#define TILE_PAIRS tile_pairs
#define TILE_PACKED_PAIRS tile_packed_pairs
#elif defined __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
static inline bfloat16x8_t load_pairs(const uint16_t *from)
{
    return vreinterpretq_bf16_u16(vld1q_u16(from));
}

/* The instruction wants the lane as a constant, which it is once the loop around is unrolled. */
static inline float32x4_t add_dot(float32x4_t sum, bfloat16x8_t b, bfloat16x8_t a, int lane)
{
    switch (lane) {
    case 0:
        return vbfdotq_laneq_f32(sum, b, a, 0);
    case 1:
        return vbfdotq_laneq_f32(sum, b, a, 1);
    case 2:
        return vbfdotq_laneq_f32(sum, b, a, 2);
    default:
        return vbfdotq_laneq_f32(sum, b, a, 3);
    }
}

/* Adds the products of a pair of each row, that of this lane, with a line of pairs. */
static inline void add_pairs(float32x4_t (*sum)[2], const bfloat16x8_t *part, int lane,
                             const uint16_t *line)
{
    bfloat16x8_t b0 = load_pairs(line), b1 = load_pairs(line + 2 * WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        sum[r][0] = add_dot(sum[r][0], b0, part[r], lane);
        sum[r][1] = add_dot(sum[r][1], b1, part[r], lane);
    }
}

static void tile_pairs(float *acc, const float *first, const uint16_t *const *row,
                       const uint16_t *panel, size_t pairs)
{
    enum { LINE = 2 * DFX__TILE_COLUMNS };
    for (int column = 0; column < DFX__TILE_COLUMNS; column += 2 * WIDTH) {
        const uint16_t *b = panel + 2 * column;
        float *to = acc + column;
        float32x4_t sum[ROWS][2];
        bfloat16x8_t part[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const float *before = first ? first + column : to + r * DFX__TILE_COLUMNS;
            sum[r][0] = vld1q_f32(before);
            sum[r][1] = vld1q_f32(before + WIDTH);
        }
        size_t p = 0;
        for (; p + WIDTH <= pairs; p += WIDTH) {
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                part[r] = load_pairs(row[r] + 2 * p);
#pragma GCC unroll 4
            for (int lane = 0; lane < WIDTH; lane++, b += LINE)
                add_pairs(sum, part, lane, b);
        }
        for (; p < pairs; p++, b += LINE) {
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                uint32_t pair;
                memcpy(&pair, row[r] + 2 * p, sizeof pair);
                part[r] = vreinterpretq_bf16_u32(vdupq_n_u32(pair));
            }
            add_pairs(sum, part, 0, b);
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            vst1q_f32(to + r * DFX__TILE_COLUMNS, sum[r][0]);
            vst1q_f32(to + r * DFX__TILE_COLUMNS + WIDTH, sum[r][1]);
        }
    }
}
#define TILE_PAIRS tile_pairs
#define TILE_PACKED_PAIRS NULL
#else
#define TILE_PAIRS NULL
#define TILE_PACKED_PAIRS NULL
#endif

/* Arrays, a vector at a time; the last one reaches back into what is done, or, if there is no
 * other, takes a detour through a vector of its own. */
#define CONVERT(name, result, result_vector, number, number_vector)                                \
    static void name##_array(result *to, const number *from, size_t n)                             \
    {                                                                                              \
        number_vector in = { 0 };                                                                  \
        result_vector out;                                                                         \
        if (n < WIDTH) {                                                                           \
            memcpy(&in, from, n * sizeof *from);                                                   \
            out = name(in);                                                                        \
            memcpy(to, &out, n * sizeof *to);                                                      \
            return;                                                                                \
        }                                                                                          \
        for (size_t i = 0; i < n; i += WIDTH) {                                                    \
            size_t at = n - i < WIDTH ? n - WIDTH : i;                                             \
            memcpy(&in, from + at, sizeof in);                                                     \
            out = name(in);                                                                        \
            memcpy(to + at, &out, sizeof out);                                                     \
        }                                                                                          \
    }

CONVERT(widen_f16, float, vector, uint16_t, halves)
CONVERT(widen_bf16, float, vector, uint16_t, halves)
CONVERT(narrow_f16, uint16_t, halves, float, vector)
CONVERT(narrow_bf16, uint16_t, halves, float, vector)

static void widen(float *to, const void *from, dfx_dtype dtype, size_t n)
{
    if (dtype == DFX_F32)
        memcpy(to, from, n * sizeof *to);
    else if (dtype == DFX_F16)
        widen_f16_array(to, from, n);
    else
        widen_bf16_array(to, from, n);
}

static void narrow(void *to, dfx_dtype dtype, const float *from, size_t n)
{
    if (dtype == DFX_F32)
        memcpy(to, from, n * sizeof *from);
    else if (dtype == DFX_F16)
        narrow_f16_array(to, from, n);
    else
        narrow_bf16_array(to, from, n);
}

INLINE void store_tile_of(void *out, size_t stride, const void *add, dfx_dtype dtype,
                          const float *acc, int rows, size_t columns)
{
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t i = 0; i < columns; i += WIDTH) {
            vector v = *(const any_vector *)(acc + r * DFX__TILE_COLUMNS + i);
            if (add)
                v += load_dtype(add, dtype, r * stride + i, columns - i);
            store_dtype(out, dtype, r * stride + i, v, columns - i);
        }
}

/* Whole tiles, which are nearly all, without the arithmetic of parts. */
INLINE void store_tile_in(void *out, size_t stride, const void *add, dfx_dtype dtype,
                          const float *acc, int rows, size_t columns)
{
    if (columns == DFX__TILE_COLUMNS)
        store_tile_of(out, stride, add, dtype, acc, rows, DFX__TILE_COLUMNS);
    else
        store_tile_of(out, stride, add, dtype, acc, rows, columns);
}

static void store_tile(void *out, size_t stride, const void *add, dfx_dtype dtype, const float *acc,
                       int rows, size_t columns)
{
#define CALL(type) store_tile_in(out, stride, add, type, acc, rows, columns)
    FOR_DTYPE(dtype);
#undef CALL
}

const struct dfx__cpu_kernels NAME(DFX_ISA) = {
    TEXT(DFX_ISA),
    ROWS,
    tile,
    tile_widening,
    TILE_PAIRS,
    TILE_PACKED_PAIRS,
    store_tile,
    widen,
    narrow,
    &MATH(DFX_PARTS),
    &ATTENTION(DFX_PARTS),
    &WINOGRAD(DFX_PARTS),
};
