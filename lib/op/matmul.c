/* matmul.c - products of two computed values, head by head; its kernels are cl/matmul.cl and
 * cl/matmul_tiled.cl. */
#include "device/cpu_kernels.h"
#include "op/linear.h"
#include "op/oplist.h"

enum { A, B };
enum { HEADS, TRANSPOSE_B };
enum { SCALE };

dfx_value *dfx_matmul(dfx_value *a, dfx_value *b, int heads, int transpose_b, float scale)
{
    return dfx__record(&dfx__matmul, DFX__IN(a, b), DFX__INTS(heads, transpose_b != 0),
                       DFX__FLOATS(scale));
}

/* The result's shape for the one that a and b have; 0 where they do not fit. */
static int find_shape(dfx_spec *out, const dfx_spec *a, const dfx_spec *b, int64_t heads,
                      int transpose_b)
{
    int apart = heads > 1; /* whether one shape has a dimension for the heads */
    const int64_t *x = a->dim, *y = b->dim;
    if (a->rank != (apart && !transpose_b ? 4 : 3) || b->rank != 3 || (y[0] != x[0] && y[0] != 1))
        return 0;
    *out = *a;
    if (transpose_b) {
        if (x[2] != y[2] || x[2] % heads != 0)
            return 0;
        out->rank = 3 + apart;
        memcpy(out->dim + 1, apart ? (int64_t[]){ heads, x[1], y[1] } : (int64_t[]){ x[1], y[1] },
               (size_t)(2 + apart) * sizeof *x);
        return 1;
    }
    if ((apart && x[1] != heads) || x[a->rank - 1] != y[1] || y[2] % heads != 0)
        return 0;
    out->rank = 3;
    out->dim[1] = x[a->rank - 2];
    out->dim[2] = y[2];
    return 1;
}

static void infer(dfx_call *c)
{
    char a[DFX__SHAPE_TEXT], b[DFX__SHAPE_TEXT];
    if (!c->in[B]) {
        dfx__call_fail(c, "b must be given");
        return;
    }
    if (!dfx__need_float(c, A))
        return;
    const dfx_spec *x = &c->in[A]->spec, *y = &c->in[B]->spec;
    long long heads = (long long)c->i[HEADS];
    if (y->dtype != x->dtype)
        dfx__call_fail(c, "a is %s and b %s: cast them to one type", dfx_dtype_name(x->dtype),
                       dfx_dtype_name(y->dtype));
    else if (heads < 1)
        dfx__call_fail(c, "%lld heads: there must be 1 or more", heads);
    else if (!find_shape(&c->out->spec, x, y, heads, (int)c->i[TRANSPOSE_B]))
        dfx__call_fail(c, "a %s and b %s are not %s and %s with %lld heads",
                       dfx__shape_text(a, x->rank, x->dim), dfx__shape_text(b, y->rank, y->dim),
                       c->i[TRANSPOSE_B] ? "[N, M, C]"
                       : heads > 1       ? "[N, heads, M, K]"
                                         : "[N, M, K]",
                       c->i[TRANSPOSE_B] ? "[N or 1, O, C]" : "[N or 1, K, C]", heads);
}

/* From one element of a matrix to the next in the directions: down, in the next head, and in the
 * next image; 0 where all images have the same. */
struct steps {
    int64_t line, head, image;
};

/* The call's sizes: y [rows, columns] = a [rows, k] b [k, columns], images x heads times. */
struct sizes {
    int64_t images, heads, rows, columns, k;
    int64_t b_images;
    int transposed;
    struct steps a, b, y;
};

static struct sizes sizes(const dfx_call *c)
{
    const dfx_spec *a = &c->in[A]->spec, *b = &c->in[B]->spec;
    int64_t heads = c->i[HEADS];
    struct sizes s = { .images = a->dim[0],
                       .heads = heads,
                       .b_images = b->dim[0],
                       .transposed = c->i[TRANSPOSE_B] != 0 };
    s.rows = s.transposed ? a->dim[1] : a->dim[a->rank - 2];
    s.columns = s.transposed ? b->dim[1] : b->dim[2] / heads;
    s.k = s.transposed ? b->dim[2] / heads : b->dim[1];
    if (heads == 1 && s.b_images == 1) { /* one product: its rows are those of all images */
        s.rows *= s.images;
        s.images = 1;
    }
    int64_t m = s.rows, n = s.columns, k = s.k, b_image = s.b_images > 1 ? heads * n * k : 0;
    if (s.transposed) {
        s.a = (struct steps){ heads * k, k, heads * m * k };
        s.b = (struct steps){ heads * k, k, b_image };
        s.y = (struct steps){ n, m * n, heads * m * n };
    } else {
        s.a = (struct steps){ k, m * k, heads * m * k };
        s.b = (struct steps){ heads * n, n, b_image };
        s.y = (struct steps){ heads * n, n, heads * m * n };
    }
    return s;
}

