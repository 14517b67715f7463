/* models.c - Stable Diffusion 1.5 at its real size, with random weights: what its parts and a
 * picture of 512x512 take, and what single calls let expect. */
#include "bench/bench.h"
#include "bench/component.h"
#include "bench/published.h"

#include "core/dtype.h"

#include <stdio.h>

enum { SIZE = 512, STEPS = 20 };

/* A component: its config's file, what it runs on, and how often a picture needs it. */
struct part {
    const char *file, *name, *shape;
    int batch, times;
};

static const struct part parts[] = {
    { "text_encoder/config.json", "text encoder", "2 prompts", 2, 1 },
    { "unet/config.json", "UNet step", "2 x 512x512 (guidance)", 2, STEPS },
    { "vae/config.json", "VAE decoding", "512x512", 1, 1 },
};
enum { PARTS = sizeof parts / sizeof *parts };

struct models {
    dfx__bench *b;
    dfx__published published;
    double predicted, measured; /* of a picture so far; 0 where a part has none */
    uint64_t memory;
};

static dfx_status run_sequence(void *data, double *seconds)
{
    *seconds = 0;
    return dfx_sequence_run(data);
}

static dfx_status measure(struct models *m, const struct part *part, dfx_sequence *s,
                          dfx_bench_row *row)
{
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(dfx__bench_fill(s));
    DFX__TRY(dfx__bench_time(m->b, row, part->times, run_sequence, s));
    row->memory = dfx_device_memory_used(s->device);
    return DFX_OK;
}

static dfx_status run_part(struct models *m, const struct part *part, dfx_sequence *s,
                           const dfx_model *model)
{
    const char *kind;
    dfx_bench_row row = { .group = DFX_BENCH_MODEL,
                          .name = part->name,
                          .shape = part->shape,
                          .model = "SD 1.5",
                          .variant = "",
                          .dtype = dfx_dtype_name(m->b->options.dtype) };
    DFX__TRY(dfx__bench_record(s, model, SIZE, part->batch, &kind));
    if (s->status != DFX_OK)
        return dfx__fail(s->status, "%s", s->message);
    row.predicted = dfx__bench_predict(m->b, s, &row.flops);
    m->predicted += part->times * row.predicted;
    if (!m->b->options.quick)
        DFX__TRY(measure(m, part, s, &row));
    m->measured += row.wall.sum / (row.wall.runs ? row.wall.runs : 1) * part->times;
    if (row.memory > m->memory)
        m->memory = row.memory;
    return dfx__bench_report(m->b, &row, dfx__bench_peak(m->b, m->b->options.dtype));
}

static dfx_status open_part(struct models *m, const struct part *part)
{
    dfx_model *model;
    dfx_sequence *s;
    DFX__TRY(dfx__published_model(&model, &m->published, part->file));
    dfx_status status = dfx_sequence_new(&s, m->b->device, m->b->options.dtype);
    if (status == DFX_OK)
        status = run_part(m, part, s, model);
    dfx_sequence_free(s);
    dfx_model_free(model);
    return status;
}

/* All of a picture but the scheduler's arithmetic, which is nothing beside it. */
static dfx_status report_picture(const struct models *m)
{
    char shape[64];
    snprintf(shape, sizeof shape, "512x512, %d steps", STEPS);
    dfx_bench_row row = { .group = DFX_BENCH_MODEL,
                          .name = "a picture",
                          .shape = shape,
                          .model = "SD 1.5",
                          .variant = "",
                          .dtype = dfx_dtype_name(m->b->options.dtype),
                          .predicted = m->predicted,
                          .memory = m->memory };
    double t = m->measured;
    if (!m->b->options.quick)
        row.wall = (dfx_bench_times){ 1, t, t, t, t, t, t };
    return dfx__bench_report(m->b, &row, DFX__PEAK_F32);
}

dfx_status dfx__bench_models(dfx__bench *b)
{
    struct models m = { .b = b };
    dfx_status status = dfx__published_open(&m.published, "sd1");
    for (int i = 0; i < PARTS && status == DFX_OK; i++)
        status = open_part(&m, &parts[i]);
    if (status == DFX_OK)
        status = report_picture(&m);
    dfx__published_close(&m.published);
    if (status == DFX_OK || status == DFX_ERROR_INTERRUPTED)
        return status;
    dfx__log("Stable Diffusion 1.5: %s", dfx_error());
    return DFX_OK;
}
