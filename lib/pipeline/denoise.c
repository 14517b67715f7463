/* denoise.c - the denoising loop: the UNet's sequence, guidance, the scheduler's steps. */
#include "core/dtype.h"
#include "device/device.h"
#include "model/unet2d.h"
#include "pipeline/fit.h"
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the UNet ---- */

/* The same for all steps; NULL where it is not given. */
static dfx_value *condition(const dfx__run *r, dfx_sequence *s, int which)
{
    const dfx_tensor *t = &r->condition[which];
    if (!t->data)
        return NULL;
    dfx_value *v = dfx_input(s, t->name, t->spec.dtype, t->spec.rank, t->spec.dim);
    dfx_invariant(v);
    return v;
}

static dfx_value *cast(dfx_value *v, dfx_dtype dtype)
{
    return v ? dfx_cast(v, dtype) : NULL;
}

/* Whether the UNet looks timesteps up, by whole numbers. */
static int takes_ids(const dfx__run *r)
{
    const dfx_model *unet = r->p->model[DFX__UNET];
    return unet->class == &dfx__unet2d_class && dfx__unet2d_get_facts(unet).timestep_count > 0;
}

static dfx_value *record_unet(const dfx__run *r, dfx_sequence *s, dfx_value *sample,
                              dfx_value *timestep)
{
    const dfx_model *unet = r->p->model[DFX__UNET];
    dfx_dtype dtype = dfx__component_dtype(r->p, DFX__UNET);
    if (unet->class == &dfx__unet2d_class)
        return dfx__unet2d_record(
            unet, &(dfx__unet2d_inputs){ sample, timestep, condition(r, s, DFX__CLASS_LABELS) });
    dfx__unet_inputs in = {
        .sample = sample,
        .timestep = timestep,
        .text = cast(condition(r, s, DFX__ENCODER_HIDDEN_STATES), dtype),
        .text_embeds = cast(condition(r, s, DFX__TEXT_EMBEDS), dtype),
        .time_ids = condition(r, s, DFX__TIME_IDS),
        .timestep_cond = cast(condition(r, s, DFX__TIMESTEP_COND), dtype),
        .class_labels = condition(r, s, DFX__CLASS_LABELS),
    };
    dfx_value *y = dfx__unet_record(unet->net, &in);
    if (dfx__unet_get_facts(unet->net).out_channels > r->latent.dim[1])
        y = dfx_slice(y, 3, 0, r->latent.dim[1]); /* what follows is not used */
    return y;
}

static void record(const void *run, dfx_sequence *s)
{
    const dfx__run *r = run;
    const int64_t *dim = r->latent.dim, rows = r->pictures * r->branches;
    int64_t nhwc[] = { rows, dim[2], dim[3], dim[1] + r->extra_channels };
    dfx_dtype time = takes_ids(r) ? DFX_I32 : DFX_F32;
    dfx_value *x =
        dfx_cast(dfx_input(s, "sample", DFX_F32, 4, nhwc), dfx__component_dtype(r->p, DFX__UNET));
    dfx_value *t = dfx_input(s, "timestep", time, 1, (int64_t[]){ rows });
    dfx_output(dfx_cast(record_unet(r, s, x, t), DFX_F32), "noise_pred");
}

static dfx_status prepare(dfx__run *r)
{
    dfx__kept *k = &r->p->unet_kept;
    const int64_t *dim = r->latent.dim;
    const dfx_tensor *text = &r->condition[DFX__ENCODER_HIDDEN_STATES];
    int64_t tokens = text->data ? text->spec.dim[1] : 0, rows = r->pictures * r->branches;
    int64_t shape[] = { rows, dim[2], dim[3], tokens };
    if (!dfx__needs_recording(k, r->p->model[DFX__UNET], shape, 4))
        return DFX_OK;
    return dfx__fit(&k->sequence, r->p,
                    &(dfx__job){ "unet", dfx__component_dtype(r->p, DFX__UNET), record, r, 0 });
}

static dfx_status write_conditions(dfx__run *r)
{
    for (int i = 0; i < DFX__CONDITIONS; i++) {
        const dfx_tensor *t = &r->condition[i];
        if (t->data)
            DFX__TRY(dfx_sequence_write(r->p->unet_kept.sequence, t->name, t->data, t->bytes));
    }
    return DFX_OK;
}

