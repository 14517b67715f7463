/* mma.cl - NVIDIA's tensor cores for f16 and bf16 with sums in f32, by instructions of PTX that GPUs of
 * compute capability 8.0 and later have: cp.async, ldmatrix and mma.sync.m16n8k16 (mma_tile.cl,
 * attention_mma.cl).
 *
 * A warp's work-items, its lanes, share matrices. Of the sums of 16 rows and 8 columns a lane has
 * columns 2 (lane % 4) and the next of row lane / 4, then of row lane / 4 + 8. */

#if DTYPE == 1
#define MMA_TYPES "f32.f16.f16.f32"
#define CONVERT_PAIR "cvt.rn.f16x2.f32"
#define LOAD2(p, at) vload_half2(0, (p) + (at))
#else
#define MMA_TYPES "f32.bf16.bf16.f32"
#define CONVERT_PAIR "cvt.rn.bf16x2.f32"
#define LOAD2(p, at) (float2)(LOAD(p, at), LOAD(p, (at) + 1))
#endif

/* Two numbers as they are stored, the first in the lower half. */
static inline uint pack(float2 v)
{
    uint pair;
    __asm__(CONVERT_PAIR " %0, %1, %2;" : "=r"(pair) : "f"(v.s1), "f"(v.s0));
    return pair;
}

static inline int lane(void)
{
    return get_local_id(0) % 32;
}

/* PTX addresses local memory with 32 bits. */
#define ADDRESS(p) ((uint)(size_t)(p))

/* Copies 16 bytes in the background, or writes zeros. */
static inline void copy(__local uint4 *to, __global const T *from, int present)
{
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :
                     : "r"(ADDRESS(to)), "l"((ulong)from), "r"(present ? 16 : 0)
                     : "memory");
}

/* Ends a step's copies, and waits until those of all steps but the `newest` are there. */
static inline void end_copies(void)
{
    __asm__ volatile("cp.async.commit_group;" : : : "memory");
}

#define WAIT_COPIES(newest) __asm__ volatile("cp.async.wait_group %0;" : : "n"(newest) : "memory")

/* Four matrices of 8 x 8; a lane names the line of one. TRANS: transposed. */
#define LOAD_MATRICES(v, p, TRANS)                                                                 \
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4" TRANS ".shared.b16 {%0, %1, %2, %3}, [%4];"   \
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])                              \
                     : "r"(ADDRESS(p))                                                             \
                     : "memory")

/* c += a b */
static inline void mma(float c[4], const uint a[4], uint b0, uint b1)
{
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col." MMA_TYPES
                     " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
