/* autoencoder.c - autoencoders of all classes behind one interface, and running one on its own. */
#include "model/autoencoder.h"

#include "model/forward.h"

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

const dfx__autoencoder_parts *dfx__autoencoder_get_parts(const dfx_model *m, int encodes)
{
    const dfx__autoencoder_functions *f = m->class->autoencoder;
    return encodes ? f->encode_parts : f->decode_parts;
}

dfx_value *dfx__autoencoder_part(const dfx_model *m, int encodes, int part, dfx_value *x)
{
    dfx__push_in(x, "vae");
    dfx_value *y = dfx__autoencoder_get_parts(m, encodes)->record(m->net, part, x);
    dfx__pop_in(x);
    return y;
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

/* Log-variances within what diffusers keeps. */
static const float least = -30, most = 20;

static dfx_status encode(const dfx_model *m, dfx__forward *f, dfx_value *image)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(m);
    int64_t channels = facts.latent_channels;
    dfx_value *y = dfx__autoencoder_encode(m, image);
    if (!facts.has_moments) {
        dfx__forward_result(f, "latent_mean", y);
    } else {
        dfx__forward_result(f, "latent_mean", dfx_slice(y, 3, 0, channels));
        dfx__forward_result_between(f, "latent_logvar", dfx_slice(y, 3, channels, channels), least,
                                    most);
    }
    return dfx__forward_run(f);
}

/* A picture or a mask in the size of what is decoded. */
static dfx_status given_whole(dfx_value **out, dfx__forward *f, const char *name, int channels,
                              const dfx_spec *latent, int factor)
{
    int64_t height = latent->dim[1] * factor, width = latent->dim[2] * factor;
    DFX__TRY(dfx__given_image(out, f, name, channels));
    const dfx_spec *s = dfx_value_spec(*out);
    if (s->dim[0] == latent->dim[0] && s->dim[1] == height && s->dim[2] == width)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "the input tensor %s must be [%lld, %d, %lld, %lld]", name,
                     (long long)latent->dim[0], channels, (long long)height, (long long)width);
}

static dfx_status decode(const dfx_model *m, dfx__forward *f, dfx_value *latent)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(m);
    const dfx_spec *s = dfx_value_spec(latent);
    int masked = dfx_tensors_find(f->in, "image") || dfx_tensors_find(f->in, "mask");
    dfx_value *image, *mask;
    if (masked && facts.takes_mask) {
        DFX__TRY(given_whole(&image, f, "image", facts.out_channels, s, facts.factor));
        DFX__TRY(given_whole(&mask, f, "mask", 1, s, facts.factor));
        dfx__forward_result(f, "sample", dfx__autoencoder_decode_masked(m, latent, image, mask));
    } else {
        dfx__forward_result(f, "sample", dfx__autoencoder_decode(m, latent));
    }
    return dfx__forward_run(f);
}

dfx_status dfx__autoencoder_forward(const dfx_model *m, dfx__forward *f)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(m);
    dfx_value *x;
    if (!dfx_tensors_find(f->in, "latent")) {
        DFX__TRY(dfx__given_image(&x, f, "sample", facts.in_channels));
        return encode(m, f, x);
    }
    DFX__TRY(dfx__given_image(&x, f, "latent", facts.latent_channels));
    return decode(m, f, x);
}
