/* conv2d_winograd.c - 3x3 convolutions by Winograd's F(4x4, 3x3) and F(6x6, 3x3); the kernels are
 * cl/winograd.cl.
 *
 * A tile of 4x4 results costs 36 multiplications for each pair of channels instead of 144 (Lavin &
 * Gray 2016): 6x6 pixels and the weight are transformed, multiplied element by element, summed over
 * the channels, and transformed back. For each of the 36 elements the sums are a matrix product
 * [tiles, C] x [C, O]. Tiles of 6x6 results cost 64 instead of 324. All of it is f32, however
 * pixels and weights are stored.
 *
 * Of 4x4, the usual points 0, +-1, +-2 lose 7 times the accuracy of a direct sum; 0, +-sqrt(1/2),
 * +-sqrt(2), whose powers stay near 1 on both sides, less than twice (docs/performance.md). Tiles
 * of 6x6 lose more than that, and still far less than results in f16 or bf16 do by being stored.
 *
 * The weight is transformed where it is multiplied: kept transformed it takes four times the memory
 * of f32, eight of f16, and reading that costs more than the sums that it saves. */
#include "op/conv2d.h"

#include "device/cpu_kernels.h"
#include "device/cpu_panels.h"
#include "op/linear.h"

#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    MOST_IN = 8,  /* pixels that a tile sees, across and down, at most */
    MOST_OUT = 6, /* results of a tile, across and down, at most */
    STEP = 16,    /* channels of a transformed tile are rounded up to it */
    ROOM = 16,    /* floats between planes: without them all planes would share their lines of the
                     cache when the sizes are powers of 2 */
    PART = 64,    /* channels of the weight that are transformed at once */
    BLOCK = 128,  /* tiles of 4x4 that they are multiplied with: fewer would make their transform
                    dear, more would not leave the products in the second-level cache */
    CHUNK = 6 << 20, /* bytes of transformed pixels that stay in the third-level cache */
    MOST = 64 << 20, /* bytes of transformed pixels at most */
    TAPS = 9
};

/* Where it is faster than a direct sum. */
enum { MIN_CHANNELS = 32, MIN_TILES = 12 };

/* Chunks of tiles follow each other. Of a chunk all pixels are transformed, then each task takes a
 * panel of outputs and a block of tiles from the weight to the result, with room for one part of
 * the panel's weight and for the block's products. */
struct plan {
    int64_t out, in, planes;           /* of a tile: results and pixels of a side; elements */
    int64_t across, down, tiles;       /* tiles of a line, of a column, of all images */
    int64_t chunk, block;              /* tiles */
    int64_t channels, pitch;           /* of the input; of a transformed tile */
    int64_t columns, panels;           /* of the result */
    int64_t v_plane, u_plane, m_plane; /* floats between planes of pixels, weight, products */
    int64_t workers;                   /* that have a room of their own */
};

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cuts the result into tiles of out x out. */
static struct plan cut(const dfx_call *c, int64_t out)
{
    const dfx_spec *result = &c->out->spec;
    struct plan p = { .out = out, .in = out + 2, .planes = (out + 2) * (out + 2) };
    p.across = (result->dim[2] + out - 1) / out;
    p.down = (result->dim[1] + out - 1) / out;
    p.tiles = result->dim[0] * p.across * p.down;
    return p;
}

/* Large tiles where the dtype hides their errors, and where too few of their results are outside
 * the picture to eat up what they save. */
static struct plan choose_tiles(const dfx_call *c)
{
    struct plan small = cut(c, 4), large = cut(c, 6);
    int saves = large.tiles * large.planes * 10 < small.tiles * small.planes * 9;
    return c->out->spec.dtype != DFX_F32 && saves ? large : small;
}

static struct plan plan_of(const dfx_call *c)
{
    const dfx_device *d = c->sequence->device;
    struct plan p = choose_tiles(c);
    p.channels = c->in[X]->spec.dim[3];
    p.columns = c->out->spec.dim[3];
    p.pitch = round_up(p.channels, STEP);
    p.panels = (p.columns + DFX__PANEL - 1) / DFX__PANEL;
    int64_t block = p.out == 4 ? BLOCK : BLOCK / 2;
    int64_t room = CHUNK / (p.planes * p.pitch * (int64_t)sizeof(float)) / block * block;
    p.chunk = least(round_up(p.tiles, DFX__VECTOR_ROWS), room < block ? block : room);
    p.block = least(p.chunk, block);
    p.v_plane = p.chunk * p.pitch + ROOM;
    p.u_plane = PART * DFX__PANEL + ROOM;
    p.m_plane = (p.block + DFX__TILE_ROWS) * DFX__PANEL + ROOM; /* a last tile may overhang */
    p.workers = d->info.units > 0 ? d->info.units : 1;
    return p;
}

