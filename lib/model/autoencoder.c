/* autoencoder.c - autoencoders of all classes behind one interface, and running one on its own. */
#include "model/autoencoder.h"

#include "core/dtype.h"
#include "sequence/sequence.h"

#include <stdlib.h>

int dfx__is_autoencoder(const dfx_model *m)
{
    return m->class->autoencoder != NULL;
}

dfx__autoencoder_facts dfx__autoencoder_get_facts(const dfx_model *m)
{
    return m->class->autoencoder->facts(m->net);
}

dfx_value *dfx__autoencoder_encode(const dfx_model *m, dfx_value *image)
{
    dfx__push_in(image, "vae");
    dfx_value *x = m->class->autoencoder->encode(m->net, image);
    dfx__pop_in(image);
    return x;
}

dfx_value *dfx__autoencoder_decode(const dfx_model *m, dfx_value *latent)
{
    dfx__push_in(latent, "vae");
    dfx_value *x = m->class->autoencoder->decode(m->net, latent);
    dfx__pop_in(latent);
    return x;
}

dfx_value *dfx__autoencoder_decode_masked(const dfx_model *m, dfx_value *latent, dfx_value *image,
                                          dfx_value *mask)
{
    dfx__push_in(latent, "vae");
    dfx_value *x = m->class->autoencoder->decode_masked(m->net, latent, image, mask);
    dfx__pop_in(latent);
    return x;
}

/* ---- forward ---- */

/* A tensor of forward's, written into an input of the sequence that has its name. */
struct edge {
    const char *name;
    dfx_spec spec; /* NCHW */
    float *data;
};

static dfx_status take_edge(struct edge *e, const dfx_tensors *in, const char *name, int channels)
{
    e->name = name;
    return dfx__forward_floats(&e->data, &e->spec, in, name, 4,
                               (int64_t[]){ -1, channels, -1, -1 });
}

static dfx_value *record_edge(const struct edge *e, dfx_sequence *s)
{
    const int64_t *dim = e->spec.dim, nhwc[] = { dim[0], dim[2], dim[3], dim[1] };
    return dfx_cast(dfx_input(s, e->name, DFX_F32, 4, nhwc), s->dtype);
}

static dfx_status write_edge(const struct edge *e, dfx_sequence *s)
{
    float *room = dfx__alloc(dfx__elements(&e->spec), sizeof *room);
    if (!room)
        return dfx__no_memory();
    dfx__to_channels_last(room, e->data, &e->spec);
    dfx_status status = dfx_sequence_write(s, e->name, room, dfx__spec_bytes(&e->spec));
    free(room);
    return status;
}

/* Splits moments [N, h, w, 2 C] into the two results of an encoding. */
static dfx_status add_moments(dfx_sequence *s, dfx_value *y, dfx_tensors *out)
{
    dfx_spec spec = *dfx_value_spec(y);
    size_t n = dfx__elements(&spec), half = (size_t)spec.dim[3] / 2;
    dfx_spec nchw = { DFX_F32, 4, { spec.dim[0], (int64_t)half, spec.dim[1], spec.dim[2] } };
    float *moments = dfx__alloc(n, 2 * sizeof *moments);
    if (!moments)
        return dfx__no_memory();
    float *part = moments + n, *result = part + n / 2;
    dfx_status status = dfx_sequence_read(s, "out", moments, n * sizeof *moments);
    for (size_t which = 0; which < 2 && status == DFX_OK; which++) {
        for (size_t p = 0; p < n / (2 * half); p++)
            for (size_t c = 0; c < half; c++) {
                float v = moments[(2 * p + which) * half + c];
                part[p * half + c] = !which ? v : v < -30 ? -30 : v > 20 ? 20 : v;
            }
        dfx__to_channels_first(result, part, &nchw);
        status = dfx_tensors_add(out, which ? "latent_logvar" : "latent_mean", &nchw, result);
    }
    free(moments);
    return status;
}

static dfx_status run(const dfx_model *m, dfx_sequence *s, const struct edge *edge, int edges,
                      int encode, dfx_tensors *out)
{
    dfx_value *x[3] = { NULL };
    for (int i = 0; i < edges; i++)
        x[i] = record_edge(&edge[i], s);
    dfx_value *y = encode       ? dfx__autoencoder_encode(m, x[0])
                   : edges == 1 ? dfx__autoencoder_decode(m, x[0])
                                : dfx__autoencoder_decode_masked(m, x[0], x[1], x[2]);
    y = dfx_cast(y, DFX_F32);
    dfx_output(y, "out");
    DFX__TRY(dfx_sequence_prepare(s));
    for (int i = 0; i < edges; i++)
        DFX__TRY(write_edge(&edge[i], s));
    DFX__TRY(dfx_sequence_run(s));
    if (encode && dfx__autoencoder_get_facts(m).has_moments)
        return add_moments(s, y, out);
    return dfx__forward_result(out, encode ? "latent_mean" : "sample", s, "out", dfx_value_spec(y),
                               1);
}

static dfx_status take_edges(struct edge *edge, int *edges, const dfx_model *m, int encode,
                             const dfx_tensors *in)
{
    dfx__autoencoder_facts f = dfx__autoencoder_get_facts(m);
    *edges = 1;
    DFX__TRY(take_edge(&edge[0], in, encode ? "sample" : "latent",
                       encode ? f.in_channels : f.latent_channels));
    if (encode || !f.takes_mask ||
        (!dfx_tensors_find(in, "image") && !dfx_tensors_find(in, "mask")))
        return DFX_OK;
    *edges = 3;
    DFX__TRY(take_edge(&edge[1], in, "image", f.out_channels));
    return take_edge(&edge[2], in, "mask", 1);
}

dfx_status dfx__autoencoder_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                                    const dfx_tensors *in, dfx_tensors *out)
{
    int encode = dfx_tensors_find(in, "latent") == NULL, edges;
    struct edge edge[3] = { 0 };
    dfx_sequence *s;
    dfx_status status = take_edges(edge, &edges, m, encode, in);
    if (status == DFX_OK)
        status = dfx_sequence_new(&s, device, dtype);
    if (status == DFX_OK) {
        status = run(m, s, edge, edges, encode, out);
        dfx_sequence_free(s);
    }
    for (int i = 0; i < 3; i++)
        free(edge[i].data);
    return status;
}
