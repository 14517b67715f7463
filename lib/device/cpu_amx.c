/* cpu_amx.c - products of bf16 in pairs by Intel's AMX: a tile of 16 rows and 32 columns is two of
 * its tile registers. A panel in pairs lies as the instruction wants it. The rest is AVX-512's. */
#include "device/cpu_tile.h"

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ROWS = 16,
    STEP = 16,                    /* pairs of a tile register's row */
    LINE = DFX__TILE_COLUMNS * 4, /* bytes of a row of sums, and of a panel's line */
    PART_ROWS = 8                 /* of AVX-512's tiles */
};
/* Tile registers; the intrinsics paste the numbers into the instruction. */
#define SUMS0 0
#define SUMS1 1
#define PIXELS 2
#define WEIGHTS0 3
#define WEIGHTS1 4

/* As LDTILECFG reads it: palette 1, and of each tile register the rows and the bytes of a row. */
struct config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static const struct config config = {
    .palette = 1,
    .bytes = { 64, 64, 64, 64, 64 },
    .rows = { ROWS, ROWS, ROWS, STEP, STEP },
};

/* Bytes from each row to the next, or 0 where they differ. */
static ptrdiff_t distance(const uint16_t *const *row)
{
    ptrdiff_t first = (const char *)row[1] - (const char *)row[0];
    for (int r = 2; r < ROWS; r++)
        if ((const char *)row[r] - (const char *)row[r - 1] != first)
            return 0;
    return first;
}

/* The compiler does not know that tile registers are loaded from memory and stored to it. */
static inline void order_memory(void)
{
    __asm__ volatile("" : : : "memory");
}

static void add_steps(float *acc, const uint16_t *const *row, const uint16_t *panel, size_t pairs)
{
    ptrdiff_t apart = distance(row);
    uint16_t room[ROWS][2 * STEP];
    order_memory();
    _tile_loadconfig(&config);
    _tile_loadd(SUMS0, acc, LINE);
    _tile_loadd(SUMS1, acc + DFX__TILE_COLUMNS / 2, LINE);
    for (size_t p = 0; p < pairs; p += STEP, panel += STEP * 2 * DFX__TILE_COLUMNS) {
        if (apart) {
            _tile_loadd(PIXELS, row[0] + 2 * p, apart);
        } else {
            for (int r = 0; r < ROWS; r++)
                memcpy(room[r], row[r] + 2 * p, sizeof room[r]);
            order_memory();
            _tile_loadd(PIXELS, room, sizeof room[0]);
        }
        _tile_loadd(WEIGHTS0, panel, LINE);
        _tile_loadd(WEIGHTS1, panel + DFX__TILE_COLUMNS, LINE);
        _tile_dpbf16ps(SUMS0, PIXELS, WEIGHTS0);
        _tile_dpbf16ps(SUMS1, PIXELS, WEIGHTS1);
    }
    _tile_stored(SUMS0, acc, LINE);
    _tile_stored(SUMS1, acc + DFX__TILE_COLUMNS / 2, LINE);
    _tile_release();
    order_memory();
}

static void tile_pairs(float *acc, const float *first, const uint16_t *const *row,
                       const uint16_t *panel, size_t pairs)
{
    size_t whole = pairs / STEP * STEP;
    const uint16_t *rest[ROWS];
    if (whole > 0) {
        for (int r = 0; first && r < ROWS; r++)
            memcpy(acc + r * DFX__TILE_COLUMNS, first, LINE);
        add_steps(acc, row, panel, whole);
        first = NULL;
    }
    if (whole == pairs)
        return;
    for (int r = 0; r < ROWS; r++)
        rest[r] = row[r] + 2 * whole;
    for (int r = 0; r < ROWS; r += PART_ROWS)
        dfx__cpu_avx512bf16.tile_pairs(acc + r * DFX__TILE_COLUMNS, first, rest + r,
                                       panel + whole * 2 * DFX__TILE_COLUMNS, pairs - whole);
}

static void tile(float *acc, const float *first, const float *const *row, const float *panel,
                 size_t k)
{
    for (int r = 0; r < ROWS; r += PART_ROWS)
        dfx__cpu_avx512bf16.tile(acc + r * DFX__TILE_COLUMNS, first, row + r, panel, k);
}

struct dfx__cpu_kernels dfx__cpu_amx = {
    .name = "amx",
    .rows = ROWS,
    .tile = tile,
    .tile_pairs = tile_pairs,
};

static int may_run;

/* The system keeps the tile registers of processes that ask for them. */
static void start(void)
{
    enum {
        ARCH_REQ_XCOMP_PERM = 0x1023,
        XFEATURE_XTILEDATA = 18,
        AMX_BF16 = 1 << 22,
        AMX_TILE = 1 << 24
    };
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE))
        may_run = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    dfx__cpu_amx.tile_packed_pairs = dfx__cpu_avx512bf16.tile_packed_pairs;
    dfx__cpu_amx.store_tile = dfx__cpu_avx512bf16.store_tile;
    dfx__cpu_amx.widen = dfx__cpu_avx512bf16.widen;
    dfx__cpu_amx.narrow = dfx__cpu_avx512bf16.narrow;
    dfx__cpu_amx.math = dfx__cpu_avx512bf16.math;
    dfx__cpu_amx.attention = dfx__cpu_avx512bf16.attention;
    dfx__cpu_amx.winograd = dfx__cpu_avx512bf16.winograd;
}

int dfx__cpu_runs_amx(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    return may_run;
}