static size_t pixels_bytes(const dfx_call *c, const struct plan *p)
{
    return dfx__align(c->sequence->device, (size_t)(p->planes * p->v_plane) * sizeof(float));
}

/* Floats of a worker's room: a part of the weight, and the products. */
static int64_t room_floats(const struct plan *p)
{
    return p->planes * (p->u_plane + p->m_plane);
}

static size_t rooms_bytes(const dfx_call *c, const struct plan *p)
{
    return dfx__align(c->sequence->device, (size_t)(p->workers * room_floats(p)) * sizeof(float));
}

/* OpenCL's workers count tasks in a number after the rooms. */
size_t dfx__winograd_scratch(const dfx_call *c)
{
    struct plan p = plan_of(c);
    return pixels_bytes(c, &p) + rooms_bytes(c, &p) + sizeof(int32_t);
}

static void arg_next(const dfx_call *c, dfx__launches *l, const struct plan *p)
{
    dfx__arg_scratch(l, pixels_bytes(c, p) + rooms_bytes(c, p), sizeof(int32_t));
}

static int is_possible(const dfx_call *c)
{
    const dfx_spec *w = &c->in[WEIGHT]->spec;
    struct plan p = plan_of(c);
    return w->dim[2] == 3 && w->dim[3] == 3 && c->i[STRIDE] == 1 && c->i[DILATION] == 1 &&
           c->i[GROUPS] == 1 && c->i[ACTIVATION] == DFX_IDENTITY && pixels_bytes(c, &p) <= MOST;
}

static int pays(const dfx_call *c)
{
    struct plan p = plan_of(c);
    return p.channels >= MIN_CHANNELS && p.columns >= MIN_CHANNELS && p.tiles >= MIN_TILES;
}

static int accepts(const dfx_call *c, const dfx_device *d)
{
    if (d->vector_width <= 1 || !is_possible(c))
        return 0;
    return d->vector_width >= STEP && pays(c) ? 1 : DFX__ASKED;
}

static int accepts_native(const dfx_call *c, const dfx_device *d)
{
    if (!d->is_native || !is_possible(c))
        return 0;
    return pays(c) ? 1 : DFX__ASKED;
}

/* Where weights lie in pairs for other ways there is no reason for a second copy. */
int dfx__winograd_accepts(const dfx_call *c, const dfx_device *d)
{
    int taken = accepts(c, d);
    return taken && dfx__takes_pairs(c) ? DFX__ASKED : taken;
}

int dfx__winograd_accepts_pairs(const dfx_call *c, const dfx_device *d)
{
    return dfx__takes_pairs(c) ? accepts(c, d) : 0;
}

int dfx__winograd_accepts_native(const dfx_call *c, const dfx_device *d)
{
    int taken = accepts_native(c, d);
    return taken && dfx__cpu_takes_pairs(c->out->spec.dtype) ? DFX__ASKED : taken;
}

int dfx__winograd_accepts_native_pairs(const dfx_call *c, const dfx_device *d)
{
    return dfx__cpu_takes_pairs(c->out->spec.dtype) ? accepts_native(c, d) : 0;
}

/* Image and first result of a tile. */
struct place {
    int64_t image, y, x;
};

static struct place place_of(const struct plan *p, int64_t tile)
{
    int64_t line = tile / p->across;
    return (struct place){ line / p->down, line % p->down * p->out, tile % p->across * p->out };
}

/* A call on the native CPU. */
typedef struct {
    const dfx_call *call;
    const dfx__host *host;
    struct plan p;
    dfx_dtype dtype, weight;
    size_t size;
    int pairs;
} job;

static void tile_in(const job *j, int64_t tile, float *to)
{
    const dfx_spec *s = &j->call->in[X]->spec;
    const int64_t *i = j->call->i;
    const void *pixel[MOST_IN * MOST_IN];
    struct place at = place_of(&j->p, tile);
    int64_t height = dfx__conv2d_height(j->call), width = dfx__conv2d_width(j->call);
    for (int64_t k = 0; k < j->p.planes; k++) {
        int64_t y = at.y - i[TOP] + k / j->p.in, x = at.x - i[LEFT] + k % j->p.in;
        int inside = y >= 0 && y < height && x >= 0 && x < width;
        y = i[HEIGHT] ? y * s->dim[1] / height : y;
        x = i[WIDTH] ? x * s->dim[2] / width : x;
        int64_t element = ((at.image * s->dim[1] + y) * s->dim[2] + x) * s->dim[3];
        pixel[k] = inside ? (const char *)j->host->in[X] + (size_t)element * j->size : NULL;
    }
    dfx__cpu_kernels()->winograd->input(to, (size_t)j->p.v_plane, pixel, j->dtype, (int)j->p.out,
                                        (size_t)j->p.channels);
}

