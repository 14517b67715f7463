/* add.c - sums: of values, and of an image and its channels' numbers; the kernel is cl/add.cl.
 *
 * Both are sums of rows: row r of a and row r / repeat % period of b. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { A, B };

dfx_value *dfx_add(dfx_value *a, dfx_value *b)
{
    return dfx__record(&dfx__add, DFX__IN(a, b), DFX__INTS(0), DFX__FLOATS(0));
}

dfx_value *dfx_add_channels(dfx_value *x, dfx_value *t)
{
    return dfx__record(&dfx__add_channels, DFX__IN(x, t), DFX__INTS(0), DFX__FLOATS(0));
}

static int same_type(dfx_call *c)
{
    dfx_dtype a = c->in[A]->spec.dtype, b = c->in[B]->spec.dtype;
    if (a != b)
        dfx__call_fail(c, "%s and %s cannot be added: dfx_cast one of them", dfx_dtype_name(a),
                       dfx_dtype_name(b));
    return a == b;
}

static void infer_add(dfx_call *c)
{
    const dfx_spec *a = &c->in[A]->spec, *b = &c->in[B]->spec;
    char shape[2][DFX__SHAPE_TEXT];
    c->out->spec = *a;
    if (!dfx__need_float(c, A) || !same_type(c))
        return;
    if (b->rank > a->rank ||
        memcmp(a->dim + a->rank - b->rank, b->dim, (size_t)b->rank * sizeof *b->dim) != 0)
        dfx__call_fail(c, "b %s is neither of a's shape %s nor of its last dimensions",
                       dfx__shape_text(shape[0], b->rank, b->dim),
                       dfx__shape_text(shape[1], a->rank, a->dim));
}

static void infer_channels(dfx_call *c)
{
    const dfx_spec *x = &c->in[A]->spec, *t = &c->in[B]->spec;
    char shape[2][DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, A) || !same_type(c))
        return;
    if (x->rank < 2 || t->rank != 2 || t->dim[0] != x->dim[0] || t->dim[1] != x->dim[x->rank - 1])
        dfx__call_fail(c, "t %s is not [N, C] of x %s", dfx__shape_text(shape[0], t->rank, t->dim),
                       dfx__shape_text(shape[1], x->rank, x->dim));
}

struct rows {
    int64_t n, length, repeat, period;
};

/* Which rows meet. Values of one shape are one row. */
static struct rows rows_of(const dfx_call *c)
{
    const dfx_spec *a = &c->in[A]->spec, *b = &c->in[B]->spec;
    struct rows r = { (int64_t)dfx__elements(a), dfx__channels(a), 1, dfx__rows(b) };
    if (c->op == &dfx__add_channels)
        r.repeat = dfx__rows(a) / a->dim[0];
    else if (dfx__elements(b) == dfx__elements(a))
        r = (struct rows){ r.n, r.n, 1, 1 };
    return r;
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    struct rows r = rows_of(c);
    if (r.length == r.n) {
        dfx__flat_kernel(l, "add", "add", "");
        r.period = DFX__MAX_COUNT;
    } else {
        dfx__rows_kernel(l, "add", "add", r.n / r.length, 1, "");
        dfx__arg_int(l, r.length);
        dfx__arg_int(l, r.length);
    }
    dfx__arg_int(l, r.repeat);
    dfx__arg_int(l, r.period);
    dfx__arg_in(l, A);
    dfx__arg_in(l, B);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    struct rows r = rows_of(c);
    int64_t pieces = dfx__pieces(r.length);
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t p = 0; p < r.n / r.length * pieces; p++) {
        int64_t row = p / pieces, at = p % pieces * DFX__PIECE, index = row * r.length + at;
        size_t count = dfx__piece(r.length, at);
        float a_room[DFX__PIECE], b_room[DFX__PIECE];
        const float *a = dfx__piece_load(h->in[A], dtype, index, count, a_room);
        const float *b = dfx__piece_load(h->in[B], dtype, row / r.repeat % r.period * r.length + at,
                                         count, b_room);
        float *y = dfx__piece_begin(h->out, dtype, index, a_room);
        for (size_t i = 0; i < count; i++)
            y[i] = a[i] + b[i];
        dfx__piece_end(h->out, dtype, index, count, y);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case add_cases[] = {
    { { "3,17,31", "3,17,31" }, { 0 }, { 0 } }, { { "2,77,31", "77,31" }, { 0 }, { 0 } },
    { { "2,3,17,1", "17,1" }, { 0 }, { 0 } },   { { "2,77,320", "w77,320" }, { 0 }, { 0 } },
    { { "5,5003", "5,5003" }, { 0 }, { 0 } },   { { NULL }, { 0 }, { 0 } },
};

static const dfx__case channel_cases[] = {
    { { "3,5,7,31", "3,31" }, { 0 }, { 0 } },
    { { "2,320", "2,320" }, { 0 }, { 0 } },
    { { "2,77,64", "2,64" }, { 0 }, { 0 } },
    { { "1,3,3,1283", "1,1283" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__add = { "add", infer_add, NULL, &cpu, cl, add_cases, 1 };
const dfx_op dfx__add_channels = {
    "add_channels", infer_channels, NULL, &cpu, cl, channel_cases, 1
};
