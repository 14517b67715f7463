/* attention.c - softmax(scale q k^T) v for each head; its kernels are cl/attention.cl and
 * lib/device/cpu_attention.c. */
#include "device/cpu_kernels.h"
#include "op/linear.h"
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
    /* of weights, by the variants for pairs and for tensor cores */
    c->rounding = q->dtype == DFX_BF16 ? 0x1p-9f : q->dtype == DFX_F16 ? 0x1p-12f : 0;
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

/* Parts of `size` in n, the last of which may be smaller. */
static int64_t parts(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

/* The native CPU. Its scratch memory: keys and values of all heads, packed; and for each worker the
 * room of a task, and rows of a head as floats, where they are not. */
typedef struct {
    const dfx_call *call;
    const dfx__host *host;
    const dfx__cpu_attention *kernels;
    struct sizes s;
    dfx_dtype dtype;
    int pairs, workers;
    int queries; /* of a task */
    int step;    /* keys that are packed at a time */
    float *keys, *values, *rooms;
    size_t key_words, value_words; /* of a head */
    size_t room, rows;             /* floats of a worker */
} job;

_Static_assert((int)DFX__ATTENTION_BLOCKS *DFX__ATTENTION_LINE <= DFX__ATTENTION_KEYS,
               "a worker's rows hold the queries of a task");

/* Queries of a task: fewer where the tasks would not reach all workers. */
static int task_queries(const struct sizes *s, int workers)
{
    int64_t blocks = DFX__ATTENTION_BLOCKS;
    while (blocks > 1 && s->images * s->heads * (s->tokens / (blocks * DFX__ATTENTION_LINE)) <
                             4 * (int64_t)workers)
        blocks--;
    return (int)blocks * DFX__ATTENTION_LINE;
}

/* Without scratch memory it only says how much that is. */
static size_t plan(job *j, const dfx_call *c, float *scratch, int pairs)
{
    struct sizes s = sizes(c);
    dfx__attention_head h = { .keys = s.keys, .head = (int)s.head, .pairs = pairs };
    int units = c->sequence->device->info.units, rows = dfx__cpu_kernels()->attention->rows;
    *j = (job){ .call = c,
                .kernels = dfx__cpu_kernels()->attention,
                .s = s,
                .dtype = c->out->spec.dtype,
                .pairs = pairs,
                .workers = units > 0 ? units : 1,
                .step = DFX__ATTENTION_KEYS / (2 * rows) * (2 * rows) };
    j->queries = task_queries(&s, j->workers);
    j->key_words = dfx__attention_key_words(&h, rows);
    j->value_words = dfx__attention_value_words(&h, rows);
    j->room = dfx__attention_room((int)s.head);
    j->rows = j->dtype == DFX_F32 ? 0 : (size_t)round_up(DFX__ATTENTION_KEYS * s.head, 16);
    size_t heads = (size_t)(s.images * s.heads);
    size_t packed = (size_t)round_up((int64_t)(heads * (j->key_words + j->value_words)), 16);
    if (scratch) {
        j->keys = scratch;
        j->values = scratch + heads * j->key_words;
        j->rooms = scratch + packed;
    }
    return (packed + (size_t)j->workers * (j->room + j->rows)) * sizeof *scratch;
}

static size_t cpu_scratch(const dfx_call *c)
{
    job j;
    return plan(&j, c, NULL, 0);
}

static size_t pairs_scratch(const dfx_call *c)
{
    job j;
    return plan(&j, c, NULL, 1);
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
static size_t channel(const job *j, int64_t tokens, int64_t head, int64_t token)
{
    return (size_t)((head / j->s.heads * tokens + token) * j->s.channels +
                    head % j->s.heads * j->s.head);
}

static dfx__attention_head packed_head(const job *j, int64_t head)
{
    return (dfx__attention_head){ .key = j->keys + (size_t)head * j->key_words,
                                  .value = j->values + (size_t)head * j->value_words,
                                  .keys = j->s.keys,
                                  .head = (int)j->s.head,
                                  .pairs = j->pairs };
}

/* Rows of a head as the kernels take them: element `at` of an input and what lies `stride` after
 * it, widened into the room where that is needed. */
static const void *rows_of(const job *j, const void *from, size_t at, int64_t count, float *room,
                           size_t *stride)
{
    *stride = (size_t)j->s.channels;
    if (j->dtype == DFX_F32)
        return (const float *)from + at;
    const uint16_t *half = (const uint16_t *)from + at;
    if (j->pairs)
        return half;
    for (int64_t r = 0; r < count; r++)
        dfx__cpu_kernels()->widen(room + r * j->s.head, half + r * j->s.channels, j->dtype,
                                  (size_t)j->s.head);
    *stride = (size_t)j->s.head;
    return room;
}

/* A step of keys of one head, and their values. */
static void pack(const job *j, int64_t index, float *room)
{
    int64_t steps = parts(j->s.keys, j->step), head = index / steps;
    int64_t first = index % steps * j->step, left = j->s.keys - first;
    int64_t count = left < j->step ? left : j->step;
    size_t at = channel(j, j->s.keys, head, first), stride;
    dfx__attention_head h = packed_head(j, head);
    const void *rows = rows_of(j, j->host->in[K], at, count, room + j->room, &stride);
    j->kernels->pack_keys(&h, rows, stride, first, count);
    rows = rows_of(j, j->host->in[V], at, count, room + j->room, &stride);
    j->kernels->pack_values(&h, rows, stride, first, count);
}

/* Some queries of one head. */
static void attend(const job *j, int64_t index, float *room)
{
    int64_t tasks = parts(j->s.tokens, j->queries), head = index / tasks;
    int64_t first = index % tasks * j->queries, left = j->s.tokens - first;
    size_t at = channel(j, j->s.tokens, head, first);
    int half = j->dtype != DFX_F32;
    dfx__attention_head h = packed_head(j, head);
    dfx__attention_task t = {
        .head = &h,
        .out = half ? room + j->room : (float *)j->host->out + at,
        .out_stride = (size_t)(half ? j->s.head : j->s.channels),
        .first = j->call->i[CAUSAL] ? first : j->s.keys,
        .queries = (int)(left < j->queries ? left : j->queries),
        .scale = j->call->f[SCALE],
        .room = room,
    };
    t.query = rows_of(j, j->host->in[Q], at, t.queries, room + j->room, &t.query_stride);
    j->kernels->attend(&t);
    for (int r = 0; half && r < t.queries; r++)
        dfx__cpu_kernels()->narrow((uint16_t *)j->host->out + at + r * j->s.channels, j->dtype,
                                   t.out + r * j->s.head, (size_t)j->s.head);
}

static void run_as(const dfx_call *c, const dfx__host *h, int pairs)
{
    job j;
    plan(&j, c, h->scratch, pairs);
    j.host = h;
    int64_t heads = j.s.images * j.s.heads;
    share(&j, heads * parts(j.s.keys, j.step), pack);
    share(&j, heads * parts(j.s.tokens, j.queries), attend);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    run_as(c, h, 0);
}

static void run_pairs(const dfx_call *c, const dfx__host *h)
{
    run_as(c, h, 1);
}

static int cpu_takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return c->out->spec.dtype == DFX_BF16 && dfx__cpu_kernels()->tile_packed_pairs;
}

static const dfx__variant cpu[] = {
    { "dot_bf16", cpu_takes_pairs, DFX__PLAIN, pairs_scratch, NULL, run_pairs },
    { "cpu", NULL, DFX__PLAIN, cpu_scratch, NULL, run },
};

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

static int takes_pairs(const dfx_call *c, const dfx_device *d)
{
    return takes_vector(c, d) && dfx__takes_pairs(c);
}

/* The packed keys and values as the kernels lay them out, in floats or bf16 pairs; bytes of each.
 */
struct packed {
    size_t keys, values;
};

static struct packed packed(const struct sizes *s, int pairs)
{
    int64_t word = pairs ? 2 : 1, heads = s->images * s->heads;
    return (struct packed){
        sizeof(float) * (size_t)(heads * round_up(s->keys, VECTOR_PANEL) * parts(s->head, word)),
        sizeof(float) * (size_t)(heads * round_up(s->head, VECTOR_PANEL) * parts(s->keys, word))
    };
}

static size_t scratch_of(const dfx_call *c, int pairs)
{
    struct sizes s = sizes(c);
    struct packed p = packed(&s, pairs);
    return dfx__align(c->sequence->device, p.keys) + p.values;
}

static size_t vector_scratch(const dfx_call *c)
{
    return scratch_of(c, 0);
}

static size_t dot_scratch(const dfx_call *c)
{
    return scratch_of(c, 1);
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

static void launch_packed(const dfx_call *c, dfx__launches *l, int pairs)
{
    const char *options = pairs ? " -DROWS=8" DFX__VECTOR_PAIRS : "";
    struct sizes s = sizes(c);
    struct packed p = packed(&s, pairs);
    size_t values_at = dfx__align(c->sequence->device, p.keys);
    dfx__kernel(l, "attention", "attention_pack", "-DVECTOR -DHEAD=%d%s", (int)s.head, options);
    dfx__arg_scratch(l, 0, p.keys);
    dfx__arg_scratch(l, values_at, p.values);
    dfx__arg_in(l, K);
    dfx__arg_in(l, V);
    dfx__arg_int(l, s.keys);
    dfx__arg_int(l, s.channels);
    dfx__arg_int(l, s.heads);
    dfx__grid(l, parts(s.keys, VECTOR_PANEL), s.images * s.heads, 1, 1, 1, 1);

    dfx__kernel(l, "attention", "attention", "-DVECTOR -DHEAD=%d%s", (int)s.head, options);
    dfx__arg_out(l);
    dfx__arg_in(l, Q);
    dfx__arg_scratch(l, 0, p.keys);
    dfx__arg_scratch(l, values_at, p.values);
    last_args(c, &s, l);
    dfx__grid(l, parts(s.tokens, VECTOR_QUERIES), s.images * s.heads, 1, 1, 1, 1);
}

static void vector_launch(const dfx_call *c, dfx__launches *l)
{
    launch_packed(c, l, 0);
}

static void dot_launch(const dfx_call *c, dfx__launches *l)
{
    launch_packed(c, l, 1);
}

/* OpenCL on any device. Small groups are for those that have no larger ones, or not for this
 * kernel, whose work-items need many registers. */
enum { GROUP = 256, SMALL_GROUP = 64, LANES = 16, TILED_KEYS = 32 };

_Static_assert((int)LANES <= (int)DFX__LEAST_GROUP, "every device has a group's lanes");

/* How a group's registers and local memory are used, by the length of a head. */
struct tiling {
    int group;
    int rows;   /* queries of a work-item */
    int values; /* tokens whose values are in local memory at a time */
    int stage;  /* floats of local memory for queries, keys, values */
    int queries;
};

static struct tiling tiling(int64_t head, int group)
{
    struct tiling t = { .group = group,
                        .rows = head <= 80    ? 4
                                : head <= 256 ? 2
                                              : 1,
                        .values = TILED_KEYS };
    t.queries = group / LANES * t.rows;
    t.stage = (t.queries + TILED_KEYS) * 20; /* 16 channels and 4 against bank conflicts */
    int least = head <= 256 ? 8 : 4;         /* with 4, NVIDIA's compiler puts some into memory */
    while (t.values > least && t.values * head > t.stage)
        t.values /= 2;
    if (t.values * head > t.stage)
        t.stage = (int)(t.values * head);
    return t;
}

static int fits(const dfx_call *c, const dfx_device *d, int group)
{
    int64_t head = sizes(c).head;
    if (head > 1 << 20)
        return 0;
    struct tiling t = tiling(head, dfx__group(c, group));
    size_t local = sizeof(float) * (size_t)(t.stage + t.queries * TILED_KEYS);
    return local <= d->info.local_memory;
}

static void launch_tiles(const dfx_call *c, dfx__launches *l, int group)
{
    struct sizes s = sizes(c);
    struct tiling t = tiling(s.head, dfx__group(c, group));
    dfx__kernel(l, "attention", "attention",
                "-DGROUP=%d -DHEAD=%d -DROWS=%d -DVALUES=%d -DSTAGE=%d", t.group, (int)s.head,
                t.rows, t.values, t.stage);
    dfx__arg_out(l);
    dfx__arg_in(l, Q);
    dfx__arg_in(l, K);
    dfx__arg_in(l, V);
    last_args(c, &s, l);
    dfx__grid(l, parts(s.tokens, t.queries) * t.group, s.images * s.heads, 1, t.group, 1, 1);
}

static void tiled_launch(const dfx_call *c, dfx__launches *l)
{
    launch_tiles(c, l, GROUP);
}

static void small_launch(const dfx_call *c, dfx__launches *l)
{
    launch_tiles(c, l, SMALL_GROUP);
}

/* OpenCL on tensor cores: see cl/attention_mma.cl. */
enum { WARP = 32, WARPS = 4, MMA_QUERIES = 16 * WARPS, RESIDENT_HEAD = 160, MMA_COLUMNS = 128 };
enum { MMA_LOCAL_MEMORY = 45056 }; /* bytes, at most */

static int takes_mma(const dfx_call *c, const dfx_device *d)
{
    int64_t head = sizes(c).head;
    return c->out->spec.dtype != DFX_F32 && d->info.local_memory >= MMA_LOCAL_MEMORY &&
           d->info.max_group >= WARP * WARPS &&
           head % (head <= RESIDENT_HEAD ? 8 : MMA_COLUMNS) == 0 &&
           dfx__has(c->sequence->device, DFX__TENSOR_CORES);
}

static void mma_launch(const dfx_call *c, dfx__launches *l)
{
    struct sizes s = sizes(c);
    dfx__kernel(l, "attention_mma", "attention_mma", "-DHEAD=%d -DWARPS=%d", (int)s.head, WARPS);
    dfx__arg_out(l);
    dfx__arg_in(l, Q);
    dfx__arg_in(l, K);
    dfx__arg_in(l, V);
    last_args(c, &s, l);
    dfx__grid(l, parts(s.tokens, MMA_QUERIES) * WARP * WARPS, s.images * s.heads,
              s.head <= RESIDENT_HEAD ? 1 : s.head / MMA_COLUMNS, WARP * WARPS, 1, 1);
}

/* A vector kernel or tensor cores are faster where there are any. */
static int takes_tiled(const dfx_call *c, const dfx_device *d)
{
    if (!fits(c, d, GROUP))
        return 0;
    return d->vector_width > 1 ? DFX__LAST : takes_mma(c, d) ? DFX__ASKED : 1;
}

static int takes_small(const dfx_call *c, const dfx_device *d)
{
    int is_same = dfx__group(c, GROUP) == dfx__group(c, SMALL_GROUP);
    return d->vector_width > 1 || is_same || !fits(c, d, SMALL_GROUP) ? 0 : DFX__LAST;
}

static const dfx__variant cl[] = {
    { "dot_bf16", takes_pairs, DFX__PLAIN, dot_scratch, dot_launch, NULL },
    { "vector", takes_vector, DFX__PLAIN, vector_scratch, vector_launch, NULL },
    { "mma", takes_mma, DFX__PLAIN, NULL, mma_launch, NULL },
    { "tiled", takes_tiled, DFX__PLAIN, NULL, tiled_launch, NULL },
    { "tiled_small", takes_small, DFX__PLAIN, NULL, small_launch, NULL },
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
    { { "2,70,128", "2,200,128", "2,200,128" }, { 2, 0 }, { 0.125f } },
    { { "1,99,512", "1,99,512", "1,99,512" }, { 2, 1 }, { 0.0625f } },
    { { "2,37,15", "2,1,15", "2,1,15" }, { 3, 0 }, { 0.45f } }, /* odd heads, keys, queries */
    { { "1,259,63", "1,387,63", "1,387,63" }, { 3, 0 }, { 0.22f } },
    { { "1,257,69", "1,257,69", "1,257,69" }, { 3, 1 }, { 0.2f } },
    { { "1,35,257", "1,131,257", "1,131,257" }, { 1, 0 }, { -0.06f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__attention = { "attention", infer, flops, cpu, cl, cases, 3.0f };
