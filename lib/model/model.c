/* model.c - opening a component by its class, and running it on its own. */
#include "model/model.h"

#include "core/dtype.h"
#include "core/file.h"
#include "dfxcl/checkpoint.h"
#include "model/forward.h"
#include "model/unet2d.h"
#include "sequence/sequence.h"

#include <stdlib.h>
#include <string.h>

static const dfx__model_class *const classes[] = {
    &dfx__autoencoder_asym_kl_class,
    &dfx__autoencoder_kl_class,
    &dfx__autoencoder_tiny_class,
    &dfx__clip_text_class,
    &dfx__clip_text_projection_class,
    &dfx__dpt_class,
    &dfx__redux_image_encoder_class,
    &dfx__unet2d_class,
    &dfx__unet_class,
    &dfx__vq_model_class,
};

static dfx_status find_class(const dfx__model_class **out, const dfx__config *c,
                             const dfx__model_class *wanted)
{
    const char *name = dfx__json_class(c->json);
    if (!name)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: it names no class (_class_name, architectures)",
                         c->path);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i]->name, name) == 0 && (!wanted || wanted == classes[i])) {
            *out = classes[i];
            return DFX_OK;
        }
    if (wanted)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: the class is %s and %s is needed", c->path,
                         name, wanted->name);
    return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: the class %s is not supported", c->path, name);
}

/* Says which tensors of the files no block took. */
static void name_unused(const dfx_model *m)
{
    enum { NAMES = 4 };
    const char *name[NAMES];
    char text[512] = "";
    int n = dfx__weights_unused(m->weights, name, NAMES);
    for (int i = 0; i < n && i < NAMES; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%.100s", i ? ", " : "", name[i]);
    }
    if (n)
        dfx__log("%s: %d tensor%s not used: %s%s", m->folder, n, n == 1 ? " is" : "s are", text,
                 n > NAMES ? " ..." : "");
}

/* The names of the weights' types, in the order of dfx_dtype. */
static char *list_dtypes(dfx_model *m)
{
    int has[DFX_BOOL + 1] = { 0 };
    char text[128] = "";
    for (int i = 0; i < dfx__weights_count(m->weights); i++)
        has[dfx__weights_at(m->weights, i)->spec.dtype] = 1;
    for (int dtype = DFX_F32; dtype <= DFX_BOOL; dtype++) {
        size_t used = strlen(text);
        if (has[dtype])
            snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "",
                     dfx_dtype_name(dtype));
    }
    return dfx__pool_copy(&m->pool, text);
}

static dfx_status build_net(dfx_model *m, dfx__loader *l)
{
    l->pool = &m->pool;
    m->net = m->class->build(&m->config, l);
    DFX__TRY(m->config.status);
    if (l->status != DFX_OK)
        return dfx__fail_in(l->status, "%s", m->folder);
    return m->net ? DFX_OK : dfx__no_memory();
}

static dfx_status build(dfx_model *m, const dfx__model_class *wanted, const char *variant)
{
    DFX__TRY(find_class(&m->class, &m->config, wanted));
    DFX__TRY(dfx__weights_open(&m->weights, m->folder, m->class->basename, variant));
    dfx__loader l = { .weights = m->weights, .status = DFX_OK };
    DFX__TRY(build_net(m, &l));
    m->dtypes = list_dtypes(m);
    if (!m->dtypes)
        return dfx__no_memory();
    name_unused(m);
    return DFX_OK;
}

static dfx_status open_model(dfx_model *m, const char *folder, const dfx__model_class *class,
                             const char *variant)
{
    if (!dfx__folder_exists(folder))
        return dfx__fail(DFX_ERROR_FILE, "%s: there is no such folder", folder);
    m->folder = dfx__pool_copy(&m->pool, folder);
    if (!m->folder)
        return dfx__no_memory();
    DFX__TRY(dfx__config_open(&m->config, folder));
    return build(m, class, variant);
}

/* Hands a model over, or what there is of it goes. */
static dfx_status finish(dfx_model **out, dfx_model *m, dfx_status status)
{
    if (status != DFX_OK) {
        dfx_model_free(m);
        return status;
    }
    *out = m;
    return DFX_OK;
}

