/* vector_quantize.c - the nearest row of a codebook; its kernel is cl/vector_quantize.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <math.h>

enum { X, CODEBOOK };
enum { MAX_CHANNELS = 256 };

dfx_value *dfx_vector_quantize(dfx_value *x, dfx_value *codebook)
{
    return dfx__record(&dfx__vector_quantize, DFX__IN(x, codebook), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec;
    char has[DFX__SHAPE_TEXT];
    c->out->spec = *x;
    if (!dfx__need_float(c, X))
        return;
    if (!c->in[CODEBOOK] || !c->in[CODEBOOK]->root->weight) {
        dfx__call_fail(c, "the codebook must be a constant");
        return;
    }
    const dfx_spec *codebook = &c->in[CODEBOOK]->spec;
    if (codebook->rank != 2 || codebook->dim[1] != dfx__channels(x) ||
        codebook->dim[1] > MAX_CHANNELS)
        dfx__call_fail(c, "the codebook %s is not [V, %lld], with up to %d channels",
                       dfx__shape_text(has, codebook->rank, codebook->dim),
                       (long long)dfx__channels(x), MAX_CHANNELS);
}

static double flops(const dfx_call *c)
{
    return (double)dfx__elements(&c->out->spec) * 4 * (double)c->in[CODEBOOK]->spec.dim[0];
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    const dfx_spec *codebook = &c->in[CODEBOOK]->spec;
    dfx__rows_kernel(l, "vector_quantize", "vector_quantize", dfx__rows(&c->out->spec), 1, "");
    dfx__arg_int(l, codebook->dim[0]);
    dfx__arg_int(l, codebook->dim[1]);
    dfx__arg_in(l, X);
    dfx__arg_in(l, CODEBOOK);
    dfx__arg_out(l);
}

static float square_of(const float *v, int64_t n)
{
    float sum = 0;
    for (int64_t k = 0; k < n; k++) {
        float square = v[k] * v[k];
        sum += square;
    }
    return sum;
}

/* |x|^2 - 2 x e + |e|^2 as a product of [-2x, |x|^2, 1] and [e, 1, |e|^2], which is how torch.cdist
 * has it multiplied on CPUs: in this order, each step fused. An f64 holds a product of two f32. */
static float distance2(const float *x, float x2, const float *e, int64_t n)
{
    float sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum = (float)(sum - 2.0 * x[k] * e[k]);
    sum = (sum + x2) + square_of(e, n);
    return sum > 0 ? sum : 0;
}

/* Roots are compared, as torch does: distances that they round alike are equal. */
static int64_t nearest(const float *x, const void *codebook, const dfx_spec *spec, float *room)
{
    int64_t best = 0, n = spec->dim[1];
    float least = INFINITY, x2 = square_of(x, n);
    for (int64_t i = 0; i < spec->dim[0]; i++) {
        const float *e = dfx__piece_load(codebook, spec->dtype, i * n, (size_t)n, room);
        float d = distance2(x, x2, e, n);
        if (d < least && sqrtf(d) < sqrtf(least)) {
            least = d;
            best = i;
        }
    }
    return best;
}

static void run(const dfx_call *c, const dfx__host *h)
{
    const dfx_spec *out = &c->out->spec;
    dfx_spec spec = c->in[CODEBOOK]->spec;
    int64_t n = spec.dim[1], rows = dfx__rows(out);
    spec.dtype = out->dtype;
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        float x_room[MAX_CHANNELS], e_room[MAX_CHANNELS], y_room[MAX_CHANNELS];
        const float *x = dfx__piece_load(h->in[X], out->dtype, r * n, (size_t)n, x_room);
        int64_t best = nearest(x, h->in[CODEBOOK], &spec, e_room);
        const float *e = dfx__piece_load(h->in[CODEBOOK], out->dtype, best * n, (size_t)n, e_room);
        float *y = dfx__piece_begin(h->out, out->dtype, r * n, y_room);
        for (int64_t k = 0; k < n; k++)
            y[k] = x[k] + (e[k] - x[k]);
        dfx__piece_end(h->out, out->dtype, r * n, (size_t)n, y);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "1,3", "w1,3" }, { 0 }, { 0 } },
    { { "3,17,4", "w31,4" }, { 0 }, { 0 } },
    { { "2,5,7,3", "w500,3" }, { 0 }, { 0 } },
    { { "1,31,64", "w77,64" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__vector_quantize = { "vector_quantize", infer, flops, &cpu, cl, cases, 1 };
