/* parts.c - decoding part by part: one resnet or enlargement after the other, each in tiles,
 * between whole values on the host. */
#include "pipeline/parts.h"

#include "core/dtype.h"
#include "device/device.h"
#include "pipeline/fit.h"
#include "sequence/fitting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NORMS = 2 }; /* of a part, at most */

/* A whole value [height, width, channels] on the host; data NULL in a rehearsal. */
typedef struct {
    int height, width, channels;
    float *data;
} plane;

/* A part at work. */
typedef struct {
    const dfx__coder *c;
    int part, is_whole;
    plane in;
    dfx__tiling tiling;
    int norms; /* whose moments are known */
    int groups[NORMS];
    float *moments[NORMS]; /* [groups, 2] */
} work;

/* What a pass gives for each tile: the part's result, or a norm's input. */
typedef struct {
    dfx_sequence *sequence;
    dfx_value *result;
    int groups; /* of that norm; 0: it is the part's result */
} pass;

int dfx__parts_possible(const dfx__coder *c)
{
    return !c->masked && dfx__autoencoder_get_parts(c->vae, c->encodes);
}

/* ---- one pass ---- */

typedef struct {
    const work *w;
    pass *made;
} recording;

static void record(const void *user, dfx_sequence *s)
{
    const recording *r = user;
    const work *w = r->w;
    dfx__tile t = dfx__tiling_largest(&w->tiling);
    int64_t dim[] = { 1, t.height, t.width, w->in.channels };
    dfx_value *x = dfx_cast(dfx_input(s, "x", DFX_F32, 4, dim), w->c->dtype);
    if (!w->is_whole)
        dfx__sequence_give_moments(s, w->norms);
    dfx_value *y = dfx__autoencoder_part(w->c->vae, w->c->encodes, w->part, x);
    dfx__norm_without n = dfx__sequence_norm_without(s);
    y = dfx_cast(n.x ? n.x : y, DFX_F32);
    dfx_output(y, "result");
    *r->made = (pass){ s, y, n.x ? n.groups : 0 };
}

static dfx_status prepare_pass(pass *made, const work *w)
{
    const recording r = { w, made };
    const dfx__job job = { dfx__coder_name(w->c), w->c->dtype, record, &r,
                           dfx__tiling_count(&w->tiling) };
    dfx_sequence *s = NULL;
    DFX__TRY(dfx__fit_whole(&s, w->c->p, &job));
    made->sequence = s;
    return DFX_OK;
}

static dfx_status write_moments(const work *w, dfx_sequence *s)
{
    char name[DFX__MOMENTS_NAME];
    for (int i = 0; i < w->norms; i++) {
        snprintf(name, sizeof name, DFX__MOMENTS, i);
        DFX__TRY(
            dfx_sequence_write(s, name, w->moments[i], 2 * (size_t)w->groups[i] * sizeof(float)));
    }
    return DFX_OK;
}

/* `cut` is room for the tile of the input, `out` for what comes of it, n floats. */
static dfx_status run_tile(const work *w, const pass *m, const dfx__tile *t, float *cut, float *out,
                           size_t n, int *again)
{
    size_t count = (size_t)t->height * (size_t)t->width * (size_t)w->in.channels;
    dfx__cut_tile(cut, w->in.data, t, w->in.width, w->in.channels);
    DFX__TRY(dfx_sequence_write(m->sequence, "x", cut, count * sizeof *cut));
    DFX__TRY(write_moments(w, m->sequence));
    DFX__TRY(dfx_sequence_run(m->sequence));
    DFX__TRY(dfx_sequence_read(m->sequence, "result", out, n * sizeof *out));
    return dfx__guard(w->c->p, w->c->slot, m->sequence, out, n, again);
}

/* ---- moments ---- */

/* Sums and sums of squares of each channel over a part of a value. */
static void add_moments(double *sums, const float *x, const dfx__tile *part, int width,
                        int channels)
{
    for (int i = 0; i < part->height; i++) {
        const float *row = x + (size_t)((part->y + i) * width + part->x) * (size_t)channels;
        for (int j = 0; j < part->width; j++, row += channels)
            for (int c = 0; c < channels; c++) {
                sums[c] += (double)row[c];
                sums[channels + c] += (double)row[c] * row[c];
            }
    }
}

static dfx_status join_moments(work *w, const double *sums, int channels, int groups)
{
    int n = channels / groups;
    double all = (double)n * w->in.height * w->in.width;
    float *moments = dfx__alloc((size_t)groups, 2 * sizeof *moments);
    if (!moments)
        return dfx__no_memory();
    for (int g = 0; g < groups; g++) {
        double sum = 0, squares = 0;
        for (int c = g * n; c < (g + 1) * n; c++) {
            sum += sums[c];
            squares += sums[channels + c];
        }
        moments[2 * g] = (float)(sum / all);
        moments[2 * g + 1] = (float)(squares / all - sum / all * (sum / all));
    }
    w->groups[w->norms] = groups;
    w->moments[w->norms++] = moments;
    return DFX_OK;
}