dfx_status dfx__model_open(dfx_model **out, const char *folder, const dfx__model_class *class,
                           const char *variant)
{
    *out = NULL;
    dfx_model *m = calloc(1, sizeof *m);
    return finish(out, m, m ? open_model(m, folder, class, variant) : dfx__no_memory());
}

static dfx_status make_random(dfx_model *m, json_object *config, const void *numbers, size_t bytes)
{
    dfx__loader l = { .random = numbers, .random_bytes = bytes, .status = DFX_OK };
    DFX__TRY(dfx__config_take(&m->config, config, "random weights"));
    m->folder = dfx__pool_copy(&m->pool, m->config.path);
    if (!m->folder)
        return dfx__no_memory();
    DFX__TRY(find_class(&m->class, &m->config, NULL));
    return build_net(m, &l);
}

dfx_status dfx__model_random(dfx_model **out, json_object *config, const void *numbers,
                             size_t bytes)
{
    *out = NULL;
    dfx_model *m = calloc(1, sizeof *m);
    if (!m)
        json_object_put(config);
    return finish(out, m, m ? make_random(m, config, numbers, bytes) : dfx__no_memory());
}

dfx_status dfx_model_open(dfx_model **out, const char *folder)
{
    dfx_checkpoint *c;
    *out = NULL;
    DFX__TRY(dfx_checkpoint_open(&c, folder));
    dfx_status status = dfx__model_open(out, dfx_checkpoint_path(c), NULL, NULL);
    dfx_checkpoint_free(c); /* the weights keep what they lie in */
    return status;
}

dfx_model *dfx__model_share(dfx_model *m)
{
    m->users++;
    return m;
}

void dfx_model_free(dfx_model *m)
{
    if (!m || m->users-- > 0)
        return;
    dfx__config_close(&m->config);
    dfx__weights_free(m->weights);
    dfx__pool_free(&m->pool);
    free(m);
}

const char *dfx_model_class(const dfx_model *m)
{
    return m->class->name;
}

int64_t dfx_model_parameters(const dfx_model *m)
{
    return dfx__weights_parameters(m->weights);
}

const char *dfx_model_dtypes(const dfx_model *m)
{
    return m->dtypes;
}

dfx_status dfx_model_keys(dfx_config_keys **out, const dfx_model *m)
{
    *out = calloc(1, sizeof **out);
    dfx_status status = *out ? dfx__config_list(&m->config, *out) : dfx__no_memory();
    if (status != DFX_OK) {
        dfx_config_keys_free(*out);
        *out = NULL;
    }
    return status;
}

dfx_status dfx_model_forward(dfx_model *m, dfx_device *device, dfx_dtype dtype,
                             const dfx_tensors *in, dfx_tensors *out)
{
    dfx__forward f = { .in = in, .out = out };
    DFX__TRY(dfx_sequence_new(&f.s, device, dtype));
    dfx_status status = m->class->forward(m, &f);
    dfx_sequence_free(f.s);
    dfx__forward_end(&f);
    return status;
}

void dfx__to_channels_last(float *to, const float *from, const dfx_spec *nchw)
{
    size_t channels = (size_t)nchw->dim[1], pixels = (size_t)(nchw->dim[2] * nchw->dim[3]);
    for (int64_t n = 0; n < nchw->dim[0]; n++, to += channels * pixels, from += channels * pixels)
        for (size_t p = 0; p < pixels; p++)
            for (size_t c = 0; c < channels; c++)
                to[p * channels + c] = from[c * pixels + p];
}

void dfx__to_channels_first(float *to, const float *from, const dfx_spec *nchw)
{
    size_t channels = (size_t)nchw->dim[1], pixels = (size_t)(nchw->dim[2] * nchw->dim[3]);
    for (int64_t n = 0; n < nchw->dim[0]; n++, to += channels * pixels, from += channels * pixels)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++)
                to[c * pixels + p] = from[p * channels + c];
}
