/* tiled.c - launches of the tiled kernels, cl/linear_tiled.cl and cl/conv2d_tiled.cl, and which
 * size of tiles suits a device and a call. */
#include "op/tiled.h"

#include "op/conv2d.h"
#include "op/linear.h"
#include "op/oplist.h"

/* Options of cl/tile.cl: work-items of a group, numbers of a work-item, elements of a step. */
struct tier {
    int items_x, items_y, rows, columns, depth;
};

enum { SMALL, MIDDLE, LARGE, HUGE };

/* 32 x 32 for devices with groups of 64 and for small calls, 64 x 64 for phones, 128 x 64, and
 * 128 x 128, which has the fewest loads for each product but needs 100 registers: Intel's compiler
 * puts some of them into memory, and no query tells. */
static const struct tier tiers[] = {
    [SMALL] = { 8, 8, 4, 4, 8 },
    [MIDDLE] = { 16, 16, 4, 4, 16 },
    [LARGE] = { 16, 16, 8, 4, 16 },
    [HUGE] = { 16, 16, 8, 8, 8 },
};

/* With DFX_GEGLU, where a work-item has columns of both halves. */
static const struct tier gated_tiers[] = {
    [SMALL] = { 8, 8, 4, 8, 8 },
    [MIDDLE] = { 8, 16, 4, 8, 16 },
    [LARGE] = { 16, 16, 4, 8, 16 },
    [HUGE] = { 16, 16, 8, 8, 8 },
};

/* Local memory of devices whose work-items have 80 registers and more: phones have 32 KiB. */
enum { DESKTOP_LOCAL_MEMORY = 48 << 10 };

static int is_gated(const dfx_call *c)
{
    return dfx__activation(c) == DFX_GEGLU;
}

static const struct tier *tier_of(const dfx_call *c, int n)
{
    return is_gated(c) ? &gated_tiers[n] : &tiers[n];
}

/* Groups in the direction of the outputs, and of the rows. */
static int64_t tiles_across(const dfx_call *c, const struct tier *t)
{
    int outputs = t->items_x * t->columns / (is_gated(c) ? 2 : 1);
    return (dfx__channels(&c->out->spec) + outputs - 1) / outputs;
}

static int64_t tiles_down(const dfx_call *c, const struct tier *t)
{
    int rows = t->items_y * t->rows;
    return (dfx__rows(&c->out->spec) + rows - 1) / rows;
}

/* Whether the device has what a group needs; as the kernels, with 4 numbers of padding for each
 * line of the step. */
static int fits(const dfx_device *d, const struct tier *t)
{
    int line = t->items_x * t->columns + t->items_y * t->rows + 4;
    return (size_t)(t->items_x * t->items_y) <= d->info.max_group &&
           sizeof(float) * (size_t)(t->depth * line) <= d->info.local_memory;
}

/* Whether a tier is worth trying: the device has the registers, and the call work for all of it. */
static int suits(const dfx_call *c, const dfx_device *d, int n)
{
    const struct tier *t = tier_of(c, n);
    return fits(d, t) && (n <= MIDDLE || d->info.local_memory >= DESKTOP_LOCAL_MEMORY) &&
           tiles_across(c, t) * tiles_down(c, t) >= d->info.units;
}

static int takes(const dfx_call *c, const dfx_device *d, int n)
{
    if ((c->op == &dfx__conv2d && c->i[GROUPS] != 1) || !fits(d, tier_of(c, n)))
        return 0;
    if (d->vector_width > 1) /* the vector kernels are faster, and one size is compiled sooner */
        return n == SMALL ? DFX__LAST : 0;
    return suits(c, d, n) || (n == SMALL && !suits(c, d, MIDDLE)) ? 1 : DFX__ASKED;
}

/* Rows of x and of the result begin at multiples of 4 elements. */
static int is_aligned(const dfx_call *c)
{
    return dfx__channels(&c->in[X]->spec) % 4 == 0 && dfx__channels(&c->out->spec) % 4 == 0;
}

static void common_launch(const dfx_call *c, dfx__launches *l, const struct tier *t,
                          const char *program)
{
    dfx__kernel(l, program, program,
                "-DITEMS_X=%d -DITEMS_Y=%d -DROWS=%d -DCOLUMNS=%d -DDEPTH=%d -DACTIVATION=%d%s",
                t->items_x, t->items_y, t->rows, t->columns, t->depth, (int)dfx__activation(c),
                is_aligned(c) ? " -DALIGNED" : "");
    dfx__grid(l, tiles_across(c, t) * tiles_down(c, t) * t->items_x, t->items_y, 1, t->items_x,
              t->items_y, 1);
    dfx__arg_in(l, X);
    dfx__arg_in(l, WEIGHT);
    dfx__arg_in(l, BIAS);
    dfx__arg_in(l, CHANNELS);
    dfx__arg_in(l, ADD);
    dfx__arg_out(l);
    dfx__arg_int(l, dfx__rows(&c->out->spec));
    dfx__arg_int(l, c->in[WEIGHT]->spec.dim[0]);
    dfx__arg_int(l, dfx__channels(&c->out->spec));
    dfx__arg_int(l, dfx__image_rows(c));
}

static void launch_linear(const dfx_call *c, dfx__launches *l, const struct tier *t)
{
    common_launch(c, l, t, "linear_tiled");
    dfx__arg_int(l, dfx__channels(&c->in[X]->spec));
}

static void launch_conv2d(const dfx_call *c, dfx__launches *l, const struct tier *t)
{
    const dfx_spec *x = &c->in[X]->spec, *w = &c->in[WEIGHT]->spec, *out = &c->out->spec;
    common_launch(c, l, t, "conv2d_tiled");
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
    if (c->op == &dfx__conv2d && !dfx__conv2d_is_linear(c))
        launch_conv2d(c, l, tier_of(c, n));
    else
        launch_linear(c, l, tier_of(c, n));
}

int dfx__takes_tiled_small(const dfx_call *c, const dfx_device *d)
{
    return takes(c, d, SMALL);
}

int dfx__takes_tiled_middle(const dfx_call *c, const dfx_device *d)
{
    return takes(c, d, MIDDLE);
}

int dfx__takes_tiled_large(const dfx_call *c, const dfx_device *d)
{
    return takes(c, d, LARGE);
}

int dfx__takes_tiled_huge(const dfx_call *c, const dfx_device *d)
{
    return takes(c, d, HUGE);
}

void dfx__tiled_small(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, SMALL);
}

void dfx__tiled_middle(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, MIDDLE);
}

void dfx__tiled_large(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, LARGE);
}

void dfx__tiled_huge(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, HUGE);
}
