/* component.c - recording the components of a pipeline on inputs of their own. */
#include "bench/component.h"

#include "core/dtype.h"
#include "dfxcl/rng.h"
#include "model/autoencoder.h"

#include <stdlib.h>

enum { TOKENS = 77, TIME_IDS = 6, LATENT = 8, LARGEST_ID = 1000 };

/* What a picture's steps have in common. */
static dfx_value *condition(dfx_sequence *s, const char *name, int rank, const int64_t *dim)
{
    dfx_value *v = dfx_input(s, name, DFX_F32, rank, dim);
    dfx_invariant(v);
    return v;
}

static dfx_value *record_unet(dfx_sequence *s, const dfx_model *m, int size, int batch)
{
    dfx__unet_facts f = dfx__unet_get_facts(m->net);
    int64_t n = batch, side = size / LATENT;
    dfx_value *x = dfx_input(s, "x", DFX_F32, 4, (int64_t[]){ n, side, side, f.in_channels });
    dfx_value *t = dfx_input(s, "t", DFX_F32, 1, (int64_t[]){ n });
    dfx_value *text = condition(s, "text", 3, (int64_t[]){ n, TOKENS, f.context });
    dfx__unet_inputs in = { .sample = dfx_cast(x, s->dtype),
                            .timestep = t,
                            .text = dfx_cast(text, s->dtype) };
    if (f.added_width) {
        int64_t pooled[] = { n, f.added_width - TIME_IDS * f.size_width };
        in.text_embeds = dfx_cast(condition(s, "text_embeds", 2, pooled), s->dtype);
        in.time_ids = condition(s, "time_ids", 2, (int64_t[]){ n, TIME_IDS });
    }
    return dfx__unet_record(m->net, &in);
}

static dfx_value *record_vae(dfx_sequence *s, const dfx_model *m, int size, int batch)
{
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(m);
    int64_t side = size / f.factor;
    dfx_value *x =
        dfx_input(s, "latent", DFX_F32, 4, (int64_t[]){ batch, side, side, f.latent_channels });
    return dfx__autoencoder_decode(m, dfx_cast(x, s->dtype));
}

static dfx_value *record_text(dfx_sequence *s, const dfx_model *m, int size, int batch)
{
    (void)size;
    int positions = dfx__clip_text_get_facts(m->net).positions;
    int64_t tokens = positions < TOKENS ? positions : TOKENS;
    dfx_value *ids = dfx_input(s, "ids", DFX_I32, 2, (int64_t[]){ batch, tokens });
    dfx__clip_text_outputs out;
    dfx__clip_text_record(m->net, &(dfx__clip_text_inputs){ ids, NULL, 0 }, DFX__CLIP_LAST, &out);
    return out.last_hidden_state;
}

dfx_status dfx__bench_record(dfx_sequence *s, const dfx_model *m, int size, int batch,
                             const char **part)
{
    static const struct {
        const dfx__model_class *class;
        const char *part;
        dfx_value *(*record)(dfx_sequence *s, const dfx_model *m, int size, int batch);
    } parts[] = {
        { &dfx__unet_class, "unet", record_unet },
        { &dfx__clip_text_class, "text", record_text },
        { &dfx__clip_text_projection_class, "text", record_text },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].class == m->class) {
            *part = parts[i].part;
            dfx_output(dfx_cast(parts[i].record(s, m, size, batch), DFX_F32), "out");
            return DFX_OK;
        }
    if (!m->class->autoencoder)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "no benchmark of the class %s", m->class->name);
    *part = "vae";
    dfx_output(dfx_cast(record_vae(s, m, size, batch), DFX_F32), "out");
    return DFX_OK;
}

static dfx_status fill(dfx_sequence *s, const dfx_value *v, dfx_rng *rng)
{
    size_t n = dfx__elements(&v->spec);
    void *data = dfx__alloc(n, 4);
    if (!data)
        return dfx__no_memory();
    if (v->spec.dtype == DFX_F32)
        dfx_rng_normal(rng, data, n);
    else
        for (size_t i = 0; i < n; i++)
            ((int32_t *)data)[i] = (int32_t)(i % LARGEST_ID);
    dfx_status status = dfx_sequence_write(s, v->name, data, n * 4);
    free(data);
    return status;
}

dfx_status dfx__bench_fill(dfx_sequence *s)
{
    dfx_rng rng;
    dfx_rng_seed(&rng, 0);
    for (const dfx_value *v = s->values; v; v = v->next)
        if (v->is_input)
            DFX__TRY(fill(s, v, &rng));
    return DFX_OK;
}
