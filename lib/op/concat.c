/* concat.c - joining the last dimensions of two values; its kernel is cl/concat.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { A, B };

dfx_value *dfx_concat(dfx_value *a, dfx_value *b)
{
    return dfx__record(&dfx__concat, DFX__IN(a, b), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *a = &c->in[A]->spec, *b = &c->in[B]->spec;
    char shape[2][DFX__SHAPE_TEXT];
    c->out->spec = *a;
    if (!dfx__need_float(c, A))
        return;
    if (a->dtype != b->dtype)
        dfx__call_fail(c, "%s and %s cannot be joined: dfx_cast one of them",
                       dfx_dtype_name(a->dtype), dfx_dtype_name(b->dtype));
    else if (a->rank != b->rank ||
             memcmp(a->dim, b->dim, (size_t)(a->rank - 1) * sizeof *a->dim) != 0)
        dfx__call_fail(c, "a %s and b %s differ before their last dimensions",
                       dfx__shape_text(shape[0], a->rank, a->dim),
                       dfx__shape_text(shape[1], b->rank, b->dim));
    else
        c->out->spec.dim[a->rank - 1] += dfx__channels(b);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    dfx__rows_kernel(l, "concat", "concat", dfx__rows(&c->out->spec), 1, "");
    dfx__arg_int(l, dfx__channels(&c->in[A]->spec));
    dfx__arg_int(l, dfx__channels(&c->in[B]->spec));
    dfx__arg_in(l, A);
    dfx__arg_in(l, B);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    size_t size = dfx_dtype_size(c->out->spec.dtype);
    size_t a = (size_t)dfx__channels(&c->in[A]->spec) * size;
    size_t b = (size_t)dfx__channels(&c->in[B]->spec) * size;
    int64_t rows = dfx__rows(&c->out->spec);
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        char *to = (char *)h->out + (size_t)r * (a + b);
        memcpy(to, (const char *)h->in[A] + (size_t)r * a, a);
        memcpy(to + a, (const char *)h->in[B] + (size_t)r * b, b);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,3", "1,17" }, { 0 }, { 0 } },
    { { "2,3,5,31", "2,3,5,1" }, { 0 }, { 0 } },
    { { "2,77,320", "2,77,640" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__concat = { "concat", infer, NULL, &cpu, cl, cases, 0 };
