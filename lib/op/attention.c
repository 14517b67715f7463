/* attention.c - softmax(scale q k^T) v for each head; its kernels are cl/attention.cl and
 * lib/device/cpu_attention.c. */
#include "device/cpu_kernels.h"
#include "op/call.h"
#include "op/oplist.h"

enum { Q, K, V };
enum { HEADS, CAUSAL };
enum { SCALE };

dfx_value *dfx_attention(dfx_value *q, dfx_value *k, dfx_value *v, int heads, float scale,
                         int causal)
{
    return dfx__record(&dfx__attention, DFX__IN(q, k, v), DFX__INTS(heads, causal != 0),
                       DFX__FLOATS(scale));
}

static int same_shape(const dfx_spec *a, const dfx_spec *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

static void infer(dfx_call *c)
{
    char a[DFX__SHAPE_TEXT], b[DFX__SHAPE_TEXT];
    if (!c->in[K] || !c->in[V]) {
        dfx__call_fail(c, "k and v must be given");
        return;
    }
    if (!dfx__need_float(c, Q))
        return;
    const dfx_spec *q = &c->in[Q]->spec, *k = &c->in[K]->spec, *v = &c->in[V]->spec;
    long long heads = (long long)c->i[HEADS];
    if (k->dtype != q->dtype || v->dtype != q->dtype)
        dfx__call_fail(c, "q, k and v are %s, %s and %s: cast them to one type",
                       dfx_dtype_name(q->dtype), dfx_dtype_name(k->dtype),
                       dfx_dtype_name(v->dtype));
    else if (!same_shape(k, v))
        dfx__call_fail(c, "k %s and v %s have not the same shape",
                       dfx__shape_text(a, k->rank, k->dim), dfx__shape_text(b, v->rank, v->dim));
    else if (q->rank != 3 || k->rank != 3 || q->dim[0] != k->dim[0] || q->dim[2] != k->dim[2])
        dfx__call_fail(c, "q %s and k %s are not [N, T, C] and [N, S, C]",
                       dfx__shape_text(a, q->rank, q->dim), dfx__shape_text(b, k->rank, k->dim));
    else if (heads < 1 || q->dim[2] % heads != 0)
        dfx__call_fail(c, "%lld heads do not divide the channels of q %s", heads,
                       dfx__shape_text(a, q->rank, q->dim));
    else if (c->i[CAUSAL] && q->dim[1] != k->dim[1])
        dfx__call_fail(c, "causal attention needs as many queries as keys, not q %s and k %s",
                       dfx__shape_text(a, q->rank, q->dim), dfx__shape_text(b, k->rank, k->dim));
    c->out->spec = *q;
}

/* The call's sizes. */
struct sizes {
    int64_t images, tokens, keys, channels, heads, head;
};

static struct sizes sizes(const dfx_call *c)
{
    const dfx_spec *q = &c->in[Q]->spec;
    return (struct sizes){ q->dim[0], q->dim[1],   c->in[K]->spec.dim[1],
                           q->dim[2], c->i[HEADS], q->dim[2] / c->i[HEADS] };
}

static double flops(const dfx_call *c)
{
    struct sizes s = sizes(c);
    double all = 4.0 * (double)(s.images * s.tokens) * (double)(s.keys * s.channels);
    return c->i[CAUSAL] ? all / 2 : all;
}

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* The native CPU. Its scratch memory: all values, transposed; all keys as floats, where they are
 * not; and for each worker the room of a block, and rows of a head as floats, where they are not.
 */
typedef struct {
    const dfx_call *call;
    const dfx__host *host;
    struct sizes s;
    dfx_dtype dtype;
    int workers;
    float *values, *keys, *rooms;
    size_t room, rows; /* floats */
} job;

/* Without scratch memory it only says how much that is. */
static size_t plan(job *j, const dfx_call *c, float *scratch)
{
    struct sizes s = sizes(c);
    size_t all = (size_t)round_up(s.images * s.keys * s.channels, 16);
    int units = c->sequence->device->info.units;
    int half = c->out->spec.dtype != DFX_F32;
    *j = (job){ .call = c, .s = s, .dtype = c->out->spec.dtype, .workers = units > 0 ? units : 1 };
    j->room = dfx__attention_room((int)s.head);
    j->rows = half ? (size_t)round_up(DFX__ATTENTION_KEYS * s.head, 16) : 0;
    if (scratch) {
        j->values = scratch;
        j->keys = scratch + all;
        j->rooms = scratch + all * (half ? 2 : 1);
    }
    return (all * (half ? 2 : 1) + (size_t)j->workers * (j->room + j->rows)) * sizeof *scratch;
}

static size_t cpu_scratch(const dfx_call *c)
{
    job j;
    return plan(&j, c, NULL);
}

/* Runs tasks 0 .. n - 1; each worker takes the next one that is left. */
static void share(const job *j, int64_t n, void (*task)(const job *j, int64_t index, float *room))
{
    int64_t next = 0;
#pragma omp parallel for schedule(static, 1)
    for (int worker = 0; worker < j->workers; worker++) {
        float *room = j->rooms + (size_t)worker * (j->room + j->rows);
        for (;;) {
            int64_t index;
#pragma omp atomic capture
            index = next++;
            if (index >= n)
                break;
            task(j, index, room);
        }
    }
}

/* Where a head's first channel of a token is in q, k, v or the result. */
static size_t channel(const job *j, int64_t tokens, int64_t image, int64_t token, int64_t head)
{
    return (size_t)((image * tokens + token) * j->s.channels + head * j->s.head);
}

/* Widens `count` rows of a head, whose first is element `at`, to rows `stride` apart. */
static void widen_rows(const job *j, float *to, size_t stride, const void *from, size_t at,
                       int count)
{
    const uint16_t *half = from;
    for (int r = 0; r < count; r++)
        dfx__cpu_kernels()->widen(to + (size_t)r * stride, half + at + r * j->s.channels, j->dtype,
                                  (size_t)j->s.head);
}

/* A step of keys of one head: its values are transposed, its keys widened where they are not f32.
 */
static void pack(const job *j, int64_t index, float *room)
{
    struct sizes s = j->s;
    int64_t steps = (s.keys + DFX__ATTENTION_KEYS - 1) / DFX__ATTENTION_KEYS;
    int64_t head = index / steps, first = index % steps * DFX__ATTENTION_KEYS;
    int count = (int)(s.keys - first < DFX__ATTENTION_KEYS ? s.keys - first : DFX__ATTENTION_KEYS);
    size_t at = channel(j, s.keys, head / s.heads, first, head % s.heads);
    size_t stride = (size_t)s.channels;
    const float *rows = (const float *)j->host->in[V] + at;
    if (j->dtype != DFX_F32) {
        widen_rows(j, j->keys + at, stride, j->host->in[K], at, count);
        widen_rows(j, room + j->room, (size_t)s.head, j->host->in[V], at, count);
        rows = room + j->room;
        stride = (size_t)s.head;
    }
    dfx__cpu_kernels()->attention->transpose(j->values + (head * s.keys + first) * s.head,
                                             (size_t)count, rows, stride, (size_t)count,
                                             (size_t)s.head);
}

static int64_t query_blocks(const struct sizes *s)
{
    return (s->tokens + DFX__ATTENTION_QUERIES - 1) / DFX__ATTENTION_QUERIES;
}

/* A block of queries of one head. */
static void attend(const job *j, int64_t index, float *room)
{
    struct sizes s = j->s;
    int64_t head = index / query_blocks(&s);
    int64_t first = index % query_blocks(&s) * DFX__ATTENTION_QUERIES, left = s.tokens - first;
    size_t at = channel(j, s.tokens, head / s.heads, first, head % s.heads);
    int half = j->dtype != DFX_F32;
    const float *keys = half ? j->keys : j->host->in[K];
    float *rows = half ? room + j->room : (float *)j->host->out + at;
    dfx__attention_block b = {
        .query = half ? rows : (const float *)j->host->in[Q] + at,
        .key = keys + channel(j, s.keys, head / s.heads, 0, head % s.heads),
        .value = j->values + head * s.keys * s.head,
        .out = rows,
        .query_stride = (size_t)(half ? s.head : s.channels),
        .key_stride = (size_t)s.channels,
        .out_stride = (size_t)(half ? s.head : s.channels),
        .keys = s.keys,
        .first = j->call->i[CAUSAL] ? first : s.keys,
        .queries = (int)(left < DFX__ATTENTION_QUERIES ? left : DFX__ATTENTION_QUERIES),
        .head = (int)s.head,
        .scale = j->call->f[SCALE],
        .room = room,
    };
    if (half)
        widen_rows(j, rows, b.query_stride, j->host->in[Q], at, b.queries);
    dfx__cpu_kernels()->attention->block(&b);
    for (int r = 0; half && r < b.queries; r++)
        dfx__cpu_kernels()->narrow((uint16_t *)j->host->out + at + r * s.channels, j->dtype,
                                   rows + r * s.head, (size_t)s.head);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    job j;
    plan(&j, c, h->scratch);
    j.host = h;
    int64_t heads = j.s.images * j.s.heads;
    share(&j, heads * ((j.s.keys + DFX__ATTENTION_KEYS - 1) / DFX__ATTENTION_KEYS), pack);
    share(&j, heads * query_blocks(&j.s), attend);
}

static const dfx__variant cpu = { "cpu", NULL, DFX__PLAIN, cpu_scratch, NULL, run };

/* OpenCL on CPUs whose compiler keeps vectors whole: see VECTOR in the kernels. */
enum {
    VECTOR_QUERIES = 32,
    VECTOR_PANEL = 8,
    VECTOR_HEAD = 512 /* a work-item holds 4 * 64 bytes of a channel */
};

static int takes_vector(const dfx_call *c, const dfx_device *d)
{
    return d->vector_width > 1 && sizes(c).head <= VECTOR_HEAD;
}

static size_t key_bytes(const struct sizes *s)
{
    return sizeof(float) * (size_t)(s->images * round_up(s->keys, VECTOR_PANEL) * s->channels);
}

static size_t value_bytes(const struct sizes *s)
{
    return sizeof(float) *
           (size_t)(s->images * s->keys * s->heads * round_up(s->head, VECTOR_PANEL));
}

static size_t vector_scratch(const dfx_call *c)
{
    struct sizes s = sizes(c);
    return dfx__align(c->sequence->device, key_bytes(&s)) + value_bytes(&s);
}

static void last_args(const dfx_call *c, const struct sizes *s, dfx__launches *l)
{
    dfx__arg_int(l, s->tokens);
    dfx__arg_int(l, s->keys);
    dfx__arg_int(l, s->channels);
    dfx__arg_int(l, s->heads);
    dfx__arg_float(l, c->f[SCALE]);
    dfx__arg_int(l, c->i[CAUSAL]);
}

static void vector_launch(const dfx_call *c, dfx__launches *l)
{
    struct sizes s = sizes(c);
    size_t values_at = dfx__align(c->sequence->device, key_bytes(&s));
    dfx__kernel(l, "attention", "attention_pack", "-DVECTOR -DHEAD=%d", (int)s.head);
    dfx__arg_scratch(l, 0, key_bytes(&s));
    dfx__arg_scratch(l, values_at, value_bytes(&s));
    dfx__arg_in(l, K);
    dfx__arg_in(l, V);
    dfx__arg_int(l, s.keys);
    dfx__arg_int(l, s.channels);
    dfx__arg_int(l, s.heads);
    dfx__grid(l, (s.keys + VECTOR_PANEL - 1) / VECTOR_PANEL, s.images * s.heads, 1, 1, 1, 1);

    dfx__kernel(l, "attention", "attention", "-DVECTOR -DHEAD=%d", (int)s.head);
    dfx__arg_out(l);
    dfx__arg_in(l, Q);
    dfx__arg_scratch(l, 0, key_bytes(&s));
    dfx__arg_scratch(l, values_at, value_bytes(&s));
    last_args(c, &s, l);
    dfx__grid(l, (s.tokens + VECTOR_QUERIES - 1) / VECTOR_QUERIES, s.images * s.heads, 1, 1, 1, 1);
}

/* OpenCL on any device. */
enum { GROUP = 256, LANES = 16, TILED_KEYS = 32 };

/* How a group's registers and local memory are used, by the length of a head. */
struct tiling {
    int rows;   /* queries of a work-item */
    int values; /* tokens whose values are in local memory at a time */
    int stage;  /* floats of local memory for queries, keys, values */
    int queries;
};

static struct tiling tiling(int64_t head)
{
    struct tiling t = { .rows = head <= 80 ? 4 : head <= 256 ? 2 : 1, .values = TILED_KEYS };
    t.queries = GROUP / LANES * t.rows;
    t.stage = (t.queries + TILED_KEYS) * 20; /* 16 channels and 4 against bank conflicts */
    while (t.values > 4 && t.values * head > t.stage)
        t.values /= 2;
    if (t.values * head > t.stage)
        t.stage = (int)(t.values * head);
    return t;
}

static int fits(const dfx_call *c, const dfx_device *d)
{
    int64_t head = sizes(c).head;
    if (head > 1 << 20)
        return 0;
    struct tiling t = tiling(head);
    size_t local = sizeof(float) * (size_t)(t.stage + t.queries * TILED_KEYS);
    return local <= d->info.local_memory && d->info.max_group >= GROUP;
}

static void tiled_launch(const dfx_call *c, dfx__launches *l)
{
    struct sizes s = sizes(c);
    struct tiling t = tiling(s.head);
    dfx__kernel(l, "attention", "attention", "-DHEAD=%d -DROWS=%d -DVALUES=%d -DSTAGE=%d",
                (int)s.head, t.rows, t.values, t.stage);
    dfx__arg_out(l);
    dfx__arg_in(l, Q);
    dfx__arg_in(l, K);
    dfx__arg_in(l, V);
    last_args(c, &s, l);
    dfx__grid(l, (s.tokens + t.queries - 1) / t.queries * GROUP, s.images * s.heads, 1, GROUP, 1,
              1);
}

static const dfx__variant cl[] = {
    { "vector", takes_vector, DFX__PLAIN, vector_scratch, vector_launch, NULL },
    { "tiled", fits, DFX__PLAIN, NULL, tiled_launch, NULL },
    { 0 },
};

static const dfx__case cases[] = {
    { { "1,3,16", "1,7,16", "1,7,16" }, { 2, 0 }, { 0.35f } },
    { { "2,1,8", "2,1,8", "2,1,8" }, { 2, 1 }, { 0.5f } },
    { { "2,17,24", "2,31,24", "2,31,24" }, { 2, 0 }, { 0.29f } },
    { { "1,77,40", "1,77,40", "1,77,40" }, { 2, 1 }, { 0.22f } },
    { { "2,33,80", "2,77,80", "2,77,80" }, { 2, 0 }, { 0.16f } },
    { { "1,131,128", "1,131,128", "1,131,128" }, { 2, 1 }, { 0.125f } },
    { { "1,65,160", "1,300,160", "1,300,160" }, { 1, 0 }, { 0.08f } },
    { { "1,31,512", "1,129,512", "1,129,512" }, { 1, 0 }, { 0.044f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__attention = { "attention", infer, flops, &cpu, cl, cases, 3.0f };
