/* dtype.c - element types and their conversions. */
#include "core/dtype.h"

#include "core/status.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [DFX_F32] = { "f32", 4 },   [DFX_F16] = { "f16", 2 }, [DFX_BF16] = { "bf16", 2 },
    [DFX_F64] = { "f64", 8 },   [DFX_I64] = { "i64", 8 }, [DFX_I32] = { "i32", 4 },
    [DFX_I16] = { "i16", 2 },   [DFX_I8] = { "i8", 1 },   [DFX_U8] = { "u8", 1 },
    [DFX_BOOL] = { "bool", 1 },
};

size_t dfx_dtype_size(dfx_dtype dtype)
{
    return types[dtype].size;
}

const char *dfx_dtype_name(dfx_dtype dtype)
{
    return types[dtype].name;
}

dfx_status dfx_dtype_parse(dfx_dtype *out, const char *name)
{
    static const struct {
        const char *name;
        dfx_dtype dtype;
    } names[] = {
        { "f32", DFX_F32 },  { "float32", DFX_F32 }, { "fp32", DFX_F32 },  { "f16", DFX_F16 },
        { "fp16", DFX_F16 }, { "float16", DFX_F16 }, { "bf16", DFX_BF16 }, { "bfloat16", DFX_BF16 },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) {
            *out = names[i].dtype;
            return DFX_OK;
        }
    return dfx__fail(DFX_ERROR_ARGUMENT, "dtype '%s' is unknown (f32, f16, bf16)", name);
}

int dfx__dtype_is_float(dfx_dtype dtype)
{
    return dtype == DFX_F32 || dtype == DFX_F16 || dtype == DFX_BF16;
}

float dfx__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff, u;
    if (exponent == 31)
        u = sign | 0x7f800000 | fraction << 13;
    else if (exponent)
        u = sign | (exponent + 112) << 23 | fraction << 13;
    else {
        float f = (float)fraction * 0x1p-24f; /* zero and denormals */
        return sign ? -f : f;
    }
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t dfx__f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (a >= 0x477ff000) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x38800000) { /* denormal: let the adder round */
        float magnitude;
        memcpy(&magnitude, &a, sizeof magnitude);
        magnitude += 0.5f;
        uint32_t bits;
        memcpy(&bits, &magnitude, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    return (uint16_t)(sign | ((a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13));
}

/* Element i of a type of 2, 4 or 8 bytes, where it need not be aligned. */
static inline uint16_t load16(const void *from, size_t i)
{
    uint16_t v;
    memcpy(&v, (const char *)from + i * sizeof v, sizeof v);
    return v;
}

static inline uint32_t load32(const void *from, size_t i)
{
    uint32_t v;
    memcpy(&v, (const char *)from + i * sizeof v, sizeof v);
    return v;
}

static inline uint64_t load64(const void *from, size_t i)
{
    uint64_t v;
    memcpy(&v, (const char *)from + i * sizeof v, sizeof v);
    return v;
}

static inline double load_double(const void *from, size_t i)
{
    double v;
    memcpy(&v, (const char *)from + i * sizeof v, sizeof v);
    return v;
}

void dfx__to_f32(float *to, const void *from, dfx_dtype dtype, size_t n)
{
    switch (dtype) {
    case DFX_F32:
        memcpy(to, from, n * sizeof *to);
        break;
    case DFX_F16:
        for (size_t i = 0; i < n; i++)
            to[i] = dfx__f16_to_f32(load16(from, i));
        break;
    case DFX_BF16:
        for (size_t i = 0; i < n; i++)
            to[i] = dfx__bf16_to_f32(load16(from, i));
        break;
    case DFX_F64:
        for (size_t i = 0; i < n; i++)
            to[i] = (float)load_double(from, i);
        break;
    case DFX_I64:
        for (size_t i = 0; i < n; i++)
            to[i] = (float)(int64_t)load64(from, i);
        break;
    case DFX_I32:
        for (size_t i = 0; i < n; i++)
            to[i] = (float)(int32_t)load32(from, i);
        break;
    case DFX_I16:
        for (size_t i = 0; i < n; i++)
            to[i] = (int16_t)load16(from, i);
        break;
    case DFX_I8:
        for (size_t i = 0; i < n; i++)
            to[i] = ((const int8_t *)from)[i];
        break;
    case DFX_U8:
    case DFX_BOOL:
        for (size_t i = 0; i < n; i++)
            to[i] = ((const uint8_t *)from)[i];
        break;
    }
}

void dfx__from_f32(void *to, dfx_dtype dtype, const float *from, size_t n)
{
    uint16_t *half = to;
    if (dtype == DFX_F32)
        memcpy(to, from, n * sizeof *from);
    else if (dtype == DFX_F16)
        for (size_t i = 0; i < n; i++)
            half[i] = dfx__f32_to_f16(from[i]);
    else
        for (size_t i = 0; i < n; i++)
            half[i] = dfx__f32_to_bf16(from[i]);
}

/* A number whose exponent is all ones is NaN or infinite; adding one to it then carries into the
 * sign's place. Goes through the numbers 8 bytes at a time. */
int dfx__is_finite(const void *from, dfx_dtype dtype, size_t n)
{
    static const struct {
        uint64_t exponent, one, sign;
    } masks[] = {
        [DFX_F32] = { 0x7f8000007f800000, 0x0080000000800000, 0x8000000080000000 },
        [DFX_F16] = { 0x7c007c007c007c00, 0x0400040004000400, 0x8000800080008000 },
        [DFX_BF16] = { 0x7f807f807f807f80, 0x0080008000800080, 0x8000800080008000 },
        [DFX_F64] = { 0x7ff0000000000000, 0x0010000000000000, 0x8000000000000000 },
    };
    if (!dfx__dtype_is_float(dtype) && dtype != DFX_F64)
        return 1;
    size_t bytes = n * dfx_dtype_size(dtype), words = bytes / sizeof(uint64_t);
    uint64_t last = 0, carries = 0;
    memcpy(&last, (const char *)from + words * sizeof last, bytes % sizeof last);
    for (size_t i = 0; i <= words; i++)
        carries |=
            ((i < words ? load64(from, i) : last) & masks[dtype].exponent) + masks[dtype].one;
    return !(carries & masks[dtype].sign);
}

size_t dfx__elements(const dfx_spec *spec)
{
    size_t n = 1;
    for (int i = 0; i < spec->rank; i++)
        n *= (size_t)spec->dim[i];
    return n;
}

size_t dfx__spec_bytes(const dfx_spec *spec)
{
    return dfx__elements(spec) * dfx_dtype_size(spec->dtype);
}

const char *dfx__shape_text(char text[DFX__SHAPE_TEXT], int rank, const int64_t *dim)
{
    int n = snprintf(text, DFX__SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, (size_t)(DFX__SHAPE_TEXT - n), i ? ", %lld" : "%lld",
                      (long long)dim[i]);
    snprintf(text + n, (size_t)(DFX__SHAPE_TEXT - n), "]");
    return text;
}
