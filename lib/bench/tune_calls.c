/* tune_calls.c - every way of the calls that Stable Diffusion 1.5 and XL are made of. */
#include "bench/component.h"
#include "bench/published.h"
#include "bench/tune.h"

#include <string.h>

/* In the order in which they are wanted: what takes most of a picture's time first. */
static const struct part {
    const char *model, *file;
    int size, batch;
} parts[] = {
    { "sd1", "unet/config.json", 512, 2 },         { "sd1", "vae/config.json", 512, 1 },
    { "sd1", "text_encoder/config.json", 512, 2 }, { "sdxl", "unet/config.json", 1024, 2 },
    { "sdxl", "vae/config.json", 1024, 1 },
};
enum { PARTS = sizeof parts / sizeof *parts };

struct state {
    const dfx__tuner *tuner;
    double until;
    dfx_status status; /* of the caller's report */
    int is_over;       /* the time */
};

static int report(void *user, const dfx__tuned_call *c)
{
    struct state *s = user;
    if (c) {
        dfx_tune_row row = { .what = c->op,
                             .shape = c->call,
                             .best = c->variant,
                             .tried = c->ways,
                             .wrong = c->wrong,
                             .seconds = c->seconds,
                             .before = c->first,
                             .done = 1 };
        s->status = dfx__tuner_report(s->tuner, &row);
    }
    s->is_over = s->status == DFX_OK && dfx__tuner_spent(s->tuner) > s->until;
    return s->status != DFX_OK || s->is_over;
}

static dfx_status tune_part(struct state *s, const struct part *part,
                            const dfx__published *published, dfx_dtype dtype)
{
    const char *kind;
    dfx_model *model;
    dfx_sequence *sequence;
    DFX__TRY(dfx__published_model(&model, published, part->file));
    dfx_status status = dfx_sequence_new(&sequence, s->tuner->device, dtype);
    if (status == DFX_OK)
        status = dfx__bench_record(sequence, model, part->size, part->batch, &kind);
    if (status == DFX_OK)
        status = dfx__tune_all(sequence, report, s);
    dfx_sequence_free(sequence);
    dfx_model_free(model);
    return status;
}

dfx_status dfx__tune_calls(const dfx__tuner *t, dfx_dtype dtype, double until)
{
    struct state s = { t, until, DFX_OK, 0 };
    dfx__published published = { NULL, NULL };
    dfx_status status = DFX_OK;
    for (int i = 0; i < PARTS && status == DFX_OK; i++) {
        if (dfx__tuner_spent(t) > until)
            break;
        if (i == 0 || strcmp(parts[i].model, parts[i - 1].model) != 0) {
            dfx__published_close(&published);
            status = dfx__published_open(&published, parts[i].model);
        }
        if (status == DFX_OK)
            status = tune_part(&s, &parts[i], &published, dtype);
    }
    dfx__published_close(&published);
    return s.is_over && status == DFX_ERROR_INTERRUPTED ? DFX_OK : status;
}
