/* blend.c - two values mixed by a mask; its kernel is cl/blend.cl. */
#include "op/oplist.h"
#include "op/rows.h"

enum { A, B, MASK };

dfx_value *dfx_blend(dfx_value *a, dfx_value *b, dfx_value *mask)
{
    return dfx__record(&dfx__blend, DFX__IN(a, b, mask), DFX__INTS(0), DFX__FLOATS(0));
}

/* Fails the call unless input k has a's shape, with `channels` numbers in the last dimension. */
static void need_shape(dfx_call *c, int k, const char *what, int64_t channels)
{
    const dfx_spec *a = &c->in[A]->spec, *s = &c->in[k]->spec;
    char has[DFX__SHAPE_TEXT], needs[DFX__SHAPE_TEXT];
    dfx_spec needed = *a;
    needed.dim[a->rank - 1] = channels;
    int same = s->rank == a->rank && s->dtype == a->dtype;
    for (int i = 0; same && i < a->rank; i++)
        same = s->dim[i] == needed.dim[i];
    if (!same)
        dfx__call_fail(c, "%s is %s of %s and must be %s of %s", what,
                       dfx__shape_text(has, s->rank, s->dim), dfx_dtype_name(s->dtype),
                       dfx__shape_text(needs, a->rank, needed.dim), dfx_dtype_name(a->dtype));
}

static void infer(dfx_call *c)
{
    c->out->spec = c->in[A]->spec;
    if (!dfx__need_float(c, A))
        return;
    if (!c->in[MASK]) {
        dfx__call_fail(c, "it needs a mask");
        return;
    }
    if (c->in[B])
        need_shape(c, B, "b", dfx__channels(&c->in[A]->spec));
    need_shape(c, MASK, "the mask", 1);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__rows_kernel(l, "blend", "blend", dfx__rows(&c->out->spec), 1, "");
    dfx__arg_int(l, dfx__channels(&c->out->spec));
    dfx__arg_in(l, A);
    dfx__arg_in(l, B);
    dfx__arg_in(l, MASK);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t n = dfx__channels(&c->out->spec), rows = dfx__rows(&c->out->spec);
    dfx_dtype dtype = c->out->spec.dtype;
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        float a_room[DFX__PIECE], b_room[DFX__PIECE];
        float m = *dfx__piece_load(h->in[MASK], dtype, r, 1, a_room), rest = 1 - m;
        for (int64_t i = 0; i < n; i += DFX__PIECE) {
            int64_t at = r * n + i;
            size_t count = dfx__piece(n, i);
            const float *a = dfx__piece_load(h->in[A], dtype, at, count, a_room);
            const float *b = h->in[B] ? dfx__piece_load(h->in[B], dtype, at, count, b_room) : NULL;
            float *y = dfx__piece_begin(h->out, dtype, at, a_room);
            for (size_t k = 0; k < count; k++)
                y[k] = a[k] * m + (b ? b[k] * rest : 0);
            dfx__piece_end(h->out, dtype, at, count, y);
        }
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "2,5,7,31", "2,5,7,31", "2,5,7,1" }, { 0 }, { 0 } },
    { { "3,17,3", NULL, "3,17,1" }, { 0 }, { 0 } },
    { { "1,9,8,192", "1,9,8,192", "1,9,8,1" }, { 0 }, { 0 } },
    { { "2,2,1283", NULL, "2,2,1" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__blend = { "blend", infer, NULL, &cpu, cl, cases, 1 };