/* ---- all tiles ---- */

/* What becomes of the tiles of a pass: they are summed up, or laid into `out`. */
typedef struct {
    double *sums;
    plane *out;
} sink;

/* A tile of the input in the size of what is made of it. */
static dfx__tile resize(const dfx__tile *t, const plane *in, const plane *out)
{
    int64_t h = out->height, w = out->width;
    return (dfx__tile){ (int)(t->y * h / in->height), (int)(t->x * w / in->width),
                        (int)(t->height * h / in->height), (int)(t->width * w / in->width) };
}

static void take_tile(const work *w, const sink *to, int i, const float *tile, int channels)
{
    dfx__tile t = dfx__tiling_at(&w->tiling, i), kept = dfx__tiling_share(&w->tiling, i);
    dfx__tile part = { kept.y - t.y, kept.x - t.x, kept.height, kept.width };
    if (to->sums) {
        add_moments(to->sums, tile, &part, t.width, channels);
        return;
    }
    const plane *in = &w->in, *out = to->out;
    part = resize(&part, in, out);
    kept = resize(&kept, in, out);
    t = resize(&t, in, out);
    for (int y = 0; y < part.height; y++)
        memcpy(out->data + (size_t)((kept.y + y) * out->width + kept.x) * (size_t)channels,
               tile + (size_t)((part.y + y) * t.width + part.x) * (size_t)channels,
               (size_t)(part.width * channels) * sizeof *tile);
}

static dfx_status run_tiles(const work *w, const pass *m, const sink *to, int *again)
{
    const dfx_spec *spec = dfx_value_spec(m->result);
    dfx__tile t = dfx__tiling_largest(&w->tiling);
    size_t n = dfx__elements(spec), count = (size_t)t.height * (size_t)t.width;
    float *cut = dfx__alloc(count, (size_t)w->in.channels * sizeof *cut);
    float *out = dfx__alloc(n, sizeof *out);
    dfx_status status = cut && out ? DFX_OK : dfx__no_memory();
    for (int i = 0; i < dfx__tiling_count(&w->tiling) && status == DFX_OK; i++) {
        dfx__tile tile = dfx__tiling_at(&w->tiling, i);
        status = run_tile(w, m, &tile, cut, out, n, again);
        if (status == DFX_OK && *again)
            status = DFX_ERROR_UNSUPPORTED;
        if (status == DFX_OK)
            take_tile(w, to, i, out, (int)spec->dim[3]);
    }
    free(cut);
    free(out);
    return status;
}

/* ---- a part ---- */

/* What a run of parts has seen so far. */
typedef struct {
    double flops, whole; /* done, and those of them that decoding as a whole would do */
    int again;
} progress;

static dfx_status count_flops(const work *w, const pass *m, progress *so_far)
{
    dfx_sequence_info info;
    DFX__TRY(dfx_sequence_get_info(m->sequence, &info));
    double flops = info.flops * dfx__tiling_count(&w->tiling);
    so_far->flops += flops;
    if (!m->groups)
        so_far->whole += flops / (1 + dfx__tiling_excess(&w->tiling));
    return DFX_OK;
}

/* The norm that a pass stops at. */
static dfx_status find_moments(work *w, const pass *m, progress *so_far)
{
    int channels = (int)dfx_value_spec(m->result)->dim[3];
    double *sums = dfx__alloc((size_t)channels, 2 * sizeof *sums);
    if (!sums)
        return dfx__no_memory();
    const sink to = { sums, NULL };
    dfx_status status = DFX_OK;
    if (!w->c->p->device->rehearses)
        status = run_tiles(w, m, &to, &so_far->again);
    if (status == DFX_OK)
        status = join_moments(w, sums, channels, m->groups);
    free(sums);
    return status;
}

static dfx_status make_result(const work *w, const pass *m, plane *out, progress *so_far)
{
    const dfx_spec *spec = dfx_value_spec(m->result);
    dfx__tile t = dfx__tiling_largest(&w->tiling);
    float *given = out->data;
    *out = (plane){ (int)(w->in.height * spec->dim[1] / t.height),
                    (int)(w->in.width * spec->dim[2] / t.width), (int)spec->dim[3], given };
    if (w->c->p->device->rehearses)
        return DFX_OK;
    size_t n = (size_t)out->height * (size_t)out->width;
    if (!given && !(out->data = dfx__alloc(n, (size_t)out->channels * sizeof *out->data)))
        return dfx__no_memory();
    const sink to = { NULL, out };
    return run_tiles(w, m, &to, &so_far->again);
}