static double flops(const dfx_call *c)
{
    return 2.0 * (double)dfx__elements(&c->out->spec) * (double)sizes(c).k;
}

/* Where the matrix of a product begins. */
static size_t at(const struct steps *s, int64_t heads, int64_t product)
{
    return (size_t)(product / heads * s->image + product % heads * s->head);
}

static int64_t parts(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

/* Elements of a product's b in panels. */
static size_t panels_size(const struct sizes *s, int pairs)
{
    int64_t lines = pairs ? parts(s->k, 2) * 2 : s->k;
    return (size_t)(parts(s->columns, DFX__PANEL) * DFX__PANEL * lines);
}

/* The native CPU. Its scratch memory: the products' jobs, then b in panels: f32, or bf16 pairs. */
static size_t jobs_bytes(const struct sizes *s)
{
    return (size_t)parts(s->images * s->heads * (int64_t)sizeof(dfx__panels_job), 64) * 64;
}

static size_t cpu_scratch(const dfx_call *c)
{
    struct sizes s = sizes(c);
    return jobs_bytes(&s) + (size_t)(s.b_images * s.heads) * panels_size(&s, 0) * sizeof(float);
}

static size_t pairs_scratch(const dfx_call *c)
{
    struct sizes s = sizes(c);
    return jobs_bytes(&s) + (size_t)(s.b_images * s.heads) * panels_size(&s, 1) * sizeof(uint16_t);
}

/* A panel of `columns` columns from b on, as floats. */
static void pack_panel(float *to, const struct sizes *s, const char *b, int columns,
                       dfx_dtype dtype)
{
    enum { BLOCK = 64 };
    float room[DFX__PANEL][BLOCK] = { { 0 } };
    size_t line = (size_t)s->b.line * dfx_dtype_size(dtype);
    if (!s->transposed) {
        for (int64_t k = 0; k < s->k; k++, to += DFX__PANEL) {
            dfx__cpu_kernels()->widen(to, b + (size_t)k * line, dtype, (size_t)columns);
            memset(to + columns, 0, (size_t)(DFX__PANEL - columns) * sizeof *to);
        }
        return;
    }
    for (int64_t k = 0; k < s->k; k += BLOCK, b += BLOCK * dfx_dtype_size(dtype)) {
        int n = s->k - k < BLOCK ? (int)(s->k - k) : BLOCK;
        for (int i = 0; i < columns; i++)
            dfx__cpu_kernels()->widen(room[i], b + (size_t)i * line, dtype, (size_t)n);
        for (int j = 0; j < n; j++, to += DFX__PANEL)
            for (int i = 0; i < DFX__PANEL; i++)
                to[i] = room[i][j];
    }
}

/* Columns of two lines, of which the second may not be there, as pairs. */
static inline void join_lines(uint16_t *to, const uint16_t *first, const uint16_t *second,
                              int64_t step, int columns)
{
    for (int i = 0; i < columns; i++) {
        to[2 * i] = first[i * step];
        to[2 * i + 1] = second ? second[i * step] : 0;
    }
}

/* The same in pairs. */
static void pack_pairs(uint16_t *to, const struct sizes *s, const uint16_t *b, int columns)
{
    int64_t line = s->transposed ? 1 : s->b.line;
    for (int64_t k = 0; k < s->k; k += 2, b += 2 * line, to += 2 * DFX__PANEL) {
        const uint16_t *second = k + 1 < s->k ? b + line : NULL;
        if (s->transposed)
            join_lines(to, b, second, s->b.line, columns);
        else
            join_lines(to, b, second, 1, columns);
        memset(to + 2 * columns, 0, (size_t)(DFX__PANEL - columns) * 2 * sizeof *to);
    }
}

static void pack(void *panels, const struct sizes *s, const void *b, dfx_dtype dtype, int pairs)
{
    int64_t across = parts(s->columns, DFX__PANEL), n = s->b_images * s->heads * across;
    size_t panel = panels_size(s, pairs) / (size_t)across;
    int64_t step = DFX__PANEL * (s->transposed ? s->b.line : 1);
#pragma omp parallel for
    for (int64_t p = 0; p < n; p++) {
        int64_t left = s->columns - p % across * DFX__PANEL;
        int columns = (int)(left < DFX__PANEL ? left : DFX__PANEL);
        size_t from = at(&s->b, s->heads, p / across) + (size_t)(p % across * step);
        if (pairs)
            pack_pairs((uint16_t *)panels + (size_t)p * panel, s, (const uint16_t *)b + from,
                       columns);
        else
            pack_panel((float *)panels + (size_t)p * panel, s,
                       (const char *)b + from * dfx_dtype_size(dtype), columns, dtype);
    }
}

static void run_panels(const dfx_call *c, const dfx__host *h, int pairs)
{
    struct sizes s = sizes(c);
    dfx_dtype dtype = c->out->spec.dtype;
    dfx__panels_job *job = h->scratch;
    char *panels = (char *)h->scratch + jobs_bytes(&s);
    size_t bytes = panels_size(&s, pairs) * (pairs ? sizeof(uint16_t) : sizeof(float));
    size_t size = dfx_dtype_size(dtype);
    pack(panels, &s, h->in[B], dtype, pairs);
    for (int64_t p = 0; p < s.images * s.heads; p++) {
        int64_t of_b = s.b_images > 1 ? p : p % s.heads;
        job[p] = (dfx__panels_job){
            .dtype = dtype,
            .weight_dtype = pairs ? dtype : DFX_F32,
            .rows = s.rows,
            .columns = s.columns,
            .k = s.k,
            .taps = 1,
            .pairs = pairs,
            .panels = panels + (size_t)of_b * bytes,
            .scale = c->f[SCALE],
            .out = (char *)h->out + at(&s.y, s.heads, p) * size,
            .stride = s.y.line,
            .locate = dfx__locate_rows,
            .user = (const char *)h->in[A] + at(&s.a, s.heads, p) * size,
            .user_stride = s.a.line,
        };
    }
    dfx__cpu_panels(job, s.images * s.heads);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    run_panels(c, h, 0);
}

static void run_pairs(const dfx_call *c, const dfx__host *h)
{
    run_panels(c, h, 1);
}

static float element(const void *data, dfx_dtype dtype, size_t index)
{
    float v;
    dfx__to_f32(&v, (const char *)data + index * dfx_dtype_size(dtype), dtype, 1);
    return v;
}

/* The definition, for comparison. */
static void run_plain(const dfx_call *c, const dfx__host *h)
{
    struct sizes s = sizes(c);
    dfx_dtype dtype = c->out->spec.dtype;
    int64_t next_k = s.transposed ? 1 : s.b.line, next_column = s.transposed ? s.b.line : 1;
#pragma omp parallel for collapse(2)
    for (int64_t p = 0; p < s.images * s.heads; p++)
        for (int64_t m = 0; m < s.rows; m++) {
            size_t a = at(&s.a, s.heads, p) + (size_t)(m * s.a.line);
            size_t y = at(&s.y, s.heads, p) + (size_t)(m * s.y.line);
            for (int64_t o = 0; o < s.columns; o++) {
                size_t b = at(&s.b, s.heads, p) + (size_t)(o * next_column);
                double sum = 0;
                for (int64_t k = 0; k < s.k; k++)
                    sum += (double)element(h->in[A], dtype, a + (size_t)k) *
                           (double)element(h->in[B], dtype, b + (size_t)(k * next_k));
                float v = c->f[SCALE] * (float)sum;
                dfx__from_f32((char *)h->out + (y + (size_t)o) * dfx_dtype_size(dtype), dtype, &v,
                              1);
            }
        }
}

static int takes_all(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    (void)d;
    return 1;
}

static int cpu_takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return dfx__cpu_takes_pairs(c->out->spec.dtype);
}

