/* trial.c - a case as a sequence on random inputs. */
#include "op/trial.h"

#include "core/dtype.h"
#include "dfxcl/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TIMESTEP = 1000 };

/* "2,17,31" to a shape. */
static void parse_shape(dfx_spec *spec, const char *text)
{
    char *end = (char *)text;
    for (spec->rank = 0; *end && spec->rank < DFX_MAX_RANK; spec->rank++) {
        spec->dim[spec->rank] = strtoll(end, &end, 10);
        end += *end == ',';
    }
}

/* What input k is: 'w' a constant, 'i' indices, 't' timesteps, 0 an activation. A vector beside
 * other inputs is a bias or a norm's scale: a constant too. */
static char kind_of(const dfx__case *test, int k)
{
    const char *text = test->in[k];
    if (*text == 'w' || *text == 'i' || *text == 't')
        return *text;
    return k > 0 && !strchr(text, ',') ? 'w' : 0;
}

static const char *shape_of(const char *text)
{
    return text + (*text == 'w' || *text == 'i' || *text == 't');
}

/* Normal numbers; a constant's are scaled so that sums over its rows stay near 1. */
static dfx_status fill(void **out, const dfx_spec *spec, char kind, int64_t rows, dfx_rng *rng)
{
    size_t n = dfx__elements(spec);
    float *room = dfx__alloc(n, sizeof *room);
    *out = dfx__alloc(n, sizeof(float));
    if (!room || !*out) {
        free(room);
        return dfx__no_memory();
    }
    dfx_rng_normal(rng, room, n);
    float factor = kind == 'w' ? 1 / sqrtf((float)n / (float)spec->dim[0]) : 1;
    for (size_t i = 0; i < n; i++) {
        if (kind == 'i')
            ((int32_t *)*out)[i] = (int32_t)((int64_t)(fabsf(room[i]) * 1e4f) % rows);
        else if (kind == 't')
            room[i] = fmodf(fabsf(room[i]) * 400, MAX_TIMESTEP);
        else
            room[i] *= factor;
    }
    if (kind != 'i')
        dfx__from_f32(*out, spec->dtype, room, n);
    free(room);
    return DFX_OK;
}

static dfx_status add_constant(dfx__trial *t, const char *text, int k, dfx_rng *rng)
{
    dfx_weight *w = &t->weight[k];
    w->name = "constant";
    w->spec.dtype = DFX_F32;
    parse_shape(&w->spec, shape_of(text));
    DFX__TRY(fill(&t->data[k], &w->spec, 'w', 0, rng));
    w->data = t->data[k];
    t->rows = w->spec.dim[0];
    t->in[k] = dfx_constant(t->s, w);
    return DFX_OK;
}

static dfx_status add_input(dfx__trial *t, const char *text, char kind, int k, dfx_rng *rng)
{
    char name[4] = { 'i', 'n', (char)('0' + k), 0 };
    dfx_spec spec = { kind == 'i' ? DFX_I32 : kind == 't' ? DFX_F32 : t->s->dtype, 0, { 0 } };
    parse_shape(&spec, shape_of(text));
    DFX__TRY(fill(&t->data[k], &spec, kind, t->rows, rng));
    t->in[k] = dfx_input(t->s, name, spec.dtype, spec.rank, spec.dim);
    return DFX_OK;
}

/* Constants first: indices need to know how many rows theirs has. */
static dfx_status build(dfx__trial *t, const dfx_op *op, const dfx__case *test, dfx_rng *rng)
{
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < DFX__MAX_INPUTS; k++) {
            const char *text = test->in[k];
            char kind = text ? kind_of(test, k) : 0;
            if (!text || (kind == 'w') != (pass == 0))
                continue;
            DFX__TRY(pass == 0 ? add_constant(t, text, k, rng) : add_input(t, text, kind, k, rng));
        }
    dfx__inputs in;
    dfx__ints i;
    dfx__floats f;
    memcpy(in.v, t->in, sizeof in.v);
    memcpy(i.v, test->i, sizeof i.v);
    memcpy(f.v, test->f, sizeof f.v);
    dfx_output(dfx__record(op, in, i, f), "out");
    return DFX_OK;
}

dfx_status dfx__trial_open(dfx__trial *t, dfx_device *device, dfx_dtype dtype, const dfx_op *op,
                           const dfx__case *test)
{
    dfx_rng rng;
    *t = (dfx__trial){ .rows = 1, .test = test };
    dfx_rng_seed(&rng, 1);
    dfx_status status = dfx_sequence_new(&t->s, device, dtype);
    if (status == DFX_OK)
        status = build(t, op, test, &rng);
    if (status != DFX_OK)
        dfx__trial_close(t);
    return status;
}

dfx_status dfx__trial_prepare(dfx__trial *t)
{
    char name[4] = "in0";
    DFX__TRY(dfx_sequence_prepare(t->s));
    for (int k = 0; k < DFX__MAX_INPUTS; k++) {
        name[2] = (char)('0' + k);
        if (t->test->in[k] && kind_of(t->test, k) != 'w')
            DFX__TRY(dfx_sequence_write(t->s, name, t->data[k], dfx__spec_bytes(&t->in[k]->spec)));
    }
    return DFX_OK;
}

void dfx__trial_close(dfx__trial *t)
{
    dfx_sequence_free(t->s);
    t->s = NULL;
    for (int k = 0; k < DFX__MAX_INPUTS; k++) {
        free(t->data[k]);
        t->data[k] = NULL;
    }
}

void dfx__case_describe(char *text, size_t size, const dfx__case *test)
{
    text[0] = '\0';
    for (int k = 0; k < DFX__MAX_INPUTS; k++)
        if (test->in[k]) {
            size_t n = strlen(text);
            snprintf(text + n, size - n, "%s%s", n ? " " : "", test->in[k]);
        }
}
