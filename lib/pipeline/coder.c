/* coder.c - an autoencoder's encoder or decoder at work: whole where the device's memory suffices,
 * else in tiles, the larger the better. */
#include "pipeline/coder.h"

#include "core/dtype.h"
#include "device/device.h"
#include "pipeline/fit.h"
#include "pipeline/parts.h"

#include <stdlib.h>

/* Latents: smaller tiles are mostly overlap, and what norms see of a picture is little. */
enum { LEAST_TILE = 16 };

/* Pixels: the first that is tried takes some hundred MiB in published decoders. */
enum { FIRST_PARTS_TILE = 512, LEAST_PARTS_TILE = 32 };

const char *dfx__coder_name(const dfx__coder *c)
{
    return c->encodes ? "vae encoder" : "vae decoder";
}

/* ---- one tile ---- */

/* What is recorded for a tile, and the value that comes of it. */
typedef struct {
    const dfx__coder *c;
    int height, width;
    dfx_value **result;
} tile_job;

static void record(const void *user, dfx_sequence *s)
{
    const tile_job *t = user;
    dfx_value *x = dfx_cast(t->c->record(t->c, s, t->height, t->width), DFX_F32);
    dfx_output(x, "result");
    *t->result = x;
}

/* Tiles of that size; 0: it is the whole. */
static int count_shape(const dfx__coder *c, int height, int width)
{
    int count = 0, all = dfx__tiling_count(&c->tiling);
    for (int i = 0; i < all && all > 1; i++) {
        dfx__tile t = dfx__tiling_at(&c->tiling, i);
        count += t.height == height && t.width == width;
    }
    return count;
}

typedef dfx_status fit_function(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job);

static dfx_status prepare_tile(const dfx__coder *c, int height, int width, fit_function *fit)
{
    dfx__kept *k = c->kept;
    int64_t shape[] = { height, width, c->masked, c->dtype };
    dfx_value *result = NULL;
    const tile_job t = { c, height, width, &result };
    const dfx__job job = { dfx__coder_name(c), c->dtype, record, &t,
                           count_shape(c, height, width) };
    if (!dfx__needs_recording(k, c->vae, shape, 4))
        return DFX_OK;
    DFX__TRY(fit(&k->sequence, c->p, &job));
    dfx_status status = c->check(c, dfx_value_spec(result), height, width);
    if (status != DFX_OK)
        dfx__forget(k);
    return status;
}

static dfx_status code_tile(void *user, const dfx__tile *t, float *out)
{
    dfx__coder *c = user;
    size_t n = (size_t)(t->height * c->unit) * (size_t)(t->width * c->unit) * (size_t)c->channels;
    DFX__TRY(prepare_tile(c, t->height, t->width, dfx__fit_whole));
    DFX__TRY(c->write(c, t));
    DFX__TRY(dfx_sequence_run(c->kept->sequence));
    DFX__TRY(dfx_sequence_read(c->kept->sequence, "result", out, n * sizeof *out));
    DFX__TRY(dfx__guard(c->p, c->slot, c->kept->sequence, out, n, &c->again));
    return c->again ? DFX_ERROR_UNSUPPORTED : DFX_OK;
}

dfx_status dfx__coder_write(const dfx__coder *c, const char *name, const float *plane,
                            const dfx__tile *part, int width, int channels)
{
    size_t n = (size_t)part->height * (size_t)part->width * (size_t)channels;
    float *room = dfx__alloc(n, sizeof *room);
    if (!room)
        return dfx__no_memory();
    dfx__cut_tile(room, plane, part, width, channels);
    dfx_status status = dfx_sequence_write(c->kept->sequence, name, room, n * sizeof *room);
    free(room);
    return status;
}

static dfx_status run(dfx__coder *c, float *out)
{
    if (c->parts_tile)
        return dfx__parts_run(c, c->parts_tile, out);
    return dfx__code_tiles(&c->tiling, c->unit, c->channels, code_tile, c, out);
}

dfx_status dfx__coder_run(dfx__coder *c, float *out)
{
    dfx_status status = run(c, out);
    if (!c->again)
        return status;
    c->dtype = dfx__component_dtype(c->p, c->slot);
    DFX__TRY(dfx__coder_prepare(c)); /* more memory: perhaps other tiles */
    return run(c, out);
}

/* ---- what fits ---- */

static dfx_status prepare_tiling(dfx__coder *c, const dfx__tiling *tiling, fit_function *fit)
{
    dfx__tile largest = dfx__tiling_largest(tiling);
    c->tiling = *tiling;
    return prepare_tile(c, largest.height, largest.width, fit);
}

/* Whether a picture of that size did not fit before; in what tiles it did. */
static int known_tile(const dfx__coder *c)
{
    const dfx__tiles *t = &c->kept->tiles;
    int same = c->kept->model == c->vae && t->height == c->height && t->width == c->width &&
               t->dtype == c->dtype && t->limit == c->p->device->limit;
    return same ? t->side : 0;
}

