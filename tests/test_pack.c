/* test_pack.c - weights packed for a device: where every number comes to lie. */
#include "core/dtype.h"
#include "sequence/weight.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>

/* Odd and even inputs, a panel's edge, more inputs than are packed at once, large windows. */
static const dfx_spec shapes[] = {
    { 0, 2, { 1, 1 } },         { 0, 2, { 33, 3 } },         { 0, 2, { 31, 64 } },
    { 0, 2, { 65, 201 } },      { 0, 2, { 32, 1280 } },      { 0, 4, { 33, 3, 2, 2 } },
    { 0, 4, { 5, 129, 3, 3 } }, { 0, 4, { 64, 131, 3, 1 } }, { 0, 4, { 3, 2, 71, 61 } },
};

/* Number n of a weight: neighbours differ, and every type holds it. */
static float number(size_t n)
{
    return (float)(n * 7 % 251 + 1);
}

/* Where number (o, i, t) of a weight comes to lie, in numbers; see dfx__format. */
static size_t place_of(const dfx_spec *s, dfx__format format, size_t o, size_t i, size_t t)
{
    size_t outputs = (size_t)s->dim[0], inputs = (size_t)s->dim[1], taps = 1;
    for (int d = 2; d < s->rank; d++)
        taps *= (size_t)s->dim[d];
    if (format == DFX__PLAIN)
        return (o * inputs + i) * taps + t;
    if (format == DFX__ROWS)
        return (t * inputs + i) * outputs + o;
    if (format == DFX__PANELS)
        return ((o / 32 * taps + t) * inputs + i) * 32 + o % 32;
    return (((o / 32 * taps + t) * ((inputs + 1) / 2) + i / 2) * 32 + o % 32) * 2 + i % 2;
}

static float load(const void *packed, dfx_dtype dtype, size_t i)
{
    float v;
    dfx__to_f32(&v, (const char *)packed + i * dfx_dtype_size(dtype), dtype, 1);
    return v;
}

/* Numbers that are not where they should be; what nothing was put into has to be 0. */
static int misplaced(const dfx_spec *s, dfx__format format, dfx_dtype dtype, void *packed)
{
    size_t n = dfx__packed_bytes(s, format, dtype) / dfx_dtype_size(dtype);
    size_t inputs = (size_t)s->dim[1], taps = dfx__elements(s) / (size_t)s->dim[0] / inputs;
    int wrong = 0;
    for (size_t k = 0; k < dfx__elements(s); k++) {
        size_t at = place_of(s, format, k / taps / inputs, k / taps % inputs, k % taps);
        wrong += load(packed, dtype, at) != number(k);
        memset((char *)packed + at * dfx_dtype_size(dtype), 0, dfx_dtype_size(dtype));
    }
    for (size_t i = 0; i < n; i++)
        wrong += load(packed, dtype, i) != 0;
    return wrong;
}

static void test_shape(const dfx_spec *shape, dfx_dtype file, dfx_dtype dtype, dfx__format format)
{
    static const char *const formats[] = { "plain", "panels", "rows", "panels of pairs" };
    dfx_spec s = *shape;
    char text[DFX__SHAPE_TEXT];
    s.dtype = file;
    size_t n = dfx__elements(&s), bytes = dfx__packed_bytes(&s, format, dtype);
    float *numbers = malloc(n * sizeof *numbers);
    void *data = malloc(n * dfx_dtype_size(file)), *packed = malloc(bytes);
    for (size_t i = 0; i < n; i++)
        numbers[i] = number(i);
    dfx__from_f32(data, file, numbers, n);
    memset(packed, 0xff, bytes);
    dfx_weight w = { .name = "w", .spec = s, .data = data };
    dfx_status status = dfx__pack(packed, format, dtype, &w);
    int wrong = misplaced(&s, format, dtype, packed);
    ok(status == DFX_OK && wrong == 0, "%s of %s to %s of %s: %d wrong",
       dfx__shape_text(text, s.rank, s.dim), dfx_dtype_name(file), formats[format],
       dfx_dtype_name(dtype), wrong);
    free(numbers);
    free(data);
    free(packed);
}

/* A NaN or infinity is found wherever it lies. */
static void test_not_finite(void)
{
    enum { OUTPUTS = 37, INPUTS = 203 };
    static float data[OUTPUTS * INPUTS];
    static uint16_t packed[2 * 32 * (INPUTS + 1)];
    dfx_weight w = { .name = "w", .spec = { DFX_F32, 2, { OUTPUTS, INPUTS } }, .data = data };
    int missed = 0;
    for (int i = 0; i < OUTPUTS * INPUTS; i += 97)
        for (int format = DFX__PLAIN; format <= DFX__PANELS_PAIRS; format++) {
            data[i] = i % 2 ? NAN : -INFINITY;
            missed += dfx__pack(packed, format, DFX_BF16, &w) != DFX_ERROR_FORMAT;
            data[i] = 0;
        }
    ok(missed == 0, "%d numbers that are not finite were packed", missed);
}

int main(void)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dfx_dtype file = DFX_F32; file <= DFX_BF16; file++)
            for (dfx_dtype dtype = DFX_F32; dtype <= DFX_BF16; dtype++)
                for (int format = DFX__PLAIN; format <= DFX__ROWS; format++)
                    test_shape(&shapes[i], file, dtype, (dfx__format)format);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dfx_dtype file = DFX_F32; file <= DFX_BF16; file++)
            test_shape(&shapes[i], file, DFX_BF16, DFX__PANELS_PAIRS);
    test_not_finite();
    return done();
}
