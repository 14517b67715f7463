/* tiling.c - latents cut into tiles, coded tile by tile, joined by fading over the overlaps. */
#include "pipeline/tiling.h"

#include "core/memory.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

/* ---- cutting ---- */

/* Equal tiles begin at even places, so that a side can be halved; the last one ends where it does.
 */
static int starts_at(const dfx__tiled_side *s, int i)
{
    if (!s->equal || s->count < 2)
        return i * s->step;
    int start = (int)((int64_t)i * (s->length - s->tile) / (s->count - 1));
    return i + 1 == s->count ? start : start / 2 * 2;
}

static int ends_at(const dfx__tiled_side *s, int i)
{
    int end = starts_at(s, i) + s->tile;
    return end < s->length ? end : s->length;
}

dfx__tile dfx__tiling_at(const dfx__tiling *t, int i)
{
    int row = i / t->x.count, column = i % t->x.count;
    int y = starts_at(&t->y, row), x = starts_at(&t->x, column);
    return (dfx__tile){ y, x, ends_at(&t->y, row) - y, ends_at(&t->x, column) - x };
}

dfx__tiling dfx__tiling_whole(int height, int width)
{
    return (dfx__tiling){ { height, height, height, 1, 0 }, { width, width, width, 1, 0 }, 0 };
}

static dfx__tiled_side cut(int length, int tile, int overlap)
{
    int step = tile - overlap;
    return (dfx__tiled_side){ length, tile, step, (length + step - 1) / step, 0 };
}

dfx__tiling dfx__tiling_of_diffusers(const dfx__autoencoder_facts *f, int height, int width)
{
    int tile = f->sample_size / f->factor > 1 ? f->sample_size / f->factor : 1;
    int overlap = f->tiles_by_mask ? tile / 8 : tile - tile * 3 / 4;
    if (overlap == tile)
        overlap = 0;
    if (!f->tiles_by_mask && height <= tile && width <= tile)
        return dfx__tiling_whole(height, width);
    return (dfx__tiling){ cut(height, tile, overlap), cut(width, tile, overlap), f->tiles_by_mask };
}

static dfx__tiled_side cut_equal(int length, int tile, int overlap)
{
    if (tile >= length)
        return (dfx__tiled_side){ length, length, length, 1, 1 };
    int step = tile > overlap ? tile - overlap : 1;
    return (dfx__tiled_side){ length, tile, step, 1 + (length - tile + step - 1) / step, 1 };
}

dfx__tiling dfx__tiling_equal(int height, int width, int tile, int overlap)
{
    return (dfx__tiling){ cut_equal(height, tile, overlap), cut_equal(width, tile, overlap), 0 };
}

/* As many tiles, no larger than they have to be. */
static void shrink(dfx__tiled_side *s, int overlap)
{
    if (s->count < 2)
        return;
    s->tile = (s->length + (s->count - 1) * (overlap + 1)) / s->count;
    s->tile += s->tile % 2;
    s->step = s->tile - overlap;
}

dfx__tiling dfx__tiling_snug(int height, int width, int tile, int overlap)
{
    dfx__tiling t = dfx__tiling_equal(height, width, tile, overlap);
    shrink(&t.y, overlap);
    shrink(&t.x, overlap);
    return t;
}

/* The middle of the overlap of tiles i - 1 and i, or the even place before it. */
static int border_before(const dfx__tiled_side *s, int i)
{
    if (i == 0)
        return 0;
    return i == s->count ? s->length : (starts_at(s, i) + ends_at(s, i - 1)) / 4 * 2;
}

dfx__tile dfx__tiling_share(const dfx__tiling *t, int i)
{
    int row = i / t->x.count, column = i % t->x.count;
    int y = border_before(&t->y, row), x = border_before(&t->x, column);
    return (dfx__tile){ y, x, border_before(&t->y, row + 1) - y,
                        border_before(&t->x, column + 1) - x };
}

int dfx__tiling_count(const dfx__tiling *t)
{
    return t->y.count * t->x.count;
}

dfx__tile dfx__tiling_largest(const dfx__tiling *t)
{
    return dfx__tiling_at(t, 0);
}

static double covered(const dfx__tiled_side *s)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++)
        sum += ends_at(s, i) - starts_at(s, i);
    return sum / s->length;
}

double dfx__tiling_excess(const dfx__tiling *t)
{
    return covered(&t->y) * covered(&t->x) - 1;
}

void dfx__cut_tile(float *to, const float *whole, const dfx__tile *t, int width, int channels)
{
    size_t row = (size_t)width * (size_t)channels, part = (size_t)t->width * (size_t)channels;
    whole += (size_t)t->y * row + (size_t)t->x * (size_t)channels;
    for (int y = 0; y < t->height; y++)
        memcpy(to + (size_t)y * part, whole + (size_t)y * row, part * sizeof *to);
}

/* ---- joining ---- */

/* A picture while it is coded. */
typedef struct {
    const dfx__tiling *t;
    size_t unit, channels;
    float **tile; /* [height * unit, width * unit, channels] each */
    float *out;
} joining;

static size_t overlap_before(const dfx__tiled_side *s, int i)
{
    return i ? (size_t)(ends_at(s, i - 1) - starts_at(s, i)) : 0;
}

/* n elements of b that come after those of a: the weight of a falls from 1, of b rises from 0. */
static void fade(float *b, const float *a, size_t n, size_t at, size_t extent)
{
    float weight = (float)at / (float)extent;
    for (size_t i = 0; i < n; i++)
        b[i] = a[i] * (1 - weight) + b[i] * weight;
}

/* diffusers' blend_v with the tile above, then blend_h with the one on the left, both of which have
 * faded into theirs over all of their size before. */
