/* run.c - the start and the end of a run, and what it keeps. */
#include "pipeline/run.h"

#include "core/dtype.h"
#include "model/unet2d.h"

#include <stdlib.h>
#include <string.h>

static dfx_status make_rooms(dfx__run *r, const dfx_pipeline *p)
{
    size_t rows = (size_t)(r->pictures * r->branches);
    r->n = dfx__elements(&r->latent);
    r->x = dfx__alloc(r->n, sizeof(float));
    r->input = dfx__alloc(r->n, sizeof(float));
    r->noise_pred = dfx__alloc(r->n * (size_t)dfx__output_parts(p), sizeof(float));
    r->timestep = dfx__alloc(rows, sizeof(float));
    return r->x && r->input && r->noise_pred && r->timestep ? DFX_OK : dfx__no_memory();
}

dfx__latent_form dfx__get_latent_form(const dfx_pipeline *p)
{
    if (!p->model[DFX__VAE])
        return (dfx__latent_form){ dfx__unet2d_get_facts(p->model[DFX__UNET]).in_channels, 1 };
    dfx__autoencoder_facts vae = dfx__autoencoder_get_facts(p->model[DFX__VAE]);
    return (dfx__latent_form){ vae.latent_channels, vae.factor };
}

static dfx_status start(dfx__run *r, dfx_pipeline *p, const dfx_generate_options *o,
                        dfx_result *result, int branches)
{
    dfx__latent_form form = dfx__get_latent_form(p);
    *r = (dfx__run){ .p = p, .o = o, .result = result, .branches = branches };
    r->pictures = dfx__pictures(o);
    r->latent = (dfx_spec){
        DFX_F32, 4, { r->pictures, form.channels, o->height / form.factor, o->width / form.factor }
    };
    r->guide = dfx__guide;
    dfx_rng_seed(&r->rng, o->seed);
    DFX__TRY(dfx__take_scheduler(&r->scheduler, p, o->scheduler));
    DFX__TRY(dfx_scheduler_set_timesteps(r->scheduler, o->steps));
    r->end = dfx_scheduler_calls(r->scheduler);
    dfx_scheduler_set_generator(r->scheduler, &r->rng);
    return make_rooms(r, p);
}

static void end(dfx__run *r)
{
    float *rooms[] = { r->x,     r->input, r->noise_pred, r->timestep, r->edge, r->kept,
                       r->noise, r->mask,  r->extra,      r->picture,  r->hole };
    dfx__release_scheduler(r->p, r->scheduler);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        free(rooms[i]);
    for (int i = 0; i < DFX__CONDITIONS; i++)
        free((void *)r->condition[i].data);
}

dfx_status dfx__generate(dfx_result *result, dfx_pipeline *p, const dfx_generate_options *o,
                         int branches, dfx_status (*draw)(dfx__run *r))
{
    dfx__run r;
    dfx_status status = start(&r, p, o, result, branches);
    if (status == DFX_OK)
        status = draw(&r);
    end(&r);
    return status;
}

dfx_status dfx__set_condition(dfx__run *r, int which, const dfx_spec *spec, const void *rows)
{
    static const char *const names[] = { "encoder_hidden_states", "text_embeds", "time_ids",
                                         "timestep_cond", "class_labels" };
    dfx_spec all = *spec;
    size_t count = (size_t)spec->dim[0], bytes = dfx__spec_bytes(spec) / count;
    size_t copies = (size_t)(r->pictures * r->branches) / count;
    all.dim[0] = (int64_t)(count * copies);
    char *data = dfx__alloc(count * copies, bytes);
    if (!data)
        return dfx__no_memory();
    for (size_t i = 0; i < count * copies; i++)
        memcpy(data + i * bytes, (const char *)rows + i / copies * bytes, bytes);
    free((void *)r->condition[which].data);
    r->condition[which] = (dfx_tensor){ names[which], all, data, dfx__spec_bytes(&all) };
    return DFX_OK;
}

dfx_status dfx__set_extra(dfx__run *r, const float *planes, int channels)
{
    return dfx__set_extra_rows(r, planes, channels, 1);
}

dfx_status dfx__set_extra_rows(dfx__run *r, const float *planes, int channels, int count)
{
    size_t pixels = (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    size_t row = pixels * (size_t)channels, rows = (size_t)(r->pictures * r->branches);
    dfx_spec spec = { DFX_F32, 4, { count, channels, r->latent.dim[2], r->latent.dim[3] } };
    r->extra = dfx__alloc(rows * row, sizeof(float));
    if (!r->extra)
        return dfx__no_memory();
    r->extra_channels = channels;
    dfx__to_channels_last(r->extra, planes, &spec);
    for (size_t i = (size_t)count; i < rows; i++)
        memcpy(r->extra + i * row, r->extra + i % (size_t)count * row, row * sizeof(float));
    return DFX_OK;
}
