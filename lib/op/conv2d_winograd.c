/* conv2d_winograd.c - 3x3 convolutions by Winograd's F(4x4, 3x3); the kernels are cl/winograd.cl.
 *
 * A tile of 4x4 results costs 36 multiplications for each pair of channels instead of 144 (Lavin &
 * Gray 2016): 6x6 pixels and the weight are transformed, multiplied element by element, summed over
 * the channels, and transformed back. For each of the 36 elements the sums are a matrix product
 * [tiles, C] x [C, O].
 *
 * The usual points 0, +-1, +-2 lose 7 times the accuracy of a direct sum; 0, +-sqrt(1/2),
 * +-sqrt(2), whose powers stay near 1 on both sides, less than twice (docs/performance.md). */
#include "op/conv2d.h"

#include "device/cpu_kernels.h"
#include "op/linear.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    IN = 6,      /* pixels that a tile sees, across and down */
    OUT = 4,     /* results of a tile, across and down */
    PLANES = 36, /* products of matrices: elements of a transformed tile */
    STEP = 16,   /* channels of a transformed tile are rounded up to it */
    BLOCK = 128, /* of a sum, before it is added to the rest */
    ROOM = 16,   /* floats between planes: without them all 36 would share their lines of the cache
                    when the sizes are powers of 2 */
    CHUNK = 48,  /* tiles that go through all steps at once, at least: 8, 6 and 4 rows divide it;
                    fewer would read the weight, four times its usual size, too often */
    WORKSPACE = 8 << 20, /* bytes that a larger chunk may take */
    MOST = 64 << 20      /* bytes of a chunk, at most */
};

/* Where it is faster than a direct sum by a quarter and more. */
enum { MIN_CHANNELS = 64, MIN_TILES = 64, MIN_TILES_OF_THREAD = 32 };

/* A call cut into chunks of tiles. On OpenCL devices a chunk's steps are launches, one chunk after
 * the other; the native CPU's threads take a chunk each, because waiting for each other after each
 * step costs more than it gives where other processes want the cores too. */
struct plan {
    int64_t across, down, tiles; /* tiles of a line, of a column, of all images */
    int64_t chunk;               /* tiles that a chunk has room for */
    int64_t step;                /* tiles of a chunk */
    int64_t threads;             /* chunks that are worked on at the same time */
    int64_t channels, pitch;     /* of the input; of a transformed tile */
    int64_t columns, panels;     /* of the result */
    int64_t v_plane, m_plane;    /* floats between planes of transformed pixels and of products */
};

