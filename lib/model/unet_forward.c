/* unet_forward.c - running a UNet2DConditionModel once on given tensors. */
#include "core/dtype.h"
#include "model/unet.h"
#include "sequence/sequence.h"

#include <stdlib.h>
#include <string.h>

/* The tensors of dfx__unet_inputs, under diffusers' names. */
enum { SAMPLE, TIMESTEP, TEXT, TEXT_EMBEDS, TIME_IDS, CLASS_LABELS, TIMESTEP_COND, INPUTS };
static const char *const input_name[] = { "sample",       "timestep", "encoder_hidden_states",
                                          "text_embeds",  "time_ids", "class_labels",
                                          "timestep_cond" };

struct given {
    dfx_spec spec[INPUTS];
    void *data[INPUTS]; /* NULL: the UNet takes no such input */
};

static dfx_status read_input(struct given *g, int i, const dfx_tensors *in, int rank,
                             const int64_t *dim)
{
    float *data;
    DFX__TRY(dfx__forward_floats(&data, &g->spec[i], in, input_name[i], rank, dim));
    g->data[i] = data;
    return DFX_OK;
}

static dfx_status read_added(struct given *g, const dfx__unet_facts *f, const dfx_tensors *in,
                             int64_t batch)
{
    DFX__TRY(read_input(g, TIME_IDS, in, 2, (int64_t[]){ batch, -1 }));
    int64_t ids = g->spec[TIME_IDS].dim[1], most = (f->added_width - 1) / f->size_width;
    if (ids > most)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the input tensor time_ids has %lld entries for each sample; the UNet's "
                         "add_embedding takes %lld at most",
                         (long long)ids, (long long)most);
    int64_t pooled = f->added_width - ids * f->size_width;
    return read_input(g, TEXT_EMBEDS, in, 2, (int64_t[]){ batch, pooled });
}

/* Ids [N], or numbers [N] or vectors [N, D]. */
static dfx_status read_class(struct given *g, const dfx__unet_facts *f, const dfx_tensors *in,
                             int64_t batch)
{
    int64_t dim[] = { batch, f->class_width };
    int32_t *ids;
    if (f->class_labels != DFX__CLASS_ID)
        return read_input(g, CLASS_LABELS, in, f->class_labels == DFX__CLASS_VECTOR ? 2 : 1, dim);
    DFX__TRY(dfx__forward_ids(&ids, &g->spec[CLASS_LABELS], in, input_name[CLASS_LABELS], 1,
                              f->class_count));
    g->data[CLASS_LABELS] = ids;
    if (g->spec[CLASS_LABELS].dim[0] == batch)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "the input tensor class_labels has %lld ids and needs %lld",
                     (long long)g->spec[CLASS_LABELS].dim[0], (long long)batch);
}

static dfx_status read_inputs(struct given *g, const dfx__unet_facts *f, const dfx_tensors *in)
{
    DFX__TRY(read_input(g, SAMPLE, in, 4, (int64_t[]){ -1, f->in_channels, -1, -1 }));
    dfx_spec nchw = g->spec[SAMPLE];
    int64_t n = nchw.dim[0], nhwc[] = { n, nchw.dim[2], nchw.dim[3], nchw.dim[1] };
    DFX__TRY(read_input(g, TIMESTEP, in, 1, (int64_t[]){ n }));
    DFX__TRY(read_input(g, TEXT, in, 3, (int64_t[]){ n, -1, f->context }));
    if (f->added_width)
        DFX__TRY(read_added(g, f, in, n));
    if (f->class_labels != DFX__NO_CLASS)
        DFX__TRY(read_class(g, f, in, n));
    if (f->cond_width && dfx_tensors_find(in, input_name[TIMESTEP_COND]))
        DFX__TRY(read_input(g, TIMESTEP_COND, in, 2, (int64_t[]){ n, f->cond_width }));
    float *sample = dfx__alloc(dfx__elements(&nchw), sizeof *sample);
    if (!sample)
        return dfx__no_memory();
    dfx__to_channels_last(sample, g->data[SAMPLE], &nchw);
    free(g->data[SAMPLE]);
    g->data[SAMPLE] = sample;
    memcpy(g->spec[SAMPLE].dim, nhwc, sizeof nhwc);
    return DFX_OK;
}

/* In the sequence's dtype, but for ids and numbers that go into sinusoids; NULL where not given. */
static dfx_value *input(dfx_sequence *s, const struct given *g, int i)
{
    if (!g->data[i])
        return NULL;
    const dfx_spec *spec = &g->spec[i];
    dfx_value *v = dfx_input(s, input_name[i], spec->dtype, spec->rank, spec->dim);
    int as_it_is = i == TIMESTEP || i == TIME_IDS || (i == CLASS_LABELS && spec->rank == 1);
    return as_it_is ? v : dfx_cast(v, s->dtype);
}

static dfx_status write_inputs(dfx_sequence *s, const struct given *g)
{
    for (int i = 0; i < INPUTS; i++) {
        size_t bytes = dfx__spec_bytes(&g->spec[i]);
        if (g->data[i])
            DFX__TRY(dfx_sequence_write(s, input_name[i], g->data[i], bytes));
    }
    return DFX_OK;
}

static dfx_status forward(const dfx__unet *m, dfx_sequence *s, struct given *g,
                          const dfx_tensors *in, dfx_tensors *out)
{
    DFX__TRY(read_inputs(g, &m->facts, in));
    dfx__unet_inputs inputs = {
        .sample = input(s, g, SAMPLE),
        .timestep = input(s, g, TIMESTEP),
        .text = input(s, g, TEXT),
        .text_embeds = input(s, g, TEXT_EMBEDS),
        .time_ids = input(s, g, TIME_IDS),
        .class_labels = input(s, g, CLASS_LABELS),
        .timestep_cond = input(s, g, TIMESTEP_COND),
    };
    dfx_value *y = dfx_cast(dfx__unet_record(m, &inputs), DFX_F32);
    dfx_output(y, "out");
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(write_inputs(s, g));
    DFX__TRY(dfx_sequence_run(s));
    return dfx__forward_result(out, "sample", s, "out", dfx_value_spec(y), 1);
}

dfx_status dfx__unet_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                             const dfx_tensors *in, dfx_tensors *out)
{
    dfx_sequence *s;
    struct given given = { .data = { NULL } };
    DFX__TRY(dfx_sequence_new(&s, device, dtype));
    dfx_status status = forward(m->net, s, &given, in, out);
    dfx_sequence_free(s);
    for (int i = 0; i < INPUTS; i++)
        free(given.data[i]);
    return status;
}