static const dfx__variant cpu[] = {
    { "dot_bf16", cpu_takes_pairs, DFX__PLAIN, pairs_scratch, NULL, run_pairs },
    { "cpu", takes_all, DFX__PLAIN, cpu_scratch, NULL, run },
    { "plain", dfx__takes_last, DFX__PLAIN, NULL, NULL, run_plain },
};

static void last_args(const dfx_call *c, const struct sizes *s, dfx__launches *l)
{
    dfx__arg_out(l);
    dfx__arg_float(l, c->f[SCALE]);
    dfx__arg_int(l, s->rows);
    dfx__arg_int(l, s->columns);
    dfx__arg_int(l, s->k);
    dfx__arg_int(l, s->heads);
    dfx__arg_int(l, s->b_images == 1);
}

/* OpenCL on CPUs. */
static size_t packed_bytes(const dfx_call *c, int pairs)
{
    struct sizes s = sizes(c);
    return (size_t)(s.b_images * s.heads) * panels_size(&s, pairs) *
           dfx_dtype_size(c->out->spec.dtype);
}

static size_t vector_scratch(const dfx_call *c)
{
    return packed_bytes(c, 0);
}

static size_t dot_scratch(const dfx_call *c)
{
    return packed_bytes(c, 1);
}

static void launch_packed(const dfx_call *c, dfx__launches *l, int pairs)
{
    enum { PACKED = 64 }; /* elements of the sum, as in the kernel */
    struct sizes s = sizes(c);
    const char *transposed = s.transposed ? " -DTRANSPOSED" : "";
    const char *in_pairs = pairs ? DFX__VECTOR_PAIRS : "";
    dfx__kernel(l, "matmul", "matmul_pack", "-DROWS=%d%s%s", DFX__VECTOR_ROWS, transposed,
                in_pairs);
    dfx__arg_scratch(l, 0, packed_bytes(c, pairs));
    dfx__arg_in(l, B);
    dfx__arg_int(l, s.columns);
    dfx__arg_int(l, s.k);
    dfx__arg_int(l, s.heads);
    dfx__grid(l, parts(s.k, PACKED), parts(s.columns, DFX__PANEL), s.b_images * s.heads, 1, 1, 1);

    dfx__kernel(l, "matmul", "matmul_vector", "-DROWS=%d%s%s", DFX__VECTOR_ROWS, transposed,
                in_pairs);
    dfx__arg_in(l, A);
    dfx__arg_scratch(l, 0, packed_bytes(c, pairs));
    last_args(c, &s, l);
    dfx__vector_grid(c, l, s.images * s.heads, s.rows, s.columns, 1);
}

