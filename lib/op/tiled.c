/* tiled.c - launches of the kernels in tiles, cl/linear_tiled.cl and cl/conv2d_tiled.cl for any
 * device and cl/linear_mma.cl and cl/conv2d_mma.cl for tensor cores, and which size of tiles suits
 * a device and a call. */
#include "op/tiled.h"

#include "op/conv2d.h"
#include "op/linear.h"
#include "op/oplist.h"

/* A kernel's options, and what they mean. */
struct tier {
    int is_mma; /* a kernel for tensor cores */
    const char *options;
    int items_x, items_y;    /* of a group */
    int rows, columns, step; /* of a tile, and elements of the sum that it takes at once */
    int local_memory;        /* bytes */
    int in_parts;
};

/* Bytes of local memory: two lines of floats with 4 of padding for each element of a step; stages
 * of lines of 32 halves. */
#define TILED(x, y, row, column, depth, parts)                                                     \
    {                                                                                              \
        0,                                                                                         \
            "-DITEMS_X=" #x " -DITEMS_Y=" #y " -DROWS=" #row " -DCOLUMNS=" #column                 \
            " -DDEPTH=" #depth,                                                                    \
            x, y, y *row, x *column, depth, 4 * depth *(x * column + y * row + 4), parts           \
    }
#define MMA(x, y, blocks, stages, parts)                                                           \
    {                                                                                              \
        1, "-DWARPS_X=" #x " -DWARPS_Y=" #y " -DBLOCKS=" #blocks " -DSTAGES=" #stages, 32 * x *y,  \
            1, 16 * y *blocks, 32 * x, 32, 64 * stages *(16 * y * blocks + 32 * x), parts          \
    }

#define TIER(name, scratch) TIER_##name,
enum { DFX__TILED(TIER) TIERS };

/* 32 x 32 for devices with groups of 64 and for small calls, 64 x 64 for phones, 128 x 64, and
 * 128 x 128, which has the fewest loads for each product but needs 100 registers: Intel's compiler
 * puts some of them into memory, and no query tells. */
static const struct tier tiers[TIERS] = {
    [TIER_tiled_small] = TILED(8, 8, 4, 4, 8, 0),
    [TIER_tiled_middle] = TILED(16, 16, 4, 4, 16, 0),
    [TIER_tiled_parts] = TILED(16, 16, 4, 4, 16, 1),
    [TIER_tiled_large] = TILED(16, 16, 8, 4, 16, 0),
    [TIER_tiled_huge] = TILED(16, 16, 8, 8, 8, 0),
    [TIER_mma_large] = MMA(4, 2, 4, 3, 0),
    [TIER_mma_middle] = MMA(2, 2, 2, 4, 0),
    [TIER_mma_parts] = MMA(2, 2, 2, 4, 1),
};

/* With DFX_GEGLU, where a work-item has columns of both halves. */
static const struct tier gated_tiers[TIERS] = {
    [TIER_tiled_small] = TILED(8, 8, 4, 8, 8, 0),
    [TIER_tiled_middle] = TILED(8, 16, 4, 8, 16, 0),
    [TIER_tiled_large] = TILED(16, 16, 4, 8, 16, 0),
};

enum {
    DESKTOP_LOCAL_MEMORY = 48 << 10, /* of devices whose work-items have 80 registers and more;
                                        phones have 32 KiB */
    MOST_PARTS = 16,
    LEAST_STEPS = 8,        /* of a part */
    GROUPS_OF_A_UNIT = 2,   /* that keep it busy */
    MOST_SCRATCH = 64 << 20 /* bytes of sums in parts */
};

static int is_gated(const dfx_call *c)
{
    return dfx__activation(c) == DFX_GEGLU;
}

static const struct tier *tier_of(const dfx_call *c, int n)
{
    return is_gated(c) && gated_tiers[n].options ? &gated_tiers[n] : &tiers[n];
}

/* Outputs of the tiles: sums in parts are not gated yet. */
static int64_t outputs_of(const dfx_call *c, const struct tier *t)
{
    return t->in_parts ? c->in[WEIGHT]->spec.dim[0] : dfx__channels(&c->out->spec);
}

