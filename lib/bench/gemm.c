/* gemm.c - products of random matrices by CLBlast. */
#include "bench/gemm.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/noise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = DFX__GEMM_SIDE * DFX__GEMM_SIDE, RUNS = 3 };

/* Of a sum of k products of numbers between -1 and 1, as a part of its scale, the root of k: what
 * the order of additions in f32 may change is a hundredth of that. */
static const double tolerance = 1e-4;

/* What lies in the result before: no result. */
static const float unset = 1e30f;

static dfx_status prepare(dfx__prepared **out, const dfx__gemm_bench *g, const dfx__gemm_sizes *s)
{
    size_t b_line = s->transpose_b ? s->k : s->n;
    dfx__launch l = { .kind = DFX__LAUNCH_GEMM,
                      .gemm = { .count = s->count,
                                .m = s->m,
                                .n = s->n,
                                .k = s->k,
                                .transpose_b = s->transpose_b,
                                .scale = 1,
                                .a = { { g->a, 0, g->a->bytes }, 0, s->k, s->m * s->k },
                                .b = { { g->b, 0, g->b->bytes }, 0, b_line, s->k * s->n },
                                .c = { { g->c, 0, g->c->bytes }, 0, s->n, s->m * s->n } } };
    return g->device->class->prepare(out, g->device, &l);
}

static dfx_status run(const dfx__gemm_bench *g, dfx__prepared *product, double *seconds)
{
    double begin = dfx__seconds();
    DFX__TRY(g->device->class->enqueue(product));
    DFX__TRY(g->device->class->finish(g->device));
    *seconds = dfx__seconds() - begin;
    return DFX_OK;
}

/* c = a b, row by row. */
static void multiply(float *c, const float *a, const float *b, const dfx__gemm_sizes *s)
{
    memset(c, 0, s->m * s->n * sizeof *c);
    for (size_t i = 0; i < s->m; i++)
        for (size_t k = 0; k < s->k; k++) {
            float factor = a[i * s->k + k], *restrict row = c + i * s->n;
            const float *from = s->transpose_b ? b + k : b + k * s->n;
            if (s->transpose_b)
                for (size_t j = 0; j < s->n; j++)
                    row[j] += factor * from[j * s->k];
            else
                for (size_t j = 0; j < s->n; j++)
                    row[j] += factor * from[j];
        }
}

static int same_sizes(const dfx__gemm_sizes *s, const dfx__gemm_sizes *t)
{
    return s->m == t->m && s->n == t->n && s->k == t->k && s->transpose_b == t->transpose_b &&
           s->count == t->count;
}

/* The CPU's result, computed once for each size. */
static const float *wanted(dfx__gemm_bench *g, const dfx__gemm_sizes *s)
{
    for (int i = 0; i < g->knows; i++)
        if (same_sizes(&g->known[i].sizes, s))
            return g->known[i].result;
    size_t each = s->m * s->n;
    float *result = g->knows < DFX__GEMM_KNOWN ? dfx__alloc(s->count * each, sizeof *result) : NULL;
    if (!result)
        return NULL;
    for (size_t p = 0; p < s->count; p++)
        multiply(result + p * each, g->host_a + p * s->m * s->k, g->host_b + p * s->k * s->n, s);
    g->known[g->knows].sizes = *s;
    return g->known[g->knows++].result = result;
}

static dfx_status check(dfx__gemm_bench *g, const dfx__gemm_sizes *s, int *right)
{
    const float *want = wanted(g, s);
    size_t n = s->count * s->m * s->n;
    if (!want)
        return dfx__no_memory();
    DFX__TRY(g->device->class->read(g->c, 0, g->host_c, n * sizeof(float)));
    size_t i = 0;
    while (i < n && fabs((double)g->host_c[i] - want[i]) <= tolerance * sqrt((double)s->k))
        i++;
    *right = i == n;
    return DFX_OK;
}

static dfx_status clear_result(const dfx__gemm_bench *g, const dfx__gemm_sizes *s)
{
    size_t n = s->count * s->m * s->n;
    for (size_t i = 0; i < n; i++)
        g->host_c[i] = unset;
    return g->device->class->write(g->c, 0, g->host_c, n * sizeof(float));
}

dfx_status dfx__gemm_time(dfx__gemm_bench *g, const dfx__gemm_sizes *sizes, double *seconds)
{
    dfx__prepared *product;
    double first, again;
    int right = 0;
    *seconds = INFINITY;
    DFX__TRY(clear_result(g, sizes));
    DFX__TRY(prepare(&product, g, sizes));
    dfx_status status = run(g, product, &first);
    if (status == DFX_OK)
        status = check(g, sizes, &right);
    for (int i = 0; right && status == DFX_OK && i < RUNS; i++) {
        status = run(g, product, &again);
        first = status == DFX_OK && (i == 0 || again < first) ? again : first;
    }
    g->device->class->discard(product);
    if (status == DFX_OK && right)
        *seconds = first;
    return status == DFX_ERROR_MEMORY ? status : DFX_OK;
}

dfx_status dfx__gemm_open(dfx__gemm_bench *g, dfx_device *d)
{
    *g = (dfx__gemm_bench){ .device = d };
    if (!d->has_gemm || !d->class->set_parameters)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "device %s: there is no CLBlast for it",
                         d->info.id);
    g->host_a = dfx__alloc(ROOM, sizeof(float));
    g->host_b = dfx__alloc(ROOM, sizeof(float));
    g->host_c = dfx__alloc(ROOM, sizeof(float));
    if (!g->host_a || !g->host_b || !g->host_c)
        return dfx__no_memory();
    dfx__noise(g->host_a, ROOM, 7);
    dfx__noise(g->host_b, ROOM, 8);
    DFX__TRY(dfx__buffer_new(&g->a, d, ROOM * sizeof(float)));
    DFX__TRY(dfx__buffer_new(&g->b, d, ROOM * sizeof(float)));
    DFX__TRY(dfx__buffer_new(&g->c, d, ROOM * sizeof(float)));
    DFX__TRY(d->class->write(g->a, 0, g->host_a, ROOM * sizeof(float)));
    return d->class->write(g->b, 0, g->host_b, ROOM * sizeof(float));
}

void dfx__gemm_close(dfx__gemm_bench *g)
{
    dfx__buffer_free(g->a);
    dfx__buffer_free(g->b);
    dfx__buffer_free(g->c);
    free(g->host_a);
    free(g->host_b);
    free(g->host_c);
    for (int i = 0; i < g->knows; i++)
        free(g->known[i].result);
    *g = (dfx__gemm_bench){ 0 };
}