/* The input of one picture in one branch, [h, w, C + extra] from latents [C, h, w]. */
static void lay_out(const dfx__run *r, float *to, const float *latents, const float *extra)
{
    size_t pixels = (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    size_t channels = (size_t)r->latent.dim[1], more = (size_t)r->extra_channels;
    for (size_t p = 0; p < pixels; p++) {
        for (size_t c = 0; c < channels; c++)
            *to++ = latents[c * pixels + p];
        for (size_t c = 0; c < more; c++)
            *to++ = *extra++;
    }
}

/* The UNet's output of r->input at timestep t, into r->edge, *n floats */
static dfx_status run_unet(dfx__run *r, float t, size_t *count)
{
    dfx_sequence *s = r->p->unet_kept.sequence;
    size_t rows = (size_t)(r->pictures * r->branches), n = r->n / (size_t)r->pictures;
    size_t pixels = n / (size_t)r->latent.dim[1], extra = pixels * (size_t)r->extra_channels;
    int32_t id = (int32_t)t;
    *count = rows * n * (size_t)dfx__output_parts(r->p);
    for (size_t i = 0; i < rows; i++) {
        memcpy(r->timestep + i, takes_ids(r) ? (void *)&id : (void *)&t, sizeof t);
        lay_out(r, r->edge + i * (n + extra), r->input + i % (size_t)r->pictures * n,
                r->extra + i * extra);
    }
    DFX__TRY(dfx_sequence_write(s, "sample", r->edge, rows * (n + extra) * sizeof(float)));
    DFX__TRY(dfx_sequence_write(s, "timestep", r->timestep, rows * sizeof(float)));
    DFX__TRY(dfx_sequence_run(s));
    return dfx_sequence_read(s, "noise_pred", r->edge, *count * sizeof(float));
}

/* noise_pred of r->input at timestep t */
static dfx_status predict(dfx__run *r, float t)
{
    dfx_spec output = r->latent;
    size_t n;
    int again;
    output.dim[1] *= dfx__output_parts(r->p);
    DFX__TRY(run_unet(r, t, &n));
    DFX__TRY(dfx__guard(r->p, DFX__UNET, r->p->unet_kept.sequence, r->edge, n, &again));
    if (again) {
        dfx__forget(&r->p->unet_kept);
        DFX__TRY(prepare(r));
        DFX__TRY(write_conditions(r));
        return predict(r, t);
    }
    if (r->branches > 1)
        r->guide(r, r->edge);
    dfx__to_channels_first(r->noise_pred, r->edge, &output);
    return DFX_OK;
}

/* ---- the loop ---- */

static void draw(void *user, float *out, size_t n)
{
    dfx_rng_normal(user, out, n);
}

/* Puts what is kept back into the latents, with the noise that the next call expects. */
static void keep(dfx__run *r, int call)
{
    size_t pixels = (size_t)(r->latent.dim[2] * r->latent.dim[3]);
    const float *kept = r->kept;
    if (call + 1 < r->end) {
        dfx_scheduler_add_noise(r->scheduler, call + 1, r->kept, r->noise, r->input, 1, r->n);
        kept = r->input;
    }
    for (size_t i = 0; i < r->n; i++) {
        float m = r->mask[i % pixels];
        r->x[i] = (1 - m) * kept[i] + m * r->x[i];
    }
}

float dfx__sigma_of_call(const dfx__run *r, int call)
{
    int count;
    return dfx_scheduler_sigmas(r->scheduler, &count)[call];
}

static dfx_status report(const dfx__run *r, int step)
{
    int steps = r->end - r->first;
    const float *latents = step ? r->x : NULL;
    if (r->o->on_step && r->o->on_step(r->o->user, step, steps, latents, &r->latent))
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return DFX_OK;
}

static dfx_status denoise(dfx__run *r)
{
    /* a rehearsal needs no more than one call */
    int end = r->p->device->rehearses && r->end > r->first ? r->first + 1 : r->end;
    dfx_scheduler *s = r->scheduler;
    size_t batch = (size_t)r->pictures, n = r->n / batch, rows = batch * (size_t)r->branches;
    size_t extra = (size_t)(r->latent.dim[2] * r->latent.dim[3] * r->extra_channels);
    if (!(r->edge =
              dfx__alloc(rows * (n * (size_t)dfx__output_parts(r->p) + extra), sizeof(float))))
        return dfx__no_memory();
    DFX__TRY(prepare(r));
    DFX__TRY(write_conditions(r));
    DFX__TRY(report(r, 0));
    for (int i = r->first; i < end; i++) {
        dfx_scheduler_scale_model_input(s, i, r->x, r->input, batch, n);
        float t = r->unet_timestep ? r->unet_timestep(r, i) : dfx_scheduler_timesteps(s)[i];
        DFX__TRY(predict(r, t));
        if (r->precondition)
            r->precondition(r, i);
        DFX__TRY(dfx_scheduler_step(s, i, r->noise_pred, r->x, batch, n, draw, &r->rng));
        if (r->kept)
            keep(r, i);
        DFX__TRY(report(r, i - r->first + 1));
    }
    return DFX_OK;
}

dfx_status dfx__denoise(dfx__run *r)
{
    r->p->denoises++;
    dfx_status status = denoise(r);
    r->p->denoises--;
    if (status == DFX_OK && r->o->last)
        dfx__forget(&r->p->unet_kept);
    return status;
}