/* The moments of a part's input need no pass. */
static dfx_status take_input_moments(work *w, int groups)
{
    const dfx__tile all = { 0, 0, w->in.height, w->in.width };
    double *sums = dfx__alloc((size_t)w->in.channels, 2 * sizeof *sums);
    if (!sums)
        return dfx__no_memory();
    if (w->in.data)
        add_moments(sums, w->in.data, &all, w->in.width, w->in.channels);
    dfx_status status = join_moments(w, sums, w->in.channels, groups);
    free(sums);
    return status;
}

/* Groups of the norm that a part begins with; 0: it begins otherwise. */
static dfx_status first_groups(const work *w, int *groups)
{
    dfx_sequence *s;
    pass made;
    const recording r = { w, &made };
    DFX__TRY(dfx_sequence_new(&s, w->c->p->device, w->c->dtype));
    record(&r, s);
    *groups = made.groups;
    dfx_sequence_free(s);
    return DFX_OK;
}

static dfx_status do_passes(work *w, plane *out, progress *so_far)
{
    int groups = 0, done = 0;
    if (!w->is_whole)
        DFX__TRY(first_groups(w, &groups));
    if (groups)
        DFX__TRY(take_input_moments(w, groups));
    while (!done) {
        pass m = { NULL, NULL, 0 };
        DFX__TRY(prepare_pass(&m, w));
        dfx_status status = count_flops(w, &m, so_far);
        done = !m.groups;
        if (status == DFX_OK)
            status = done ? make_result(w, &m, out, so_far) : find_moments(w, &m, so_far);
        dfx_sequence_free(m.sequence);
        DFX__TRY(status);
    }
    return DFX_OK;
}

/* *x becomes what the part makes of it; the last part's goes to `out` unless that is NULL. */
static dfx_status do_part(const dfx__coder *c, int part, int tile, plane *x, float *out,
                          progress *so_far)
{
    int is_whole = dfx__autoencoder_get_parts(c->vae, c->encodes)->is_whole(c->vae->net, part);
    work w = { .c = c, .part = part, .is_whole = is_whole, .in = *x };
    plane y = { 0, 0, 0, out };
    w.tiling = is_whole ? dfx__tiling_whole(x->height, x->width)
                        : dfx__tiling_snug(x->height, x->width, tile, DFX__PARTS_OVERLAP);
    dfx_status status = do_passes(&w, &y, so_far);
    for (int i = 0; i < w.norms; i++)
        free(w.moments[i]);
    free(x->data);
    *x = y;
    return status;
}

/* ---- all parts ---- */

static dfx_status do_parts(const dfx__coder *c, int tile, const float *input, float *out,
                           progress *so_far)
{
    int parts = dfx__autoencoder_get_parts(c->vae, c->encodes)->count(c->vae->net);
    plane x = { c->input_height, c->input_width, c->input_channels, NULL };
    size_t bytes = (size_t)x.height * (size_t)x.width * (size_t)x.channels * sizeof *input;
    if (input && !(x.data = malloc(bytes)))
        return dfx__no_memory();
    if (input)
        memcpy(x.data, input, bytes);
    dfx_status status = DFX_OK;
    for (int i = 0; i < parts && status == DFX_OK; i++)
        status = do_part(c, i, tile, &x, i + 1 == parts ? out : NULL, so_far);
    if (status == DFX_OK)
        status = c->check(c, &(dfx_spec){ DFX_F32, 4, { 1, x.height, x.width, x.channels } },
                          c->height, c->width);
    if (x.data != out)
        free(x.data);
    return status;
}

dfx_status dfx__parts_try(const dfx__coder *c, int tile, double *more)
{
    dfx_device *d = c->p->device;
    dfx_plan *plan = c->p->plan;
    progress so_far = { 0, 0, 0 };
    dfx__rehearsal before = dfx__rehearse(d);
    c->p->plan = NULL;
    dfx_status status = do_parts(c, tile, NULL, NULL, &so_far);
    c->p->plan = plan;
    dfx__rehearse_end(d, &before);
    *more = status == DFX_OK ? so_far.flops / so_far.whole - 1 : 0;
    return status;
}

dfx_status dfx__parts_run(dfx__coder *c, int tile, float *out)
{
    progress so_far = { 0, 0, 0 };
    int rehearses = c->p->device->rehearses;
    dfx_status status =
        do_parts(c, tile, rehearses ? NULL : c->input, rehearses ? NULL : out, &so_far);
    c->again = so_far.again;
    return status;
}
