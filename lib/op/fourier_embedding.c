/* fourier_embedding.c - sinusoids of a position at frequencies from the model's file; its kernel is
 * cl/fourier_embedding.cl.
 *
 * All in f32 and in torch's order: angles reach thousands, where another rounding of the logarithm
 * moves them by 1e-4. */
#include "op/oplist.h"
#include "op/rows.h"

#include <math.h>

enum { T, FREQUENCY };
enum { LOG, FLIP };

dfx_value *dfx_fourier_embedding(dfx_value *t, dfx_value *frequency, int log, int flip)
{
    return dfx__record(&dfx__fourier_embedding, DFX__IN(t, frequency),
                       DFX__INTS(log != 0, flip != 0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *t = &c->in[T]->spec, *f = &c->in[FREQUENCY]->spec;
    char shape[DFX__SHAPE_TEXT];
    c->out->spec = *t;
    if (t->dtype != DFX_F32 || t->rank != 1)
        dfx__call_fail(c, "t is %s %s and must be f32 [N]", dfx_dtype_name(t->dtype),
                       dfx__shape_text(shape, t->rank, t->dim));
    else if (dfx__need_vector(c, FREQUENCY, "frequency", f->dim[0])) {
        c->out->spec.rank = 2;
        c->out->spec.dim[1] = 2 * f->dim[0];
    }
}

static double flops(const dfx_call *c)
{
    return 30.0 * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    int64_t half = c->in[FREQUENCY]->spec.dim[0];
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "fourier_embedding", "fourier_embedding", "-DLANES=%d", lanes);
    dfx__arg_int(l, half);
    dfx__arg_int(l, c->i[LOG]);
    dfx__arg_int(l, c->i[FLIP]);
    dfx__arg_in(l, T);
    dfx__arg_in(l, FREQUENCY);
    dfx__arg_out(l);
    dfx__grid(l, half, c->in[T]->spec.dim[0], 1, lanes, 1, 1);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t half = c->in[FREQUENCY]->spec.dim[0];
    const float *frequency = h->in[FREQUENCY];
    for (int64_t r = 0; r < c->out->spec.dim[0]; r++) {
        float *first = (float *)h->out + r * 2 * half, *second = first + half;
        float *sine = c->i[FLIP] ? second : first, *cosine = c->i[FLIP] ? first : second;
        float t = ((const float *)h->in[T])[r], at = c->i[LOG] ? (float)log(t) : t;
        for (int64_t i = 0; i < half; i++) {
            float turns = at * frequency[i], angle = turns * 6.2831855f;
            sine[i] = sinf(angle);
            cosine[i] = cosf(angle);
        }
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "plain", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "t1", "w1" }, { 0, 0 }, { 0 } },
    { { "t3", "w77" }, { 1, 0 }, { 0 } },
    { { "t17", "w128" }, { 1, 1 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__fourier_embedding = { "fourier_embedding", infer, flops, &cpu, cl, cases, 5 };