/* What is added to every pixel of a panel's outputs in an image. */
static void load_offset(const job *j, float *offset, int64_t image, int64_t first, int64_t n)
{
    const float *bias = j->host->in[BIAS];
    for (int64_t i = 0; i < DFX__PANEL; i++)
        offset[i] = bias && i < n ? bias[first + i] : 0;
    if (!j->host->in[CHANNELS])
        return;
    float channels[DFX__PANEL];
    size_t at = (size_t)(image * j->p.columns + first) * j->size;
    dfx__to_f32(channels, (const char *)j->host->in[CHANNELS] + at, j->dtype, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        offset[i] += channels[i];
}

static void tile_out(const job *j, int64_t tile, int64_t panel, const float *from,
                     const float *offset)
{
    const dfx_spec *s = &j->call->out->spec;
    struct place at = place_of(&j->p, tile);
    int64_t first = panel * DFX__PANEL;
    void *pixel[MOST_OUT * MOST_OUT];
    const void *add[MOST_OUT * MOST_OUT];
    const char *added = j->host->in[ADD];
    for (int64_t k = 0; k < j->p.out * j->p.out; k++) {
        int64_t y = at.y + k / j->p.out, x = at.x + k % j->p.out;
        int64_t element = ((at.image * s->dim[1] + y) * s->dim[2] + x) * s->dim[3] + first;
        int inside = y < s->dim[1] && x < s->dim[2];
        pixel[k] = inside ? (char *)j->host->out + (size_t)element * j->size : NULL;
        add[k] = inside && added ? added + (size_t)element * j->size : NULL;
    }
    dfx__cpu_kernels()->winograd->output(pixel, added ? add : NULL, j->dtype, from,
                                         (size_t)j->p.m_plane, (int)j->p.out, offset,
                                         (size_t)least(j->p.columns - first, DFX__PANEL));
}

/* Adds a part of the weight: for each plane m [count][32] += v [count][n] u [n][32]. Rows after the
 * last one repeat it. */
static void multiply(const struct plan *p, float *m, const float *v, const float *u, int64_t count,
                     size_t n, int fresh)
{
    static const float zeros[DFX__PANEL];
    const struct dfx__cpu_kernels *kernels = dfx__cpu_kernels();
    for (int64_t plane = 0; plane < p->planes; plane++)
        for (int64_t first = 0; first < count; first += kernels->rows) {
            const float *row[DFX__TILE_ROWS];
            for (int r = 0; r < kernels->rows; r++)
                row[r] = v + plane * p->v_plane + least(first + r, count - 1) * p->pitch;
            kernels->tile(m + plane * p->m_plane + first * DFX__PANEL, fresh ? zeros : NULL, row,
                          u + plane * p->u_plane, n);
        }
}

/* One panel of `count` tiles from `tile` on, whose transformed pixels are at v. */
static void do_block(const job *j, int64_t panel, int64_t tile, int64_t count, const float *v,
                     float *room)
{
    const struct plan *p = &j->p;
    int64_t inputs = j->pairs ? round_up(p->channels, 2) : p->channels;
    size_t bytes = (size_t)(TAPS * inputs * DFX__PANEL) * dfx_dtype_size(j->weight);
    const char *weight = (const char *)j->host->in[WEIGHT] + (size_t)panel * bytes;
    float *u = room, *m = room + p->planes * p->u_plane, offset[DFX__PANEL];
    for (int64_t k = 0; k < p->channels; k += PART) {
        size_t n = (size_t)least(p->channels - k, PART);
        dfx__cpu_kernels()->winograd->weight(u, (size_t)p->u_plane, weight, j->weight, j->pairs,
                                             (int)p->out, (size_t)p->channels, (size_t)k, n);
        multiply(p, m, v + k, u, count, n, k == 0);
    }
    int64_t image = -1, first = panel * DFX__PANEL;
    for (int64_t t = 0; t < count; t++) {
        if (place_of(p, tile + t).image != image) {
            image = place_of(p, tile + t).image;
            load_offset(j, offset, image, first, least(p->columns - first, DFX__PANEL));
        }
        tile_out(j, tile + t, panel, m + t * DFX__PANEL, offset);
    }
}

/* The threads share a chunk's tiles, then its blocks of each panel. */
static void do_chunk(const job *j, int64_t first, float *v, float *room)
{
    const struct plan *p = &j->p;
    int64_t count = least(p->tiles - first, p->chunk);
#pragma omp for schedule(dynamic, 4)
    for (int64_t t = 0; t < count; t++)
        tile_in(j, first + t, v + t * p->pitch);
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t t = 0; t < count; t += p->block)
        for (int64_t panel = 0; panel < p->panels; panel++)
            do_block(j, panel, first + t, least(count - t, p->block), v + t * p->pitch, room);
}

