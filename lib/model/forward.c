/* forward.c - running a component once on given tensors. */
#include "model/forward.h"

#include "core/dtype.h"
#include "sequence/sequence.h"

#include <math.h>
#include <stdlib.h>

/* ---- inputs ---- */

dfx_status dfx__given_own(dfx_value **out, dfx__forward *f, const char *name, const dfx_spec *spec,
                          void *data)
{
    int i = f->givens++;
    f->given[i].name = name;
    f->given[i].spec = *spec;
    f->given[i].data = data;
    *out = dfx_input(f->s, name, spec->dtype, spec->rank, spec->dim);
    return data ? DFX_OK : dfx__no_memory();
}

static int fits(const dfx_spec *s, int rank, const int64_t *dim)
{
    if (s->rank != rank)
        return 0;
    for (int i = 0; i < rank; i++)
        if (s->dim[i] < 1 || (dim[i] >= 0 && s->dim[i] != dim[i]))
            return 0;
    return 1;
}

/* The tensor in f32, to be freed. */
static dfx_status read_floats(float **out, dfx_spec *spec, const dfx__forward *f, const char *name,
                              int rank, const int64_t *dim)
{
    char has[DFX__SHAPE_TEXT], needs[DFX__SHAPE_TEXT];
    const dfx_tensor *t = dfx_tensors_find(f->in, name);
    if (!t)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the input tensor %s is missing", name);
    if (!fits(&t->spec, rank, dim))
        return dfx__fail(
            DFX_ERROR_ARGUMENT, "the input tensor %s has shape %s and needs %s (-1: any)", name,
            dfx__shape_text(has, t->spec.rank, t->spec.dim), dfx__shape_text(needs, rank, dim));
    *spec = t->spec;
    spec->dtype = DFX_F32;
    *out = dfx__alloc(dfx__elements(spec), sizeof **out);
    if (!*out)
        return dfx__no_memory();
    dfx__to_f32(*out, t->data, t->spec.dtype, dfx__elements(spec));
    return DFX_OK;
}

dfx_status dfx__given_numbers(dfx_value **out, dfx__forward *f, const char *name, int rank,
                              const int64_t *dim)
{
    float *data;
    dfx_spec spec;
    DFX__TRY(read_floats(&data, &spec, f, name, rank, dim));
    return dfx__given_own(out, f, name, &spec, data);
}

dfx_status dfx__given_floats(dfx_value **out, dfx__forward *f, const char *name, int rank,
                             const int64_t *dim)
{
    DFX__TRY(dfx__given_numbers(out, f, name, rank, dim));
    *out = dfx_cast(*out, f->s->dtype);
    return DFX_OK;
}

dfx_status dfx__given_image(dfx_value **out, dfx__forward *f, const char *name, int channels)
{
    float *data;
    dfx_spec nchw;
    DFX__TRY(read_floats(&data, &nchw, f, name, 4, (int64_t[]){ -1, channels, -1, -1 }));
    dfx_spec nhwc = { DFX_F32, 4, { nchw.dim[0], nchw.dim[2], nchw.dim[3], nchw.dim[1] } };
    float *image = dfx__alloc(dfx__elements(&nchw), sizeof *image);
    if (image)
        dfx__to_channels_last(image, data, &nchw);
    free(data);
    DFX__TRY(dfx__given_own(out, f, name, &nhwc, image));
    *out = dfx_cast(*out, f->s->dtype);
    return DFX_OK;
}

/* Fills `to` from a tensor of ids. */
static dfx_status copy_ids(int32_t *to, const dfx_tensor *t, size_t n, int count)
{
    for (size_t i = 0; i < n; i++) {
        int64_t id = t->spec.dtype == DFX_I32 ? ((const int32_t *)t->data)[i]
                                              : ((const int64_t *)t->data)[i];
        if (id < 0 || id >= count)
            return dfx__fail(DFX_ERROR_ARGUMENT,
                             "the input tensor %s has the id %lld: not from 0 to %d", t->name,
                             (long long)id, count - 1);
        to[i] = (int32_t)id;
    }
    return DFX_OK;
}

