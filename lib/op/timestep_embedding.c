/* timestep_embedding.c - sinusoids of a position; its kernel is cl/timestep_embedding.cl.
 *
 * All in f32 and in torch's order, exponent first: at t = 999 another rounding of a frequency moves
 * the angle by 6e-5. */
#include "op/oplist.h"
#include "op/rows.h"

#include <math.h>

enum { T };
enum { DIM, FLIP };
enum { SHIFT };

dfx_value *dfx_timestep_embedding(dfx_value *t, int dim, int flip, float shift)
{
    return dfx__record(&dfx__timestep_embedding, DFX__IN(t), DFX__INTS(dim, flip != 0),
                       DFX__FLOATS(shift));
}

static void infer(dfx_call *c)
{
    const dfx_spec *t = &c->in[T]->spec;
    char shape[DFX__SHAPE_TEXT];
    int64_t dim = c->i[DIM];
    c->out->spec = *t;
    if (t->dtype != DFX_F32 || t->rank != 1)
        dfx__call_fail(c, "t is %s %s and must be f32 [N]", dfx_dtype_name(t->dtype),
                       dfx__shape_text(shape, t->rank, t->dim));
    else if (dim < 2 || dim % 2 != 0)
        dfx__call_fail(c, "%lld dimensions are not an even number over 0", (long long)dim);
    else if (!(c->f[SHIFT] < (float)(dim / 2)))
        dfx__call_fail(c, "a shift of %g leaves no frequencies of the %lld in a half of %lld",
                       (double)c->f[SHIFT], (long long)dim / 2, (long long)dim);
    c->out->spec.rank = 2;
    c->out->spec.dim[1] = dim;
}

static double flops(const dfx_call *c)
{
    return 30.0 * (double)dfx__elements(&c->out->spec);
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    int lanes = dfx__group(c, 64);
    dfx__kernel(l, "timestep_embedding", "timestep_embedding", "-DLANES=%d", lanes);
    dfx__arg_int(l, c->i[DIM] / 2);
    dfx__arg_int(l, c->i[FLIP]);
    dfx__arg_float(l, c->f[SHIFT]);
    dfx__arg_in(l, T);
    dfx__arg_out(l);
    dfx__grid(l, c->i[DIM] / 2, c->in[T]->spec.dim[0], 1, lanes, 1, 1);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    int64_t half = c->i[DIM] / 2;
    const float *t = h->in[T];
    for (int64_t r = 0; r < c->out->spec.dim[0]; r++) {
        float *first = (float *)h->out + r * 2 * half, *second = first + half;
        float *sine = c->i[FLIP] ? second : first, *cosine = c->i[FLIP] ? first : second;
        for (int64_t i = 0; i < half; i++) {
            float exponent = -9.210340371976184f * (float)i / ((float)half - c->f[SHIFT]);
            float angle = t[r] * expf(exponent);
            sine[i] = sinf(angle);
            cosine[i] = cosf(angle);
        }
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "plain", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "t1" }, { 2, 0 }, { 0 } },
    { { "t3" }, { 34, 0 }, { 1.0f } },
    { { "t17" }, { 320, 1 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__timestep_embedding = { "timestep_embedding", infer, flops, &cpu, cl, cases, 5 };