static int64_t tile_bytes(int64_t pitch, int64_t panels)
{
    return PLANES * (int64_t)sizeof(float) * (pitch + panels * DFX__PANEL);
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static void cut(const dfx_call *c, struct plan *p)
{
    int64_t room = WORKSPACE / tile_bytes(p->pitch, p->panels) / CHUNK * CHUNK;
    p->threads = 1;
    p->chunk = p->step = room < CHUNK ? CHUNK : room;
    if (!c->sequence->device->is_native)
        return;
#ifdef _OPENMP
    p->threads = omp_get_max_threads();
#endif
    p->chunk = CHUNK;
    int64_t chunks = divide_up(divide_up(p->tiles, CHUNK), p->threads) * p->threads;
    int64_t rows = dfx__cpu_kernels()->rows;
    p->step = divide_up(divide_up(p->tiles, chunks), rows) * rows;
}

static struct plan plan_of(const dfx_call *c)
{
    const dfx_spec *x = &c->in[X]->spec, *out = &c->out->spec;
    struct plan p = { .across = (out->dim[2] + OUT - 1) / OUT,
                      .down = (out->dim[1] + OUT - 1) / OUT,
                      .channels = x->dim[3],
                      .columns = out->dim[3] };
    p.tiles = x->dim[0] * p.across * p.down;
    p.pitch = (p.channels + STEP - 1) / STEP * STEP;
    p.panels = (p.columns + DFX__PANEL - 1) / DFX__PANEL;
    cut(c, &p);
    p.v_plane = p.chunk * p.pitch + ROOM;
    p.m_plane = p.chunk * p.panels * DFX__PANEL + ROOM;
    return p;
}

/* Only f32: the transformed weight has to be kept in f32, eight times the memory of f16. */
static int is_possible(const dfx_call *c)
{
    const dfx_spec *w = &c->in[WEIGHT]->spec;
    struct plan p = plan_of(c);
    return w->dim[2] == 3 && w->dim[3] == 3 && c->i[STRIDE] == 1 && c->i[DILATION] == 1 &&
           c->i[GROUPS] == 1 && c->out->spec.dtype == DFX_F32 &&
           tile_bytes(p.pitch, p.panels) <= MOST / p.chunk;
}

static int pays(const dfx_call *c)
{
    struct plan p = plan_of(c);
    return p.channels >= MIN_CHANNELS && p.columns >= MIN_CHANNELS && p.tiles >= MIN_TILES &&
           p.tiles >= MIN_TILES_OF_THREAD * p.threads;
}

int dfx__winograd_accepts(const dfx_call *c, const dfx_device *d)
{
    if (d->vector_width <= 1 || !is_possible(c))
        return 0;
    return d->vector_width >= STEP && pays(c) ? 1 : DFX__ASKED;
}

int dfx__winograd_accepts_native(const dfx_call *c, const dfx_device *d)
{
    if (!d->is_native || !is_possible(c))
        return 0;
    return pays(c) ? 1 : DFX__ASKED;
}

static size_t pixels_bytes(const dfx_call *c, const struct plan *p)
{
    return dfx__align(c->sequence->device, (size_t)(PLANES * p->v_plane) * sizeof(float));
}

static size_t products_bytes(const dfx_call *c, const struct plan *p)
{
    return dfx__align(c->sequence->device, (size_t)(PLANES * p->m_plane) * sizeof(float));
}

size_t dfx__winograd_scratch(const dfx_call *c)
{
    struct plan p = plan_of(c);
    return (pixels_bytes(c, &p) + products_bytes(c, &p)) * (size_t)p.threads;
}

/* Image and first result of a tile. */
struct place {
    int64_t image, y, x;
};

static struct place place_of(const struct plan *p, int64_t tile)
{
    int64_t line = tile / p->across;
    return (struct place){ line / p->down, line % p->down * OUT, tile % p->across * OUT };
}

static void tile_in(const dfx_call *c, const float *x, const struct plan *p, int64_t tile,
                    float *to)
{
    const dfx_spec *s = &c->in[X]->spec;
    const float *pixel[PLANES];
    struct place at = place_of(p, tile);
    for (int i = 0; i < PLANES; i++) {
        int64_t iy = at.y - c->i[TOP] + i / IN, ix = at.x - c->i[LEFT] + i % IN;
        int inside = iy >= 0 && iy < s->dim[1] && ix >= 0 && ix < s->dim[2];
        pixel[i] = inside ? x + ((at.image * s->dim[1] + iy) * s->dim[2] + ix) * s->dim[3] : NULL;
    }
    dfx__cpu_kernels()->winograd->input(to, (size_t)p->v_plane, pixel, (size_t)p->channels);
}

static void tile_out(const dfx_call *c, const dfx__host *h, const struct plan *p, int64_t tile,
                     const float *from)
{
    const dfx_spec *s = &c->out->spec;
    const float *bias = h->in[BIAS];
    struct place at = place_of(p, tile);
    for (int64_t first = 0; first < p->columns; first += DFX__PANEL) {
        float *pixel[OUT * OUT];
        int64_t n = p->columns - first < DFX__PANEL ? p->columns - first : DFX__PANEL;
        for (int i = 0; i < OUT * OUT; i++) {
            int64_t oy = at.y + i / OUT, ox = at.x + i % OUT;
            int64_t element = ((at.image * s->dim[1] + oy) * s->dim[2] + ox) * s->dim[3] + first;
            pixel[i] = oy < s->dim[1] && ox < s->dim[2] ? (float *)h->out + element : NULL;
        }
        dfx__cpu_kernels()->winograd->output(pixel, from + first * p->chunk, (size_t)p->m_plane,
                                             bias ? bias + first : NULL, (size_t)n);
    }
}

/* One panel of one product: m [count][32] = v [count][channels] u [channels][32]. A block of u
 * stays in the first-level cache; rows after the last one repeat it. */
static void multiply(const struct plan *p, const float *v, const float *u, float *m, int64_t count)
{
    const struct dfx__cpu_kernels *kernels = dfx__cpu_kernels();
    memset(m, 0, (size_t)(p->chunk * DFX__PANEL) * sizeof *m);
    for (int64_t k = 0; k < p->channels; k += BLOCK) {
        int64_t n = p->channels - k < BLOCK ? p->channels - k : BLOCK;
        for (int64_t first = 0; first < count; first += kernels->rows) {
            const float *row[DFX__TILE_ROWS];
            for (int r = 0; r < kernels->rows; r++)
                row[r] = v + (first + r < count ? first + r : count - 1) * p->pitch + k;
            kernels->tile(m + first * DFX__PANEL, row, u + k * DFX__PANEL, (size_t)n);
        }
    }
}

static void do_chunk(const dfx_call *c, const dfx__host *h, const struct plan *p, int64_t first,
                     char *workspace)
{
    const float *u = h->in[WEIGHT];
    float *v = (float *)workspace, *m = (float *)(workspace + pixels_bytes(c, p));
    int64_t count = p->tiles - first < p->step ? p->tiles - first : p->step;
    for (int64_t t = 0; t < count; t++)
        tile_in(c, h->in[X], p, first + t, v + t * p->pitch);
    for (int64_t i = 0; i < PLANES * p->panels; i++)
        multiply(p, v + i / p->panels * p->v_plane, u + i * p->channels * DFX__PANEL,
                 m + i / p->panels * p->m_plane + i % p->panels * p->chunk * DFX__PANEL, count);
    for (int64_t t = 0; t < count; t++)
        tile_out(c, h, p, first + t, m + t * DFX__PANEL);
}

void dfx__winograd_run(const dfx_call *c, const dfx__host *h)
{
    struct plan p = plan_of(c);
    size_t bytes = pixels_bytes(c, &p) + products_bytes(c, &p);
    /* Not p.threads: the number may have changed since the memory was planned. */
    int threads = (int)(c->scratch.bytes / bytes);
#pragma omp parallel num_threads(threads)
    {
        char *workspace = h->scratch;
#ifdef _OPENMP
        workspace += (size_t)omp_get_thread_num() * bytes;
#endif
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < p.tiles; first += p.step)
            do_chunk(c, h, &p, first, workspace);
    }
}