dfx_status dfx__given_ids(dfx_value **out, dfx__forward *f, const char *name, int rank, int count)
{
    const dfx_tensor *t = dfx_tensors_find(f->in, name);
    if (!t || t->spec.rank != rank || (t->spec.dtype != DFX_I64 && t->spec.dtype != DFX_I32) ||
        dfx__elements(&t->spec) == 0)
        return dfx__fail(DFX_ERROR_ARGUMENT, "the input tensor %s %s must be i64 or i32", name,
                         rank == 1 ? "[batch]" : "[batch, tokens]");
    size_t n = dfx__elements(&t->spec);
    dfx_spec spec = t->spec;
    spec.dtype = DFX_I32;
    int32_t *ids = dfx__alloc(n, sizeof *ids);
    DFX__TRY(dfx__given_own(out, f, name, &spec, ids));
    return copy_ids(ids, t, n, count);
}

dfx_status dfx__given_whole(dfx_value **out, dfx__forward *f, const char *name, int64_t batch,
                            int count)
{
    float *data;
    dfx_spec spec;
    DFX__TRY(read_floats(&data, &spec, f, name, 1, &batch));
    int32_t *ids = dfx__alloc((size_t)batch, sizeof *ids);
    spec.dtype = DFX_I32;
    dfx_status status = dfx__given_own(out, f, name, &spec, ids);
    for (int64_t i = 0; status == DFX_OK && i < batch; i++) {
        if (!(data[i] >= 0 && data[i] < (float)count) || data[i] != floorf(data[i]))
            status = dfx__fail(DFX_ERROR_ARGUMENT,
                               "the input tensor %s has %g: not a whole number from 0 to %d", name,
                               (double)data[i], count - 1);
        else
            ids[i] = (int32_t)data[i];
    }
    free(data);
    return status;
}

int64_t dfx__given_batch(const dfx__forward *f)
{
    return f->given[0].spec.dim[0];
}

/* ---- results ---- */

/* In the sequence, where an input may have the result's own name. */
static const char *const output_name[DFX__FORWARD_TENSORS] = { "out.0", "out.1", "out.2", "out.3",
                                                               "out.4", "out.5", "out.6", "out.7" };

void dfx__forward_result_between(dfx__forward *f, const char *name, dfx_value *y, float low,
                                 float high)
{
    int i = f->results++;
    f->result[i].name = name;
    f->result[i].value = dfx_cast(y, DFX_F32);
    f->result[i].low = low;
    f->result[i].high = high;
    dfx_output(f->result[i].value, output_name[i]);
}

void dfx__forward_result(dfx__forward *f, const char *name, dfx_value *y)
{
    dfx__forward_result_between(f, name, y, -INFINITY, INFINITY);
}

static dfx_status add_result(dfx__forward *f, int i)
{
    dfx_spec spec = *dfx_value_spec(f->result[i].value);
    size_t n = dfx__elements(&spec);
    float *data = dfx__alloc(n, 2 * sizeof *data), *numbers = data;
    if (!data)
        return dfx__no_memory();
    dfx_status status = dfx_sequence_read(f->s, output_name[i], data, n * sizeof *data);
    if (spec.rank == 4) {
        spec = (dfx_spec){ DFX_F32, 4, { spec.dim[0], spec.dim[3], spec.dim[1], spec.dim[2] } };
        numbers = data + n;
        dfx__to_channels_first(numbers, data, &spec);
    }
    for (size_t k = 0; k < n; k++) {
        numbers[k] = numbers[k] < f->result[i].low ? f->result[i].low : numbers[k];
        numbers[k] = numbers[k] > f->result[i].high ? f->result[i].high : numbers[k];
    }
    if (status == DFX_OK)
        status = dfx_tensors_add(f->out, f->result[i].name, &spec, numbers);
    free(data);
    return status;
}

dfx_status dfx__forward_run(dfx__forward *f)
{
    dfx__sequence_may_stream(f->s);
    DFX__TRY(dfx_sequence_prepare(f->s));
    for (int i = 0; i < f->givens; i++)
        DFX__TRY(dfx_sequence_write(f->s, f->given[i].name, f->given[i].data,
                                    dfx__spec_bytes(&f->given[i].spec)));
    DFX__TRY(dfx_sequence_run(f->s));
    for (int i = 0; i < f->results; i++)
        DFX__TRY(add_result(f, i));
    return DFX_OK;
}

void dfx__forward_end(dfx__forward *f)
{
    for (int i = 0; i < f->givens; i++)
        free(f->given[i].data);
}