/* Groups in the direction of the outputs, and of the rows. */
static int64_t tiles_across(const dfx_call *c, const struct tier *t)
{
    int64_t outputs = outputs_of(c, t);
    int64_t each = is_gated(c) && !t->in_parts ? t->columns / 2 : t->columns;
    return (outputs + each - 1) / each;
}

static int64_t tiles(const dfx_call *c, const struct tier *t)
{
    return tiles_across(c, t) * ((dfx__rows(&c->out->spec) + t->rows - 1) / t->rows);
}

/* Parts of each sum: so many that the groups are enough for the device. */
static int64_t parts(const dfx_call *c, const struct tier *t)
{
    const dfx_spec *w = &c->in[WEIGHT]->spec;
    int64_t taps = w->rank == 4 ? w->dim[2] * w->dim[3] : 1;
    int64_t steps = taps * ((w->dim[1] + t->step - 1) / t->step), all = tiles(c, t);
    int64_t wanted = (GROUPS_OF_A_UNIT * c->sequence->device->info.units + all - 1) / all;
    int64_t most = steps / LEAST_STEPS < MOST_PARTS ? steps / LEAST_STEPS : MOST_PARTS;
    return wanted < 2 || most < 2 ? 2 : wanted < most ? wanted : most;
}

static size_t scratch_of(const dfx_call *c, int n)
{
    const struct tier *t = tier_of(c, n);
    int64_t sums = dfx__rows(&c->out->spec) * c->in[WEIGHT]->spec.dim[0];
    return sizeof(float) * (size_t)(parts(c, t) * sums);
}

/* Whether the device has what a group needs, and the call what the kernel takes. */
static int is_possible(const dfx_call *c, const dfx_device *d, int n)
{
    const struct tier *t = tier_of(c, n);
    if (c->op == &dfx__conv2d && c->i[GROUPS] != 1)
        return 0;
    if ((size_t)(t->items_x * t->items_y) > d->info.max_group ||
        (size_t)t->local_memory > d->info.local_memory)
        return 0;
    if (t->in_parts && scratch_of(c, n) > MOST_SCRATCH)
        return 0;
    return !t->is_mma ||
           (c->out->spec.dtype != DFX_F32 && dfx__channels(&c->in[X]->spec) % 8 == 0 &&
            dfx__channels(&c->out->spec) % 2 == 0 &&
            dfx__has(c->sequence->device, DFX__TENSOR_CORES));
}

/* Whether a tier is worth trying: the device has the registers, and the call work for all of it, or
 * in parts not. */
static int suits(const dfx_call *c, const dfx_device *d, int n)
{
    const struct tier *t = tier_of(c, n);
    int64_t all = tiles(c, t);
    if (!is_possible(c, d, n))
        return 0;
    if (t->in_parts)
        return all < GROUPS_OF_A_UNIT * d->info.units;
    if (t->is_mma)
        return n == TIER_mma_middle || all >= d->info.units;
    if (n == TIER_tiled_small)
        return !suits(c, d, TIER_tiled_middle);
    return (n == TIER_tiled_middle || d->info.local_memory >= DESKTOP_LOCAL_MEMORY) &&
           all >= d->info.units;
}

/* Where there are tensor cores nothing else is worth trying. On devices with vectors the vector
 * kernels are faster, and one size is compiled sooner. */
static int accepts(const dfx_call *c, const dfx_device *d, int n)
{
    if (!is_possible(c, d, n))
        return 0;
    if (d->vector_width > 1)
        return n == TIER_tiled_small ? DFX__LAST : 0;
    if (!tier_of(c, n)->is_mma && is_possible(c, d, TIER_mma_middle))
        return DFX__ASKED;
    return suits(c, d, n) ? 1 : DFX__ASKED;
}

/* The option of tiles for any device that says whether rows of x and of the result begin at
 * multiples of 4 elements. */
static const char *alignment(const dfx_call *c, const struct tier *t)
{
    int64_t inputs = dfx__channels(&c->in[X]->spec), outputs = dfx__channels(&c->out->spec);
    return !t->is_mma && inputs % 4 == 0 && outputs % 4 == 0 ? " -DALIGNED" : "";
}

