/* slice.c - some entries of one dimension; its kernel is cl/slice.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { X };
enum { AXIS, START, COUNT };

dfx_value *dfx_slice(dfx_value *x, int axis, int64_t start, int64_t count)
{
    return dfx__record(&dfx__slice, DFX__IN(x), DFX__INTS(axis, start, count), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    int64_t axis = c->i[AXIS], start = c->i[START], count = c->i[COUNT];
    char shape[DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, X))
        return;
    if (axis < 0 || axis >= x->rank)
        dfx__call_fail(c, "x %s has no dimension %lld", dfx__shape_text(shape, x->rank, x->dim),
                       (long long)axis);
    else if (start < 0 || count < 1 || count > x->dim[axis] || start > x->dim[axis] - count)
        dfx__call_fail(c, "%lld entries from %lld on do not lie in dimension %lld of x %s",
                       (long long)count, (long long)start, (long long)axis,
                       dfx__shape_text(shape, x->rank, x->dim));
    else
        c->out->spec.dim[axis] = count;
}

/* x [outer, from] -> [outer, n], from `start` on. */
struct rows {
    int64_t outer, from, n, start;
};

static struct rows rows_of(const dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    int64_t outer = 1, inner = 1, axis = c->i[AXIS];
    for (int64_t d = 0; d < axis; d++)
        outer *= x->dim[d];
    for (int64_t d = axis + 1; d < x->rank; d++)
        inner *= x->dim[d];
    return (struct rows){ outer, x->dim[axis] * inner, c->i[COUNT] * inner, c->i[START] * inner };
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    struct rows r = rows_of(c);
    dfx__rows_kernel(l, "slice", "slice", dfx__pieces(r.n), r.outer, "");
    dfx__arg_int(l, r.n);
    dfx__arg_int(l, r.from);
    dfx__arg_int(l, r.start);
    dfx__arg_int(l, DFX__PIECE);
    dfx__arg_in(l, X);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    struct rows r = rows_of(c);
    int64_t pieces = dfx__pieces(r.n);
    size_t size = dfx_dtype_size(c->out->spec.dtype);
#pragma omp parallel for
    for (int64_t p = 0; p < r.outer * pieces; p++) {
        int64_t row = p / pieces, at = p % pieces * DFX__PIECE;
        memcpy((char *)h->out + (size_t)(row * r.n + at) * size,
               (const char *)h->in[X] + (size_t)(row * r.from + r.start + at) * size,
               dfx__piece(r.n, at) * size);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,17" }, { 1, 3, 1 }, { 0 } },
    { { "3,17,31" }, { 1, 16, 1 }, { 0 } },
    { { "3,17,31" }, { 2, 1, 30 }, { 0 } },
    { { "4,5,6,77" }, { 0, 2, 2 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__slice = { "slice", infer, NULL, &cpu, cl, cases, 0 };