static void run(const dfx_call *c, const dfx__host *h, int pairs)
{
    dfx_dtype dtype = c->out->spec.dtype;
    job j = { c, h, plan_of(c), dtype, c->constant[WEIGHT]->dtype, dfx_dtype_size(dtype), pairs };
    float *v = h->scratch, *rooms = v + pixels_bytes(c, &j.p) / sizeof *v;
#pragma omp parallel num_threads((int)j.p.workers)
    {
        float *room = rooms;
#ifdef _OPENMP
        room += omp_get_thread_num() * room_floats(&j.p);
#endif
        for (int64_t first = 0; first < j.p.tiles; first += j.p.chunk)
            do_chunk(&j, first, v, room);
    }
}

void dfx__winograd_run(const dfx_call *c, const dfx__host *h)
{
    run(c, h, 0);
}

void dfx__winograd_run_pairs(const dfx_call *c, const dfx__host *h)
{
    run(c, h, 1);
}

static void launch_input(const dfx_call *c, dfx__launches *l, const struct plan *p, int64_t first,
                         int64_t count)
{
    dfx__kernel(l, "winograd", "winograd_input", "-DOUT=%d", (int)p->out);
    dfx__arg_in(l, X);
    dfx__arg_scratch(l, 0, pixels_bytes(c, p));
    arg_next(c, l, p);
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, c->in[X]->spec.dim[k]);
    dfx__arg_int(l, dfx__conv2d_height(c));
    dfx__arg_int(l, dfx__conv2d_width(c));
    dfx__arg_int(l, p->across);
    dfx__arg_int(l, p->down);
    dfx__arg_int(l, c->i[TOP]);
    dfx__arg_int(l, c->i[LEFT]);
    dfx__arg_int(l, first);
    dfx__arg_int(l, p->v_plane);
    dfx__arg_int(l, p->pitch);
    dfx__grid(l, count, 1, 1, 1, 1, 1);
}

static void launch_blocks(const dfx_call *c, dfx__launches *l, const struct plan *p, int64_t first,
                          int64_t count, const char *options)
{
    int64_t tasks = (count + p->block - 1) / p->block * p->panels;
    dfx__kernel(l, "winograd", "winograd_blocks", "-DOUT=%d -DROWS=%d -DPART=%d%s", (int)p->out,
                DFX__VECTOR_ROWS, PART, options);
    dfx__arg_scratch(l, 0, pixels_bytes(c, p));
    dfx__arg_in(l, WEIGHT);
    dfx__arg_in(l, BIAS);
    dfx__arg_in(l, CHANNELS);
    dfx__arg_in(l, ADD);
    dfx__arg_out(l);
    dfx__arg_scratch(l, pixels_bytes(c, p), rooms_bytes(c, p));
    arg_next(c, l, p);
    dfx__arg_int(l, p->channels);
    for (int k = 1; k < 4; k++)
        dfx__arg_int(l, c->out->spec.dim[k]);
    dfx__arg_int(l, p->across);
    dfx__arg_int(l, p->down);
    dfx__arg_int(l, first);
    dfx__arg_int(l, count);
    dfx__arg_int(l, p->block);
    dfx__arg_int(l, p->v_plane);
    dfx__arg_int(l, p->u_plane);
    dfx__arg_int(l, p->m_plane);
    dfx__arg_int(l, p->pitch);
    dfx__arg_int(l, tasks);
    dfx__grid(l, least(p->workers, tasks), 1, 1, 1, 1, 1);
}

static void launch(const dfx_call *c, dfx__launches *l, const char *options)
{
    struct plan p = plan_of(c);
    for (int64_t first = 0; first < p.tiles; first += p.chunk) {
        int64_t count = least(p.tiles - first, p.chunk);
        launch_input(c, l, &p, first, count);
        launch_blocks(c, l, &p, first, count, options);
    }
}

void dfx__winograd_launch(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, "");
}

void dfx__winograd_launch_pairs(const dfx_call *c, dfx__launches *l)
{
    launch(c, l, DFX__VECTOR_PAIRS);
}