static void fade_tile(const joining *j, int row, int column)
{
    int i = row * j->t->x.count + column;
    dfx__tile t = dfx__tiling_at(j->t, i);
    size_t height = (size_t)t.height * j->unit, width = (size_t)t.width * j->unit * j->channels;
    size_t down = overlap_before(&j->t->y, row) * j->unit;
    size_t right = overlap_before(&j->t->x, column) * j->unit;
    float *b = j->tile[i];
    if (down) {
        const dfx__tile above = dfx__tiling_at(j->t, i - j->t->x.count);
        const float *a = j->tile[i - j->t->x.count];
        a += ((size_t)above.height * j->unit - down) * width;
        for (size_t y = 0; y < down; y++)
            fade(b + y * width, a + y * width, width, y, down);
    }
    size_t before = right ? (size_t)dfx__tiling_at(j->t, i - 1).width * j->unit * j->channels : 0;
    for (size_t y = 0; right && y < height; y++) {
        const float *a = j->tile[i - 1] + (y + 1) * before - right * j->channels;
        for (size_t x = 0; x < right; x++)
            fade(b + y * width + x * j->channels, a + x * j->channels, j->channels, x, right);
    }
}

/* What the next tiles do not cover goes out. */
static void keep_tile(const joining *j, int row, int column)
{
    const dfx__tiled_side *sy = &j->t->y, *sx = &j->t->x;
    int i = row * sx->count + column;
    dfx__tile t = dfx__tiling_at(j->t, i);
    int end_y = row + 1 < sy->count ? starts_at(sy, row + 1) : sy->length;
    int end_x = column + 1 < sx->count ? starts_at(sx, column + 1) : sx->length;
    size_t width = (size_t)t.width * j->unit * j->channels;
    size_t whole = (size_t)sx->length * j->unit * j->channels;
    size_t kept = (size_t)(end_x - t.x) * j->unit * j->channels * sizeof(float);
    float *to = j->out + (size_t)t.y * j->unit * whole + (size_t)t.x * j->unit * j->channels;
    for (size_t y = 0; y < (size_t)(end_y - t.y) * j->unit; y++)
        memcpy(to + y * whole, j->tile[i] + y * width, kept);
}

/* AutoencoderTiny's mask at element `at` of a tile: 0 to 1 within the overlap, where there is a
 * tile before. */
static float mask_at(const dfx__tiled_side *s, size_t unit, int i, size_t at)
{
    size_t overlap = (size_t)(s->tile - s->step) * unit;
    return i == 0 || at + 1 >= overlap ? 1 : (float)at / (float)(overlap - 1);
}

/* Lays a tile over what is there. */
static void lay_tile(const joining *j, int row, int column)
{
    int i = row * j->t->x.count + column;
    dfx__tile t = dfx__tiling_at(j->t, i);
    size_t whole = (size_t)j->t->x.length * j->unit * j->channels;
    float *to = j->out + (size_t)t.y * j->unit * whole + (size_t)t.x * j->unit * j->channels;
    const float *from = j->tile[i];
    for (size_t y = 0; y < (size_t)t.height * j->unit; y++, to += whole)
        for (size_t x = 0; x < (size_t)t.width * j->unit; x++) {
            float m = mask_at(&j->t->y, j->unit, row, y) * mask_at(&j->t->x, j->unit, column, x);
            for (size_t c = 0; c < j->channels; c++, from++) {
                float *out = &to[x * j->channels + c];
                *out = m < 1 ? m * *from + (1 - m) * *out : *from;
            }
        }
}

static void join(const joining *j)
{
    for (int row = 0; row < j->t->y.count; row++)
        for (int column = 0; column < j->t->x.count; column++) {
            if (j->t->by_mask) {
                lay_tile(j, row, column);
                continue;
            }
            fade_tile(j, row, column);
            keep_tile(j, row, column);
        }
}

/* ---- coding ---- */

/* Tiles of one of at most four shapes: those in the last row, the last column, both, neither. */
static dfx_status code_shape(const joining *j, int last_row, int last_column, dfx__code_tile *code,
                             void *user)
{
    const dfx__tiling *t = j->t;
    for (int i = 0; i < dfx__tiling_count(t); i++) {
        if ((i / t->x.count + 1 == t->y.count) != last_row ||
            (i % t->x.count + 1 == t->x.count) != last_column)
            continue;
        dfx__tile tile = dfx__tiling_at(t, i);
        size_t area = (size_t)tile.height * (size_t)tile.width;
        j->tile[i] = dfx__alloc(area * j->unit * j->unit * j->channels, sizeof **j->tile);
        if (!j->tile[i])
            return dfx__no_memory();
        DFX__TRY(code(user, &tile, j->tile[i]));
    }
    return DFX_OK;
}

dfx_status dfx__code_tiles(const dfx__tiling *t, int unit, int channels, dfx__code_tile *code,
                           void *user, float *out)
{
    int count = dfx__tiling_count(t);
    if (count == 1) {
        dfx__tile whole = dfx__tiling_largest(t);
        return code(user, &whole, out);
    }
    joining j = { t, (size_t)unit, (size_t)channels, calloc((size_t)count, sizeof *j.tile), out };
    dfx_status status = j.tile ? DFX_OK : dfx__no_memory();
    for (int shape = 0; shape < 4 && status == DFX_OK; shape++)
        status = code_shape(&j, shape / 2, shape % 2, code, user);
    if (status == DFX_OK)
        join(&j);
    for (int i = 0; j.tile && i < count; i++)
        free(j.tile[i]);
    free(j.tile);
    return status;
}