static void arg_epilogue(dfx__launches *l)
{
    dfx__arg_in(l, BIAS);
    dfx__arg_in(l, CHANNELS);
    dfx__arg_in(l, ADD);
    dfx__arg_out(l);
}

static void arg_sizes(const dfx_call *c, dfx__launches *l, int64_t outputs)
{
    dfx__arg_int(l, dfx__rows(&c->out->spec));
    dfx__arg_int(l, c->in[WEIGHT]->spec.dim[0]);
    dfx__arg_int(l, outputs);
}

static void launch_tiles(const dfx_call *c, dfx__launches *l, const struct tier *t,
                         const char *program)
{
    if (t->in_parts)
        dfx__kernel(l, program, program, "%s%s -DIN_PARTS", t->options, alignment(c, t));
    else
        dfx__kernel(l, program, program, "%s%s -DACTIVATION=%d", t->options, alignment(c, t),
                    (int)dfx__activation(c));
    int64_t count = t->in_parts ? parts(c, t) : 1;
    dfx__grid(l, tiles(c, t) * t->items_x, count * t->items_y, 1, t->items_x, t->items_y, 1);
    dfx__arg_in(l, X);
    dfx__arg_in(l, WEIGHT);
    if (t->in_parts)
        dfx__arg_scratch(l, 0, c->variant->scratch(c));
    else
        arg_epilogue(l);
    arg_sizes(c, l, outputs_of(c, t));
    if (!t->in_parts)
        dfx__arg_int(l, dfx__image_rows(c));
}

static void launch_sum(const dfx_call *c, dfx__launches *l, const struct tier *t)
{
    const dfx_spec *out = &c->out->spec;
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "add_parts", "add_parts", "-DACTIVATION=%d -DLANES=%d", (int)dfx__activation(c),
                lanes);
    dfx__grid(l, dfx__rows(out) * dfx__channels(out), 1, 1, lanes, 1, 1);
    dfx__arg_scratch(l, 0, c->variant->scratch(c));
    arg_epilogue(l);
    arg_sizes(c, l, dfx__channels(out));
    dfx__arg_int(l, dfx__image_rows(c));
    dfx__arg_int(l, parts(c, t));
}

static void arg_window(const dfx_call *c, dfx__launches *l)
{
    const dfx_spec *x = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec, *out = &c->out->spec;
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, x->dim[k]);
    dfx__arg_int(l, dfx__conv2d_height(c));
    dfx__arg_int(l, dfx__conv2d_width(c));
    dfx__arg_int(l, out->dim[1]);
    dfx__arg_int(l, out->dim[2]);
    dfx__arg_int(l, w->dim[2]);
    dfx__arg_int(l, w->dim[3]);
    dfx__arg_int(l, c->i[STRIDE]);
    dfx__arg_int(l, c->i[DILATION]);
    dfx__arg_int(l, c->i[TOP]);
    dfx__arg_int(l, c->i[LEFT]);
}

static void launch(const dfx_call *c, dfx__launches *l, int n)
{
    const struct tier *t = tier_of(c, n);
    if (c->op == &dfx__conv2d && !dfx__conv2d_is_linear(c)) {
        launch_tiles(c, l, t, t->is_mma ? "conv2d_mma" : "conv2d_tiled");
        arg_window(c, l);
    } else {
        launch_tiles(c, l, t, t->is_mma ? "linear_mma" : "linear_tiled");
        dfx__arg_int(l, dfx__channels(&c->in[X]->spec));
    }
    if (t->in_parts)
        launch_sum(c, l, t);
}

#define DEFINE(name, scratch)                                                                      \
    int dfx__tiled_accepts_##name(const dfx_call *c, const dfx_device *d)                          \
    {                                                                                              \
        return accepts(c, d, TIER_##name);                                                         \
    }                                                                                              \
    void dfx__tiled_launch_##name(const dfx_call *c, dfx__launches *l)                             \
    {                                                                                              \
        launch(c, l, TIER_##name);                                                                 \
    }
DFX__TILED(DEFINE)

size_t dfx__tiled_scratch_mma_parts(const dfx_call *c)
{
    return scratch_of(c, TIER_mma_parts);
}

size_t dfx__tiled_scratch_tiled_parts(const dfx_call *c)
{
    return scratch_of(c, TIER_tiled_parts);
}
