/* common.cl - stands before every program: storage types and what several kernels share.
 * DTYPE: how activations are stored (0 f32, 1 f16, 2 bf16), WTYPE: how weights are, where that is
 * narrower; arithmetic is in f32. */

#define WORK_GROUP(x, y, z) __kernel __attribute__((reqd_work_group_size(x, y, z)))

/* 16 numbers where they lie, aligned as one is: PoCL's compiler makes up to 16 instructions of
 * vload16 and vstore16. */
typedef float16 __attribute__((aligned(4))) FLOATS;
typedef ushort16 __attribute__((aligned(2))) SHORTS;
#define LOAD_FLOATS(p) (*(__global const FLOATS *)(p))
#define STORE_FLOATS(p, v) (*(__global FLOATS *)(p) = (v))

/* Asks for the line of memory at p, FETCH_FAR into the second-level cache. OpenCL's prefetch() does
 * nothing in PoCL, whose target is the host. */
#if defined __x86_64__ || defined __aarch64__
#define FETCH(p) __builtin_prefetch((const void *)(size_t)(p))
#define FETCH_FAR(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#else
#define FETCH(p)
#define FETCH_FAR(p)
#endif

#if DTYPE == 0

typedef float T;
#define LOAD(p, i) ((p)[i])
#define LOADV4(p, i) vload4(0, (p) + (i))
#define LOADV8(p, i) vload8(0, (p) + (i))
#define LOADV16(p, i) LOAD_FLOATS((p) + (i))
#define STORE(p, i, v) ((p)[i] = (v))
#define STOREV4(p, i, v) vstore4(v, 0, (p) + (i))
#define STOREV8(p, i, v) vstore8(v, 0, (p) + (i))
#define STOREV16(p, i, v) STORE_FLOATS((p) + (i), v)

#elif DTYPE == 1

typedef half T;
#define LOAD(p, i) vload_half(i, p)
#define LOADV4(p, i) vload_half4(0, (p) + (i))
#define LOADV8(p, i) vload_half8(0, (p) + (i))
#define LOADV16(p, i) vload_half16(0, (p) + (i))
#define STORE(p, i, v) vstore_half_rte(v, i, p)
#define STOREV4(p, i, v) vstore_half4_rte(v, 0, (p) + (i))
#define STOREV8(p, i, v) vstore_half8_rte(v, 0, (p) + (i))
#define STOREV16(p, i, v) vstore_half16_rte(v, 0, (p) + (i))

#else

typedef ushort T;
/* bf16 is the upper half of an f32; stored rounded half to even, NaN stays NaN. */
#define BF16_BITS(u, n) convert_ushort##n((u + 0x7fffu + (u >> 16 & 1u)) >> 16)
ushort bf16_store1(float v)
{
    uint u = as_uint(v);
    return isnan(v) ? (ushort)(u >> 16 | 0x40u) : BF16_BITS(u, );
}
#define BF16_STORE(n)                                                                          \
    ushort##n bf16_store##n(float##n v)                                                        \
    {                                                                                          \
        uint##n u = as_uint##n(v);                                                             \
        return select(BF16_BITS(u, n), convert_ushort##n(u >> 16 | 0x40u),                     \
                      convert_short##n(isnan(v)));                                             \
    }
BF16_STORE(4)
BF16_STORE(8)
BF16_STORE(16)
#define LOAD(p, i) as_float((uint)(p)[i] << 16)
#define LOADV4(p, i) as_float4(convert_uint4(vload4(0, (p) + (i))) << 16)
#define LOADV8(p, i) as_float8(convert_uint8(vload8(0, (p) + (i))) << 16)
#define LOADV16(p, i)                                                                          \
    as_float16(convert_uint16(*(__global const SHORTS *)((p) + (i))) << 16)
#define STORE(p, i, v) ((p)[i] = bf16_store1(v))
#define STOREV4(p, i, v) vstore4(bf16_store4(v), 0, (p) + (i))
#define STOREV8(p, i, v) vstore8(bf16_store8(v), 0, (p) + (i))
#define STOREV16(p, i, v) (*(__global SHORTS *)((p) + (i)) = bf16_store16(v))

#endif

/* Weights in panels: elements W. */
#if !defined WTYPE || WTYPE == DTYPE
typedef T W;
#define LOADW(p, i) LOAD(p, i)
#define LOADWV4(p, i) LOADV4(p, i)
#define LOADWV16(p, i) LOADV16(p, i)
#elif WTYPE == 1
typedef half W;
#define LOADW(p, i) vload_half(i, p)
#define LOADWV4(p, i) vload_half4(0, (p) + (i))
#define LOADWV16(p, i) vload_half16(0, (p) + (i))
#else
typedef ushort W;
#define LOADW(p, i) as_float((uint)(p)[i] << 16)
#define LOADWV4(p, i) as_float4(convert_uint4(vload4(0, (p) + (i))) << 16)
#define LOADWV16(p, i)                                                                         \
    as_float16(convert_uint16(*(__global const SHORTS *)((p) + (i))) << 16)
#endif

#define SILU(x) ((x) / (1.0f + exp(-(x))))
#define QUICK_GELU(x) ((x) / (1.0f + exp(-1.702f * (x))))
#define RELU(x) max(x, 0.0f)

/* x tanh(ln(1 + e^x)), with s = e^2 + 2 e */
#define MISH_OF(x, s) ((x) * (s) / ((s) + 2.0f))
#define MISH_EXP(x) exp(min(x, 20.0f))
#define MISH(x) MISH_OF(x, MISH_EXP(x) * (MISH_EXP(x) + 2.0f))

/* erf as a quotient of polynomials in its square (tests/gen/erf.py), within 4e-7: the built-in one
 * is several times slower on CPUs. */
#define ERF_TOP(s)                                                                             \
    (((((((s) * 1.92169889e-08f - 1.99030546e-06f) * (s) + 0.00015553608f) * (s) +             \
         0.00429305108f) * (s) + 0.0524334945f) * (s) + 0.213944867f) * (s) + 1.12837863f)
#define ERF_BOTTOM(s)                                                                          \
    (((((s) * 0.00109803514f + 0.0155511005f) * (s) + 0.12079969f) * (s) + 0.522931337f) *     \
         (s) + 1.0f)
#define ERF(x) ((x) * ERF_TOP((x) * (x)) / ERF_BOTTOM((x) * (x)))
#define GELU(x) (0.5f * (x) * (1.0f + ERF(clamp((x) * M_SQRT1_2_F, -4.0f, 4.0f))))
