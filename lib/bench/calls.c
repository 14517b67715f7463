/* calls.c - single operators at the shapes that real models have. */
#include "bench/bench.h"

#include "core/dtype.h"
#include "op/oplist.h"
#include "op/trial.h"

#include <stdio.h>
#include <string.h>

/* A call of a model at its usual size: SD 1.5 at 512x512 with guidance, the others at 1024x1024.
 * `quick`: in a quick bench too. */
struct call {
    int group;
    const dfx_op *op;
    const char *model;
    int quick;
    dfx__case call;
};

#define SIDE(k) 1, 1, 1, (k) / 2, (k) / 2, (k) / 2, (k) / 2
static const struct call calls[] = {
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD 1.5",
      1,
      { { "2,4096,320", "w320,320", "320" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD 1.5",
      0,
      { { "2,4096,1280", "w320,1280", "320" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD 1.5",
      1,
      { { "2,1024,640", "w640,640", "640" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD 1.5",
      1,
      { { "2,256,1280", "w1280,1280", "1280" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD 1.5",
      0,
      { { "2,77,768", "w1280,768", NULL }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SDXL",
      0,
      { { "2,4096,640", "w640,640", "640" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SDXL",
      1,
      { { "2,1024,1280", "w1280,1280", "1280" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SDXL",
      0,
      { { "2,1024,5120", "w1280,5120", "1280" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "SD3",
      0,
      { { "2,4096,1536", "w1536,1536", "1536" }, { 0 }, { 0 } } },
    { DFX_BENCH_GEMM,
      &dfx__linear,
      "Flux",
      0,
      { { "1,4608,3072", "w3072,3072", "3072" }, { 0 }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      1,
      { { "2,64,64,4", "w320,4,3,3", "320" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      1,
      { { "2,64,64,320", "w320,320,3,3", "320" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      1,
      { { "2,32,32,640", "w640,640,3,3", "640" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      0,
      { { "2,16,16,1280", "w1280,1280,3,3", "1280" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      0,
      { { "2,8,8,2560", "w1280,2560,3,3", "1280" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      0,
      { { "2,64,64,320", "w320,320,3,3", "320" }, { 2, 1, 1, 1, 1, 1, 1 }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SD 1.5",
      0,
      { { "2,64,64,960", "w320,960,1,1", "320" }, { SIDE(1) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "VAE",
      0,
      { { "1,64,64,512", "w512,512,3,3", "512" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "VAE",
      0,
      { { "1,256,256,256", "w256,256,3,3", "256" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "VAE",
      0,
      { { "1,512,512,128", "w128,128,3,3", "128" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "VAE",
      0,
      { { "1,512,512,128", "w3,128,3,3", "3" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_CONV,
      &dfx__conv2d,
      "SDXL",
      0,
      { { "2,128,128,320", "w320,320,3,3", "320" }, { SIDE(3) }, { 0 } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "SD 1.5",
      1,
      { { "2,4096,320", "2,4096,320", "2,4096,320" }, { 8, 0 }, { 0.158f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "SD 1.5",
      1,
      { { "2,4096,320", "2,77,320", "2,77,320" }, { 8, 0 }, { 0.158f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "SD 1.5",
      0,
      { { "2,1024,640", "2,1024,640", "2,1024,640" }, { 8, 0 }, { 0.112f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "SD 1.5",
      0,
      { { "2,256,1280", "2,256,1280", "2,256,1280" }, { 8, 0 }, { 0.079f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "VAE",
      0,
      { { "1,4096,512", "1,4096,512", "1,4096,512" }, { 1, 0 }, { 0.044f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "SDXL",
      1,
      { { "2,1024,1280", "2,1024,1280", "2,1024,1280" }, { 20, 0 }, { 0.125f } } },
    { DFX_BENCH_ATTENTION,
      &dfx__attention,
      "Flux",
      0,
      { { "1,4608,3072", "1,4608,3072", "1,4608,3072" }, { 24, 0 }, { 0.088f } } },
    { DFX_BENCH_OPS,
      &dfx__group_norm,
      "SD 1.5",
      1,
      { { "2,64,64,320", "w320", "w320" }, { 32, 1 }, { 1e-5f } } },
    { DFX_BENCH_OPS,
      &dfx__group_norm,
      "VAE",
      0,
      { { "1,512,512,128", "w128", "w128" }, { 32, 1 }, { 1e-6f } } },
    { DFX_BENCH_OPS,
      &dfx__layer_norm,
      "SD 1.5",
      1,
      { { "2,4096,320", "w320", "w320" }, { 0 }, { 1e-5f } } },
    { DFX_BENCH_OPS, &dfx__geglu, "SD 1.5", 0, { { "2,4096,2560" }, { 0 }, { 0 } } },
    { DFX_BENCH_OPS, &dfx__silu, "SD 1.5", 0, { { "2,64,64,320" }, { 0 }, { 0 } } },
    { DFX_BENCH_OPS, &dfx__add, "SD 1.5", 1, { { "2,64,64,320", "2,64,64,320" }, { 0 }, { 0 } } },
    { DFX_BENCH_OPS,
      &dfx__concat,
      "SD 1.5",
      0,
      { { "2,64,64,320", "2,64,64,320" }, { 0 }, { 0 } } },
    { DFX_BENCH_OPS,
      &dfx__upsample_nearest,
      "VAE",
      0,
      { { "1,256,256,256" }, { 512, 512 }, { 0 } } },
};
enum { CALLS = sizeof calls / sizeof *calls };

/* The operators that are not bound by memory, all of which a prediction needs. */
static int is_arithmetic(const dfx_op *op)
{
    return op == &dfx__linear || op == &dfx__conv2d || op == &dfx__attention;
}
enum { ARITHMETIC = 3 };

/* What has to be read and written once: inputs, constants as they are stored, the result. */
static double bytes_of(const dfx_call *c)
{
    double bytes = (double)dfx__spec_bytes(&c->out->spec);
    for (int i = 0; i < DFX__MAX_INPUTS; i++)
        if (c->constant[i])
            bytes += (double)c->constant[i]->bytes;
        else if (c->in[i])
            bytes += (double)dfx__spec_bytes(&c->in[i]->spec);
    return bytes;
}

/* The sizes of a call as they are spoken of: M x N x K of a product, pixels and channels of a
 * convolution, queries, keys and channels of attention's heads. */
static void describe(char *text, size_t size, const dfx_call *c)
{
    const dfx_spec *x = &c->in[0]->spec;
    const int64_t *d = x->dim, *w = c->in[1] ? c->in[1]->spec.dim : NULL;
    if (c->op == &dfx__linear)
        snprintf(text, size, "%lld x %lld x %lld", (long long)(d[0] * d[1]), (long long)w[0],
                 (long long)w[1]);
    else if (c->op == &dfx__conv2d)
        snprintf(text, size, "%lldx%lldx%lld, %lld -> %lld, %lldx%lld%s", (long long)d[0],
                 (long long)d[1], (long long)d[2], (long long)d[3], (long long)w[0],
                 (long long)w[2], (long long)w[3], c->i[0] == 2 ? ", stride 2" : "");
    else if (c->op == &dfx__attention)
        snprintf(text, size, "%lldx%lld heads, %lld x %lld x %lld", (long long)d[0],
                 (long long)c->i[0], (long long)d[1], (long long)w[1], (long long)(d[2] / c->i[0]));
    else if (x->rank == 4)
        snprintf(text, size, "%lldx%lldx%lld, %lld channels", (long long)d[0], (long long)d[1],
                 (long long)d[2], (long long)d[3]);
    else
        snprintf(text, size, "%lldx%lld, %lld channels", (long long)d[0], (long long)d[1],
                 (long long)d[2]);
}

/* A dfx__bench_run of a trial's only call. */
static dfx_status run_call(void *data, double *seconds)
{
    const dfx_call *c = data;
    dfx_device *d = c->sequence->device;
    double sum = 0;
    int known = 1;
    for (int i = 0; i < c->launches; i++) {
        dfx__device_time t;
        DFX__TRY(d->class->time(&t, c->launch[i]));
        known &= t.ran > 0;
        sum += t.ran;
    }
    *seconds = known ? sum : 0;
    return d->class->finish(d);
}

static void note(dfx__bench *b, const dfx_call *c, const dfx_bench_row *row)
{
    int i = 0;
    while (i < b->ops && b->timed[i].op != c->op)
        i++;
    if (i == DFX__BENCH_OPS)
        return;
    b->ops += i == b->ops;
    b->timed[i].op = c->op;
    b->timed[i].flops += row->flops;
    b->timed[i].bytes += row->bytes;
    b->timed[i].seconds += dfx__bench_seconds(row);
}

/* A call at its operator's rate, else as fast as norms and sums of this device move bytes. */
static double predict(const dfx__bench *b, const dfx_call *c)
{
    double bytes = 0, seconds = 0;
    for (int i = 0; i < b->ops; i++) {
        if (b->timed[i].op == c->op)
            return b->timed[i].flops > 0 && c->op->flops
                       ? c->op->flops(c) * b->timed[i].seconds / b->timed[i].flops
                       : bytes_of(c) * b->timed[i].seconds / b->timed[i].bytes;
        if (!is_arithmetic(b->timed[i].op)) {
            bytes += b->timed[i].bytes;
            seconds += b->timed[i].seconds;
        }
    }
    return bytes > 0 ? bytes_of(c) * seconds / bytes : 0;
}

double dfx__bench_predict(const dfx__bench *b, const dfx_sequence *s, double *flops)
{
    double seconds = 0;
    int known = 0;
    *flops = 0;
    for (int k = 0; k < s->calls; k++) {
        if (s->call[k]->out->invariant)
            continue;
        seconds += predict(b, s->call[k]);
        *flops += dfx__call_flops(s->call[k]);
    }
    for (int i = 0; i < b->ops; i++)
        known += is_arithmetic(b->timed[i].op);
    return known == ARITHMETIC ? seconds : 0;
}

static dfx_status time_trial(dfx__bench *b, const struct call *call, dfx__trial *t)
{
    char shape[128];
    DFX__TRY(dfx__trial_prepare(t));
    dfx_call *c = t->s->call[0];
    describe(shape, sizeof shape, c);
    dfx_bench_row row = { .group = call->group,
                          .name = call->op->name,
                          .shape = shape,
                          .model = call->model,
                          .variant = c->variant->name,
                          .dtype = dfx_dtype_name(b->options.dtype),
                          .flops = call->op->flops ? call->op->flops(c) : 0,
                          .bytes = bytes_of(c) };
    DFX__TRY(dfx__bench_time(b, &row, 0, run_call, c));
    note(b, c, &row);
    return dfx__bench_report(b, &row, dfx__bench_peak(b, b->options.dtype));
}

static dfx_status time_call(dfx__bench *b, const struct call *call)
{
    dfx__trial t;
    DFX__TRY(dfx__trial_open(&t, b->device, b->options.dtype, call->op, &call->call));
    dfx_status status = time_trial(b, call, &t);
    dfx__trial_close(&t);
    return status;
}

dfx_status dfx__bench_calls(dfx__bench *b, int group)
{
    for (int i = 0; i < CALLS; i++) {
        const struct call *c = &calls[i];
        if (c->group != group || (b->options.quick && !c->quick))
            continue;
        dfx_status status = time_call(b, c);
        if (status == DFX_ERROR_INTERRUPTED)
            return status;
        if (status != DFX_OK)
            dfx__log("%s of %s: %s", c->op->name, c->model, dfx_error());
    }
    return DFX_OK;
}
