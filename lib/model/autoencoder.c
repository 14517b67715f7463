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

dfx_status dfx__autoencoder_forward(const dfx_model *m, dfx__forward *f)
{
    dfx__autoencoder_facts facts = dfx__autoencoder_get_facts(m);
    dfx_value *x;
    if (!dfx_tensors_find(f->in, "latent")) {
        DFX__TRY(dfx__given_image(&x, f, "sample", facts.in_channels));
        return encode(m, f, x);
    }
    DFX__TRY(dfx__given_image(&x, f, "latent", facts.latent_channels));
    dfx__forward_result(f, "sample", dfx__autoencoder_decode(m, x));
    return dfx__forward_run(f);
}