static void launch_vector(const dfx_call *c, dfx__launches *l)
{
    launch_packed(c, l, 0);
}

static void launch_pairs(const dfx_call *c, dfx__launches *l)
{
    launch_packed(c, l, 1);
}

static int takes_vector(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    return d->vector_width > 1;
}

static int takes_pairs(const dfx_call *c, const dfx_device *d)
{
    (void)d;
    return dfx__takes_pairs(c);
}

/* OpenCL on any device: groups of side x side, a work-item computes 4 x 4 numbers. */
static void launch_tiles(const dfx_call *c, dfx__launches *l, int side)
{
    struct sizes s = sizes(c);
    int tile = 4 * side;
    int aligned = s.k % 4 == 0 && s.columns % 4 == 0;
    dfx__kernel(l, "matmul_tiled", "matmul_tiled",
                "-DITEMS_X=%d -DITEMS_Y=%d -DROWS=4 -DCOLUMNS=4 -DDEPTH=%d%s%s", side, side, side,
                aligned ? " -DALIGNED" : "", s.transposed ? " -DTRANSPOSED -DB_IN_ROWS" : "");
    dfx__arg_in(l, A);
    dfx__arg_in(l, B);
    last_args(c, &s, l);
    dfx__grid(l, parts(s.rows, tile) * parts(s.columns, tile) * side, s.images * s.heads * side, 1,
              side, side, 1);
}

static void launch_tiled(const dfx_call *c, dfx__launches *l)
{
    launch_tiles(c, l, 16);
}

static void launch_tiled_small(const dfx_call *c, dfx__launches *l)
{
    launch_tiles(c, l, dfx__group(c, 64) == 64 ? 8 : 4);
}

/* All devices have the local memory, under 16 KiB. On devices with vectors the vector kernels are
 * faster, and one size is compiled sooner. */