static void kernel(dfx__launches *l, const char *name)
{
    dfx__kernel(l, "winograd", name, "-DROWS=%d", DFX__VECTOR_ROWS);
}

static void launch_input(const dfx_call *c, dfx__launches *l, const struct plan *p, int64_t first,
                         int64_t count)
{
    kernel(l, "winograd_input");
    dfx__arg_in(l, X);
    dfx__arg_scratch(l, 0, pixels_bytes(c, p));
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, c->in[X]->spec.dim[k]);
    dfx__arg_int(l, p->across);
    dfx__arg_int(l, p->down);
    dfx__arg_int(l, c->i[TOP]);
    dfx__arg_int(l, c->i[LEFT]);
    dfx__arg_int(l, first);
    dfx__arg_int(l, p->v_plane);
    dfx__arg_int(l, p->pitch);
    dfx__grid(l, count, 1, 1, 1, 1, 1);
}

static void launch_multiply(const dfx_call *c, dfx__launches *l, const struct plan *p,
                            int64_t count)
{
    kernel(l, "winograd_multiply");
    dfx__arg_scratch(l, 0, pixels_bytes(c, p));
    dfx__arg_in(l, WEIGHT);
    dfx__arg_scratch(l, pixels_bytes(c, p), products_bytes(c, p));
    dfx__arg_int(l, p->channels);
    dfx__arg_int(l, p->v_plane);
    dfx__arg_int(l, p->pitch);
    dfx__arg_int(l, p->m_plane);
    dfx__arg_int(l, p->chunk);
    dfx__grid(l, (count + DFX__VECTOR_ROWS - 1) / DFX__VECTOR_ROWS, p->panels, PLANES, 1, 1, 1);
}

static void launch_output(const dfx_call *c, dfx__launches *l, const struct plan *p, int64_t first,
                          int64_t count)
{
    kernel(l, "winograd_output");
    dfx__arg_scratch(l, pixels_bytes(c, p), products_bytes(c, p));
    dfx__arg_in(l, BIAS);
    dfx__arg_out(l);
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, c->out->spec.dim[k]);
    dfx__arg_int(l, p->across);
    dfx__arg_int(l, p->down);
    dfx__arg_int(l, first);
    dfx__arg_int(l, p->m_plane);
    dfx__arg_int(l, p->chunk);
    dfx__grid(l, count, 1, 1, 1, 1, 1);
}

void dfx__winograd_launch(const dfx_call *c, dfx__launches *l)
{
    struct plan p = plan_of(c);
    for (int64_t first = 0; first < p.tiles; first += p.step) {
        int64_t count = p.tiles - first < p.step ? p.tiles - first : p.step;
        launch_input(c, l, &p, first, count);
        launch_multiply(c, l, &p, count);
        launch_output(c, l, &p, first, count);
    }
}
