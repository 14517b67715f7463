/* launches.c - collecting the launches of a call. */
#include "sequence/launches.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dfx__launch *add_launch(dfx__launches *l)
{
    if (l->count == l->room) {
        int room = l->room ? 2 * l->room : 4;
        dfx__launch *launch = realloc(l->launch, (size_t)room * sizeof *launch);
        if (!launch) {
            l->status = dfx__no_memory();
            return NULL;
        }
        l->launch = launch;
        l->room = room;
    }
    dfx__launch *newest = &l->launch[l->count++];
    memset(newest, 0, sizeof *newest);
    return newest;
}

static void fail(dfx__launches *l, dfx_status status)
{
    if (l->status == DFX_OK)
        l->status = status;
}

/* As common.cl numbers them. */
static int dtype_number(dfx_dtype dtype)
{
    return dtype == DFX_F16 ? 1 : dtype == DFX_BF16 ? 2 : 0;
}

/* The dtype of the call's weight in panels, which may be narrower than the result's. */
static dfx_dtype weight_dtype(const dfx_call *c)
{
    for (int i = 0; i < DFX__MAX_INPUTS; i++)
        if (c->constant[i] && c->constant[i]->weight->spec.rank > 1)
            return c->constant[i]->dtype;
    return c->out->spec.dtype;
}

void dfx__kernel(dfx__launches *l, const char *program, const char *name, const char *options, ...)
{
    dfx__launch *newest = l->status == DFX_OK ? add_launch(l) : NULL;
    if (!newest)
        return;
    newest->kind = DFX__LAUNCH_KERNEL;
    newest->kernel.program = program;
    newest->kernel.name = name;
    dfx_dtype dtype = l->call->out->spec.dtype, weight = weight_dtype(l->call);
    char *to = newest->kernel.options;
    int n = snprintf(to, DFX__MAX_OPTIONS, "-DDTYPE=%d ", dtype_number(dtype));
    if (weight != dtype)
        n += snprintf(to + n, (size_t)(DFX__MAX_OPTIONS - n), "-DWTYPE=%d ", dtype_number(weight));
    va_list args;
    va_start(args, options);
    int more = vsnprintf(to + n, (size_t)(DFX__MAX_OPTIONS - n), options, args);
    va_end(args);
    if (more < 0 || more >= DFX__MAX_OPTIONS - n)
        fail(l, dfx__fail(DFX_ERROR_DEVICE, "kernel %s: its options are too long", name));
}

static dfx__arg *add_arg(dfx__launches *l)
{
    static dfx__arg nowhere; /* after a failure; never read */
    if (l->status != DFX_OK)
        return &nowhere;
    dfx__launch *newest = &l->launch[l->count - 1];
    if (newest->kernel.args == DFX__MAX_ARGS) {
        fail(l, dfx__fail(DFX_ERROR_DEVICE, "kernel %s: too many arguments", newest->kernel.name));
        return &nowhere;
    }
    return &newest->kernel.arg[newest->kernel.args++];
}

void dfx__arg_in(dfx__launches *l, int input)
{
    dfx__arg *a = add_arg(l);
    a->kind = DFX__ARG_PLACE;
    a->place = dfx__input_place(l->call, input);
}

void dfx__arg_out(dfx__launches *l)
{
    dfx__arg *a = add_arg(l);
    a->kind = DFX__ARG_PLACE;
    a->place = l->call->out->root->place;
}

/* With DFX_DEBUG=separate a part of the scratch memory is a buffer of its own. */
static dfx_status separate_part(dfx__place *out, dfx_call *c, size_t offset, size_t bytes)
{
    for (int i = 0; i < DFX__MAX_PARTS; i++) {
        dfx__place *part = &c->part[i];
        if (!part->buffer) {
            DFX__TRY(dfx__buffer_new(&part->buffer, c->sequence->device, bytes));
            part->offset = offset;
        }
        if (part->offset == offset) {
            *out = (dfx__place){ part->buffer, 0, part->buffer->bytes };
            return DFX_OK;
        }
    }
    return dfx__fail(DFX_ERROR_DEVICE, "%s: too many parts of scratch memory", c->op->name);
}

void dfx__arg_scratch(dfx__launches *l, size_t offset, size_t bytes)
{
    const dfx__place *scratch = &l->call->scratch;
    dfx__arg *a = add_arg(l);
    a->kind = DFX__ARG_PLACE;
    a->place = (dfx__place){ scratch->buffer, scratch->offset + offset, bytes };
    if (offset % l->call->sequence->device->alignment || offset + bytes > scratch->bytes)
        fail(l,
             dfx__fail(DFX_ERROR_DEVICE, "%s: its scratch memory is misplaced", l->call->op->name));
    else if (l->call->sequence->separate)
        fail(l, separate_part(&a->place, l->call, offset, bytes));
}

static dfx_status too_large(const dfx__launches *l, int64_t value)
{
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: %" PRId64
                     " is more than OpenCL kernels count, 2^31; a smaller picture or "
                     "batch is needed, or --device cpu",
                     l->call->op->name, value);
}

void dfx__arg_int(dfx__launches *l, int64_t value)
{
    dfx__arg *a = add_arg(l);
    a->kind = DFX__ARG_SCALAR;
    a->scalar.i = (int32_t)value;
    if (value > DFX__MAX_COUNT || value < -DFX__MAX_COUNT)
        fail(l, too_large(l, value));
}

void dfx__arg_float(dfx__launches *l, float value)
{
    dfx__arg *a = add_arg(l);
    a->kind = DFX__ARG_SCALAR;
    a->scalar.f = value;
}

int dfx__group(const dfx_call *c, int most)
{
    int n = DFX__LEAST_GROUP;
    while (2 * n <= most && (size_t)(2 * n) <= c->sequence->device->info.max_group)
        n *= 2;
    return n;
}

void dfx__grid(dfx__launches *l, int64_t gx, int64_t gy, int64_t gz, int lx, int ly, int lz)
{
    if (l->status != DFX_OK)
        return;
    dfx__launch *newest = &l->launch[l->count - 1];
    int64_t groups[3] = { gx / lx, gy / ly, gz / lz };
    for (int i = 0; i < 3; i++)
        if (groups[i] > DFX__MAX_COUNT)
            fail(l, too_large(l, groups[i]));
    newest->kernel.dims = 3;
    newest->kernel.global[0] = (size_t)gx;
    newest->kernel.global[1] = (size_t)gy;
    newest->kernel.global[2] = (size_t)gz;
    newest->kernel.local[0] = (size_t)lx;
    newest->kernel.local[1] = (size_t)ly;
    newest->kernel.local[2] = (size_t)lz;
}

void dfx__gemm(dfx__launches *l, int a, int b, dfx__products products)
{
    dfx__launch *newest = l->status == DFX_OK ? add_launch(l) : NULL;
    if (!newest)
        return;
    newest->kind = DFX__LAUNCH_GEMM;
    newest->gemm = products;
    newest->gemm.a.place = dfx__input_place(l->call, a);
    newest->gemm.b.place = dfx__input_place(l->call, b);
    newest->gemm.c.place = l->call->out->root->place;
}