static void remember_tile(const dfx__coder *c, int side, int in_parts, double more)
{
    int told = known_tile(c) == side && c->kept->tiles.told;
    c->kept->model = c->vae;
    c->kept->tiles = (dfx__tiles){ c->height, c->width, c->dtype, c->p->device->limit,
                                   side,      in_parts, more,     told };
}

/* Says once what was chosen; a rehearsal chooses without a word. */
static void tell(const dfx__coder *c)
{
    dfx__tiles *k = &c->kept->tiles;
    int factor = k->in_parts ? 1 : dfx__autoencoder_get_facts(c->vae).factor;
    dfx__tile t = dfx__tiling_largest(&c->tiling);
    const char *verb = c->encodes ? "encode" : "decode";
    if (k->told || !known_tile(c) || c->p->device->rehearses)
        return;
    k->told = 1;
    dfx__log("the device's memory does not suffice to %s the picture as a whole: it is %sd%s in "
             "%d tiles of %d x %d pixels, with %.0f%% more to compute",
             verb, verb, k->in_parts ? " layer by layer" : "", dfx__tiling_count(&c->tiling),
             t.width * factor, t.height * factor, 100 * k->more);
}

/* Tiles that overlap by a quarter, of the sides `tile`. */
static dfx__tiling cut(const dfx__coder *c, int tile)
{
    return dfx__tiling_equal(c->height, c->width, tile, (tile + 3) / 4);
}

/* Latents of a side: the config's size, or of its doubles the largest that is less than the
 * picture. */
static int first_tile(const dfx__coder *c)
{
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(c->vae);
    int side = c->height > c->width ? c->height : c->width;
    int tile = f.sample_size / f.factor > 1 ? f.sample_size / f.factor : 1;
    while (2 * tile < side)
        tile *= 2;
    while (tile >= side && tile > 1)
        tile /= 2;
    return tile;
}

static dfx_status fit_tiles(dfx__coder *c)
{
    dfx_status status = DFX_ERROR_MEMORY;
    int tile = first_tile(c), least = tile < LEAST_TILE ? tile : LEAST_TILE;
    for (; status == DFX_ERROR_MEMORY && tile >= least; tile /= 2) {
        dfx__tiling tiling = cut(c, tile);
        status = prepare_tiling(c, &tiling, dfx__fit_whole);
        if (status == DFX_OK)
            remember_tile(c, tile, 0, dfx__tiling_excess(&tiling));
    }
    return status;
}

static int picture_side(const dfx__coder *c, int latents)
{
    return latents * dfx__autoencoder_get_facts(c->vae).factor;
}

static void take_apart(dfx__coder *c, int tile)
{
    c->parts_tile = tile;
    c->tiling = dfx__tiling_snug(picture_side(c, c->height), picture_side(c, c->width), tile,
                                 DFX__PARTS_OVERLAP);
}

static dfx_status fit_parts(dfx__coder *c)
{
    dfx_status status = DFX_ERROR_MEMORY;
    int side = picture_side(c, c->height > c->width ? c->height : c->width);
    int tile = FIRST_PARTS_TILE;
    double more;
    while (tile >= side)
        tile /= 2;
    for (; status == DFX_ERROR_MEMORY && tile >= LEAST_PARTS_TILE; tile /= 2) {
        status = dfx__parts_try(c, tile, &more);
        if (status != DFX_OK)
            continue;
        take_apart(c, tile);
        remember_tile(c, tile, 1, more);
    }
    return status;
}

static dfx_status prepare_auto(dfx__coder *c)
{
    int tile = known_tile(c);
    dfx__tiling whole = dfx__tiling_whole(c->height, c->width);
    if (tile && c->kept->tiles.in_parts) {
        take_apart(c, tile);
        return DFX_OK;
    }
    dfx__tiling tiling = tile ? cut(c, tile) : whole;
    dfx_status status = prepare_tiling(c, &tiling, dfx__fit_whole);
    if (status == DFX_ERROR_MEMORY && dfx__parts_possible(c))
        status = fit_parts(c);
    if (status == DFX_ERROR_MEMORY)
        status = fit_tiles(c);
    return status == DFX_ERROR_MEMORY ? prepare_tiling(c, &whole, dfx__fit_anyhow) : status;
}

dfx_status dfx__coder_prepare(dfx__coder *c)
{
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(c->vae);
    dfx__tiling tiling = dfx__tiling_whole(c->height, c->width);
    c->parts_tile = 0;
    if (c->p->tile == DFX_TILE_AUTO) {
        DFX__TRY(prepare_auto(c));
        tell(c);
        return DFX_OK;
    }
    if (c->p->tile == DFX_TILE_ON)
        tiling = dfx__tiling_of_diffusers(&f, c->height, c->width);
    dfx_status status = prepare_tiling(c, &tiling, dfx__fit_whole);
    return status == DFX_ERROR_MEMORY ? prepare_tiling(c, &tiling, dfx__fit_anyhow) : status;
}