static int takes_tiled(const dfx_call *c, const dfx_device *d)
{
    (void)c;
    return d->vector_width == 1 && d->info.max_group >= 256;
}

/* Takes every call on any device. Where large tiles leave units without work it may be faster. */
static int takes_tiled_small(const dfx_call *c, const dfx_device *d)
{
    struct sizes s = sizes(c);
    int64_t tiles = s.images * s.heads * parts(s.rows, 64) * parts(s.columns, 64);
    if (d->vector_width > 1)
        return DFX__LAST;
    return takes_tiled(c, d) && tiles >= d->info.units ? DFX__ASKED : 1;
}

/* Batches of CLBlast are of one stride: a launch for each image, or for each head where these are
 * fewer. */
static void launch_clblast(const dfx_call *c, dfx__launches *l)
{
    struct sizes s = sizes(c);
    int by_head = s.heads == 1 || (s.heads < s.images && s.b_images > 1);
    int64_t launches = by_head ? s.heads : s.images;
    dfx__products g = { .count = (size_t)(by_head ? s.images : s.heads),
                        .m = (size_t)s.rows,
                        .n = (size_t)s.columns,
                        .k = (size_t)s.k,
                        .transpose_b = s.transposed,
                        .scale = c->f[SCALE] };
    const struct steps *steps[] = { &s.a, &s.b, &s.y };
    for (int64_t i = 0; i < launches; i++) {
        dfx__matrices *matrices[] = { &g.a, &g.b, &g.c };
        for (int k = 0; k < 3; k++)
            *matrices[k] = (dfx__matrices){
                .at = (size_t)(i * (by_head ? steps[k]->head : steps[k]->image)),
                .line = (size_t)steps[k]->line,
                .next = (size_t)(by_head ? steps[k]->image : steps[k]->head),
            };
        dfx__gemm(l, A, B, g);
    }
}

static int takes_clblast(const dfx_call *c, const dfx_device *d)
{
    if (!d->has_gemm || c->out->spec.dtype != DFX_F32)
        return 0;
    return d->vector_width > 1 ? DFX__LAST : 1;
}

static const dfx__variant cl[] = {
    { "dot_bf16", takes_pairs, DFX__PLAIN, dot_scratch, launch_pairs, NULL },
    { "vector", takes_vector, DFX__PLAIN, vector_scratch, launch_vector, NULL },
    { "tiled", takes_tiled, DFX__PLAIN, NULL, launch_tiled, NULL },
    { "tiled_small", takes_tiled_small, DFX__PLAIN, NULL, launch_tiled_small, NULL },
    { "clblast", takes_clblast, DFX__PLAIN, NULL, launch_clblast, NULL },
    { 0 },
};

static const dfx__case cases[] = {
    { { "1,1,1", "1,1,1" }, { 1, 0 }, { 1.0f } },
    { { "2,5,17", "2,17,3" }, { 1, 0 }, { 0.25f } },
    { { "2,5,17", "2,3,17" }, { 1, 1 }, { -0.3f } },
    { { "3,7,24", "1,24,36" }, { 1, 0 }, { 0.2f } }, /* b for all images */
    { { "3,7,24", "1,9,24" }, { 1, 1 }, { 0.2f } },
    { { "2,9,30", "1,13,30" }, { 3, 1 }, { 0.3f } }, /* heads, b for all images */
    { { "2,3,9,13", "1,13,30" }, { 3, 0 }, { 0.3f } },
    { { "2,5,17", "w1,17,33" }, { 1, 0 }, { 1.0f } }, /* a constant */
    { { "1,70,80", "1,77,80" }, { 2, 1 }, { 0.16f } },
    { { "1,2,70,77", "1,77,80" }, { 2, 0 }, { 0.1f } },
    { { "2,65,120", "2,131,120" }, { 3, 1 }, { 0.15f } },
    { { "2,3,65,131", "2,131,120" }, { 3, 0 }, { 0.1f } },
    { { "3,4,33,36", "3,36,132" }, { 4, 0 }, { 0.17f } },
    { { "2,67,129", "2,130,129" }, { 1, 1 }, { 0.09f } },
    { { "2,130,600", "2,600,65" }, { 1, 0 }, { 0.04f } },
    { { "1,192,256", "1,256,128" }, { 1, 0 }, { 0.06f } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__matmul = { "matmul", infer, flops, cpu, cl, cases, 3.0f };
