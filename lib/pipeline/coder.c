/* coder.c - an autoencoder's encoder or decoder at work: whole where the device's memory suffices,
 * else in tiles, the larger the better. */
#include "pipeline/coder.h"

#include "core/dtype.h"
#include "device/device.h"
#include "pipeline/fit.h"

#include <stdlib.h>

/* Latents: smaller tiles are mostly overlap, and what norms see of a picture is little. */
enum { LEAST_TILE = 16 };

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

typedef dfx_status fit_function(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job);

static dfx_status prepare_tile(const dfx__coder *c, int height, int width, fit_function *fit)
{
    dfx__kept *k = c->kept;
    int64_t shape[] = { height, width, c->masked, c->dtype };
    dfx_value *result = NULL;
    const tile_job t = { c, height, width, &result };
    const dfx__job job = { c->encodes ? "vae encoder" : "vae decoder", c->dtype, record, &t };
    if (!dfx__needs_recording(k, c->vae, shape, 4))
        return DFX_OK;
    dfx_sequence *s = NULL; /* not k's yet, which may be asked to make room */
    DFX__TRY(fit(&s, c->p, &job));
    k->sequence = s;
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

dfx_status dfx__coder_run(dfx__coder *c, float *out)
{
    dfx_status status = dfx__code_tiles(&c->tiling, c->unit, c->channels, code_tile, c, out);
    if (!c->again)
        return status;
    c->dtype = dfx__component_dtype(c->p, c->slot);
    DFX__TRY(dfx__coder_prepare(c)); /* more memory: perhaps other tiles */
    return dfx__code_tiles(&c->tiling, c->unit, c->channels, code_tile, c, out);
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
    const dfx__kept *k = c->kept;
    int same = k->model == c->vae && k->height == c->height && k->width == c->width;
    return same ? k->tile : 0;
}

/* The config's size, or of its doubles the largest that is less than the picture. */
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

/* Says once what was chosen; a rehearsal chooses without a word. */
static void tell(const dfx__coder *c)
{
    int factor = dfx__autoencoder_get_facts(c->vae).factor;
    dfx__tile t = dfx__tiling_largest(&c->tiling);
    const char *verb = c->encodes ? "encode" : "decode";
    if (c->kept->told || !c->kept->tile || c->p->device->rehearses)
        return;
    c->kept->told = 1;
    dfx__log("the device's memory does not suffice to %s the picture as a whole: it is %sd in %d "
             "tiles of %d x %d pixels, with %.0f%% more of them to compute",
             verb, verb, dfx__tiling_count(&c->tiling), t.width * factor, t.height * factor,
             100 * dfx__tiling_excess(&c->tiling));
}

static void remember_tile(const dfx__coder *c, int tile)
{
    dfx__kept *k = c->kept;
    k->told = k->told && k->height == c->height && k->width == c->width && k->tile == tile;
    k->height = c->height;
    k->width = c->width;
    k->tile = tile;
}

static dfx_status fit_tiles(dfx__coder *c)
{
    dfx_status status = DFX_ERROR_MEMORY;
    int tile = first_tile(c), least = tile < LEAST_TILE ? tile : LEAST_TILE;
    for (; status == DFX_ERROR_MEMORY && tile >= least; tile /= 2) {
        dfx__tiling tiling = dfx__tiling_equal(c->height, c->width, tile);
        status = prepare_tiling(c, &tiling, dfx__fit_whole);
        if (status == DFX_OK)
            remember_tile(c, tile);
    }
    return status;
}

dfx_status dfx__coder_prepare(dfx__coder *c)
{
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(c->vae);
    dfx_tile mode = c->p->tile;
    int tile = mode == DFX_TILE_AUTO ? known_tile(c) : 0;
    dfx__tiling whole = dfx__tiling_whole(c->height, c->width), tiling = whole;
    if (mode == DFX_TILE_ON)
        tiling = dfx__tiling_of_diffusers(&f, c->height, c->width);
    else if (tile)
        tiling = dfx__tiling_equal(c->height, c->width, tile);
    dfx_status status = prepare_tiling(c, &tiling, dfx__fit_whole);
    if (status == DFX_ERROR_MEMORY && mode == DFX_TILE_AUTO)
        status = fit_tiles(c);
    if (status == DFX_ERROR_MEMORY)
        status = prepare_tiling(c, mode == DFX_TILE_ON ? &tiling : &whole, dfx__fit_anyhow);
    if (status == DFX_OK)
        tell(c);
    return status;
}
